"""Runs the shell and Python blocks of the README and of docs/ unchanged.

The blocks of a page are one bash session: files, variables and the working directory persist from block to block.
README.md runs first, in an empty folder; every page of docs/ then starts with a copy of that folder, so that the demo
voice is exported once. A block marked `no-run` (```sh no-run) is skipped.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tacoglow
from tacoglow.tools.pages.blocks import parse_blocks, session_script

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
SCRIPTS = {"tacoglow": "main", "export-onnx": "export_onnx_main", "trt-infer": "trt_infer_main"}
TIMEOUT = 600  # seconds


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables: PATH has this interpreter's commands, then launchers in case tacoglow is not installed."""
    launchers = tmp_path_factory.mktemp("bin")
    for name, entry in SCRIPTS.items():
        path = launchers / name
        path.write_text(f"#!{sys.executable}\nfrom tacoglow import cli\ncli.{entry}()\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    search = [str(Path(sys.executable).parent), str(launchers), os.environ.get("PATH", "")]
    package = str(Path(tacoglow.__file__).parents[1])  # the folder that this package is imported from
    is_found = (Path(package) / "tacoglow").exists()  # false if an editable install maps the name
    python_path = [*([package] if is_found else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PATH": os.pathsep.join(search), "PYTHONPATH": os.pathsep.join(python_path)}


def run_page(page: Path, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", session_script(page)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"after the last ### line:\n{done.stdout}"


@pytest.fixture(scope="session")
def after_readme(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The folder in which the README's blocks have run."""
    folder = tmp_path_factory.mktemp("readme")
    run_page(README, folder, environment)
    return folder


def test_readme_runs_shell_and_python() -> None:
    run = {block.language for block in parse_blocks(README) if block.is_run()}
    assert {"sh", "python"} <= run


def test_readme_leaves_out_the_set_ups_alone() -> None:
    """make release-check runs the first, .ci/run the others in fresh clones."""
    left_out = [block.content.split()[0] for block in parse_blocks(README) if not block.is_run()]
    assert left_out == ["pip", "make", "python3"]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_block_languages_are_spelled_sh_and_python(page: Path) -> None:
    aliases = {"", "bash", "shell", "console", "zsh", "py", "python3", "pycon"}
    misnamed = [
        f"{page.name}:{block.line}: {block.language!r}" for block in parse_blocks(page) if block.language in aliases
    ]
    assert not misnamed


def test_readme_runs(after_readme: Path) -> None:
    assert any(after_readme.rglob("*.wav"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path, after_readme: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    shutil.copytree(after_readme, folder)
    run_page(page, folder, environment)


def test_session_keeps_state_and_stops_at_first_failure(tmp_path: Path, environment: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nmkdir deep\ncd deep\nexport GREETING=hello\n```\n"
        "```sh no-run\nexit 1\n```\n"
        "```python\nimport os, pathlib\nimport tacoglow\npathlib.Path('said').write_text(os.environ['GREETING'])\n```\n"
        "```json\n{}\n```\n"
        '```sh\ntest "$(cat said)" = hello\ntacoglow --version\n```\n'
    )
    run_page(page, tmp_path, environment)
    assert (tmp_path / "deep/said").read_text() == "hello"
    page.write_text("```sh no-run install\ntouch installed\n```\n```sh no-run\nexit 1\n```\n")
    subprocess.run(["bash", "-c", session_script(page, frozenset({"install"}))], cwd=tmp_path, check=True)
    assert (tmp_path / "installed").exists()
    page.write_text("```python\nraise SystemExit(3)\n```\n```sh\ntouch reached\n```\n")
    with pytest.raises(AssertionError, match=r"### page\.md:2"):
        run_page(page, tmp_path, environment)
    assert not (tmp_path / "reached").exists()
