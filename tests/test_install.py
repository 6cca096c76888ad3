"""Contents of an installation by pip: one import package, with its data and commands, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {"tests", "docs", "examples", "tools", ".ci", "setup.py"}
SCRIPTS = {"tacoglow", "export-onnx", "trt-infer"}


def versioned_files() -> list[Path]:
    """Return the repository's files, including new ones that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the project from a copy of its files, not editable; return its site-packages folder."""
    folder = tmp_path_factory.mktemp("install")
    for file in versioned_files():
        target = folder / "source" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target)
    install(folder / "source", folder / "site")
    return folder / "site"


@pytest.mark.full
def test_a_source_archive_is_the_whole_project_without_the_weights(site: Path, tmp_path: Path) -> None:
    source = site.parent / "source"
    script = f"from setuptools import build_meta; print(build_meta.build_sdist(r'{tmp_path}'))"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        packed = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    assert {file for file in versioned_files() if file.suffix != ".pt"} <= packed


@pytest.mark.full
def test_the_build_warns_of_nothing(site: Path, tmp_path: Path) -> None:
    script = (
        "import warnings; from setuptools import build_meta; from setuptools.warnings import SetuptoolsWarning; "
        f"warnings.simplefilter('error', SetuptoolsWarning); build_meta.build_wheel(r'{tmp_path}')"
    )
    source = site.parent / "source"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tacoglow_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_s_links_lead_to_the_repository(setup: ModuleType) -> None:
    readme, commit, place = (ROOT / "README.md").read_text(encoding="utf-8"), "0" * 40, "https://example.com/a/b"
    page = setup.page(readme, {"repository": place, "commit": commit})
    links = re.findall(r"\]\(([^)#\s]+)", page)
    assert len(links) == len(re.findall(r"\]\(", readme))
    for link in links:
        found = re.fullmatch(rf"{place}/(blob|raw)/{commit}/(.+)", link)
        assert found, link
        assert (ROOT / found[2]).is_file()
    assert f"![Waveform, mel spectrogram, alignment and gate of the sentence]({place}/raw/{commit}/docs/" in page


def test_without_a_repository_the_page_has_no_links(setup: ModuleType) -> None:
    page = setup.page((ROOT / "README.md").read_text(encoding="utf-8"), {"repository": "", "commit": ""})
    assert "](" not in page
    assert "Servers" in page


def test_a_package_states_its_origin(site: Path) -> None:
    """Here it is built from a copy that is not a clone."""
    assert json.loads((site / "tacoglow" / "origin.json").read_text()) == {"commit": "", "repository": ""}


def install(source: Path, target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [*pip, "--disable-pip-version-check", "--target", str(target), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_from(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_install_adds_one_import_package(site: Path) -> None:
    """`text` and `models` must not become top-level packages in site-packages."""
    names = {path.name for path in site.iterdir()}
    information = {name for name in names if name.endswith(".dist-info")}
    assert len(information) == 1
    assert names - information == {"tacoglow", "bin"}
    top_level = next(site.glob("*.dist-info")) / "top_level.txt"
    assert top_level.read_text().split() == ["tacoglow"]


def test_all_modules_but_no_tests_are_installed(site: Path) -> None:
    modules = {file for file in versioned_files() if file.suffix == ".py" and file.parts[0] not in NOT_SHIPPED}
    package = site / "tacoglow"
    assert {path.relative_to(package) for path in package.rglob("*.py")} == modules


def test_data_files_are_installed(site: Path) -> None:
    package = site / "tacoglow"
    assert (package / "py.typed").is_file()
    assert list(site.glob("*.dist-info/licenses/LICENSE"))


def test_commands_run(site: Path) -> None:
    assert {path.name for path in (site / "bin").iterdir()} == SCRIPTS
    for script in SCRIPTS:
        assert "Usage" in run_from(site, str(site / "bin" / script), "--help").stdout


def test_import_uses_the_installed_package(site: Path) -> None:
    script = "import tacoglow; print(tacoglow.__file__); tacoglow.Synthesizer; tacoglow.Audio"
    assert Path(run_from(site, sys.executable, "-c", script).stdout.strip()).parent == site / "tacoglow"


def test_metadata_has_the_version_of_the_package(site: Path) -> None:
    script = "import tacoglow, importlib.metadata as m; assert m.version('tacoglow') == tacoglow.__version__"
    run_from(site, sys.executable, "-c", script)


@pytest.mark.full
def test_the_demo_voice_is_a_package_of_its_own(site: Path, tmp_path: Path) -> None:
    assert not list(site.rglob("*.pt"))
    script = "from tacoglow.export.demo import demo_folder; print(demo_folder())"
    with pytest.raises(AssertionError, match=r"pip install \./models/demo"):
        run_from(site, sys.executable, "-c", script)
    source = tmp_path / "demo"
    shutil.copytree(ROOT / "models" / "demo", source)
    install(source, tmp_path / "site")
    both = f"{site}{os.pathsep}{tmp_path / 'site'}"
    folder = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": both},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(folder) == tmp_path / "site" / "tacoglow_demo_voice"
    for name in ("tacotron2.pt", "waveglow.pt", "voice.json"):
        assert (Path(folder) / name).stat().st_size == (ROOT / "models" / "demo" / name).stat().st_size
