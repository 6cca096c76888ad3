"""The gates of a release: a wrong tag, a missing changelog section and a changed ABI each stop it."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from tacoglow.tests.test_install import ROOT
from tacoglow.tools.release import demo_voice
from tacoglow.tools.release.changelog import find_notes, read_sections
from tacoglow.tools.release.installs import find_python
from tacoglow.tools.release.steps import Folders, StepError, at_most, run

pytest.importorskip("clang.cindex", reason="libclang is not installed")

from tacoglow.tools.release import archives, check, installs
from tacoglow.tools.release.abi import HEADER, describe_header
from tacoglow.tools.release.gates import GateError, check_gates, soname

VERSION = "0.1.0"
HEADER_NAME = "cpp/include/tacoglow.h"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of what the gates read, at version 0.1.0, with notes and without a tag."""
    for name in (HEADER_NAME, "cpp/abi.txt", "cpp/CMakeLists.txt", "__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    set_version(tmp_path, VERSION)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} (2026-12-01)\n\n- Everything.\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def set_version(folder: Path, version: str) -> None:
    edit(folder / "__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"')
    edit(folder / "cpp/CMakeLists.txt", r"project\(tacoglow VERSION \S+", f"project(tacoglow VERSION {version}")
    for part, number in zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True):
        edit(folder / HEADER_NAME, rf"VERSION_{part} \d+", f"VERSION_{part} {number}")
    record(folder)


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, n = re.subn(pattern, replacement, path.read_text())
    assert n == 1
    path.write_text(text)


def record(folder: Path) -> None:
    (folder / "cpp/abi.txt").write_text(describe_header(folder / HEADER_NAME))


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "change")


def release(folder: Path) -> None:
    """Tag this version and go on to the next commit."""
    git(folder, "tag", f"v{VERSION}")
    commit(folder)


def new_version(folder: Path, version: str) -> None:
    set_version(folder, version)
    edit(folder / "CHANGELOG.md", r"# Changelog\n", f"# Changelog\n\n## {version} (2026-12-24)\n\n- More.\n")


def test_this_checkout_passes() -> None:
    assert check_gates(ROOT, "") == VERSION


def test_a_sound_release_passes(project: Path) -> None:
    assert check_gates(project, f"v{VERSION}") == VERSION


@pytest.mark.parametrize("tag", ["v0.1.1", "0.1.0", "v0.1.0rc1", "v0.1"])
def test_a_wrong_tag_fails(project: Path, tag: str) -> None:
    with pytest.raises(GateError, match=rf"tag: {tag} does not match the version; expected v0\.1\.0"):
        check_gates(project, tag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Changelog\n", "no notes of 0.1.0"),
        ("# Changelog\n\n## 0.0.9 (2026-12-01)\n\n- Old.\n", "no notes of 0.1.0"),
        ("# Changelog\n\n## 0.1.0 (2026-12-01)\n\n", "no notes of 0.1.0"),
        ("# Changelog\n\n## 0.1.0 (unreleased)\n\n- Everything.\n", "0.1.0 is unreleased"),
        ("# Changelog\n\n## 0.1.0\n\n- Everything.\n", "got '## 0.1.0'"),
        ("# Changelog\n" + 2 * "\n## 0.1.0 (2026-12-01)\n\n- Everything.\n", "two sections of 0.1.0"),
    ],
)
def test_a_missing_section_fails(project: Path, text: str, message: str) -> None:
    (project / "CHANGELOG.md").write_text(text)
    with pytest.raises(GateError, match=re.escape(message)):
        check_gates(project, f"v{VERSION}")


def test_versions_agree(project: Path) -> None:
    edit(project / HEADER_NAME, r"VERSION_PATCH \d+", "VERSION_PATCH 7")
    with pytest.raises(GateError, match=r"__init__.py says 0\.1\.0, tacoglow\.h says 0\.1\.7"):
        check_gates(project, "")


# What a change of the header is to programs that were built before it.
BREAKING = {
    "a field in the middle": (r"  const char\* plans;", "  int32_t new_field;\n  const char* plans;"),
    "another type": ("  int32_t threads;", "  int64_t threads;"),
    "another argument": (r"tacoglow_speech_free\(tacoglow_speech\* speech", "tacoglow_speech_free(void* speech"),
    "another value": ("TACOGLOW_CANCELLED = 4", "TACOGLOW_CANCELLED = 9"),
    # The structures that the caller indexes.
    **{
        f"a field at the end of {name}": (rf"}} {name};", f"  int32_t new_field;\n}} {name};")
        for name in ("tacoglow_file", "tacoglow_fault", "tacoglow_timed_text", "tacoglow_utterance", "tacoglow_piece")
    },
}
COMPATIBLE = {
    "a function": (
        "void tacoglow_speech_free",
        "void tacoglow_new(int a);\nTACOGLOW_API void tacoglow_speech_free",
        "tacoglow_new(int) -> void",
    ),
    **{
        f"a field at the end of {name}": (rf"}} {name};", f"  int64_t new_field;\n}} {name};", f"{name}.new_field @")
        for name in ("tacoglow_facts", "tacoglow_speech", "tacoglow_text", "tacoglow_request", "tacoglow_loader")
    },
}


@pytest.mark.parametrize("change", BREAKING)
def test_a_broken_abi_fails_without_a_new_soname(project: Path, change: str) -> None:
    release(project)
    edit(project / HEADER_NAME, *BREAKING[change])
    with pytest.raises(GateError, match=r"cpp/abi\.txt: .* is not as recorded; run make abi"):
        check_gates(project, "")
    for version in (VERSION, "0.1.1"):
        new_version(project, version) if version != VERSION else record(project)
        with pytest.raises(GateError, match=rf"programs would break; expected .* soname than 0\.1, got {version}"):
            check_gates(project, "")
    new_version(project, "0.2.0")
    assert check_gates(project, "v0.2.0") == "0.2.0"


@pytest.mark.parametrize("change", COMPATIBLE)
def test_an_extended_abi_fails_without_a_new_version(project: Path, change: str) -> None:
    release(project)
    pattern, replacement, entry = COMPATIBLE[change]
    edit(project / HEADER_NAME, pattern, replacement)
    record(project)
    with pytest.raises(GateError, match=rf"'{re.escape(entry)}.*' is not in 0\.1\.0; expected a new version"):
        check_gates(project, "")
    new_version(project, "0.1.1")
    assert check_gates(project, "v0.1.1") == "0.1.1"


def test_another_demo_voice_needs_a_new_version(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, dist = project / "models" / "demo", tmp_path_factory.mktemp("dist")
    wheel, folders = dist / "tacoglow_demo_voice-3.0-py3-none-any.whl", Folders(dist, dist)
    monkeypatch.setattr(demo_voice, "ROOT", project)
    demo.mkdir(parents=True)
    (demo / "pyproject.toml").write_text('[project]\nversion = "3.0" # voice.json\'s\n')
    (demo / "voice.json").write_text("{}")
    (demo / "tacotron2.pt").write_bytes(b"weights")
    wheel.touch()
    commit(project)
    assert demo_voice.leave_out_released(folders) == "its version is new"
    assert wheel.exists()
    release(project)
    (demo / "README.md").write_text("It may change.")
    demo_voice.check_demo_voice(project)
    (demo / "tacotron2.pt").write_bytes(b"others")
    commit(project)
    with pytest.raises(StepError, match=r"tacotron2\.pt: is not that of 0\.1\.0; expected a new version .*, got 3\.0"):
        demo_voice.check_demo_voice(project)
    assert demo_voice.leave_out_released(folders).startswith("its version came with 0.1.0")
    assert not wheel.exists()
    edit(demo / "pyproject.toml", r"3\.0", "4.0")
    wheel.touch()
    demo_voice.check_demo_voice(project)
    assert demo_voice.leave_out_released(folders) == "its version is new"


def test_a_release_is_compared_with_the_one_before_it(project: Path) -> None:
    git(project, "tag", f"v{VERSION}")
    assert check_gates(project, f"v{VERSION}") == VERSION


def test_abi_is_what_a_compiler_makes_of_the_header(tmp_path: Path) -> None:
    """Sizes and offsets as the C compiler has them."""
    entries = re.findall(r"^(tacoglow_\w+)\.(\w+) @ (\d+): ", describe_header(HEADER), re.MULTILINE)
    assert len(entries) > 30
    checks = "\n".join(f'_Static_assert(offsetof({s}, {f}) == {n}, "{s}.{f}");' for s, f, n in entries)
    source = tmp_path / "offsets.c"
    source.write_text(f"#include <stddef.h>\n#include <tacoglow.h>\n{checks}\n")
    done = subprocess.run(["cc", "-fsyntax-only", f"-I{HEADER.parent}", str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_soname() -> None:
    assert [soname(version) for version in ("0.1.7", "1.4.2")] == ["0.1", "1"]


def test_notes_are_one_versions() -> None:
    text = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- B.\n\n## 0.1.0 (2026-12-01)\n\n### Speech\n\n- A.\n"
    assert [section.date for section in read_sections(text).values()] == ["unreleased", "2026-12-01"]
    assert find_notes(text, "0.1.0", is_release=True) == "### Speech\n\n- A."
    assert find_notes(text, "0.2.0", is_release=False) == "- B."


def test_sizes_have_limits() -> None:
    assert at_most("wheel", 1.5, 1.5) == "wheel 1.5 MB (at most 1.5)"
    with pytest.raises(StepError, match=r"wheel: 1\.6 MB, expected at most 1\.5 MB"):
        at_most("wheel", 1.6, 1.5)


def test_interpreters_are_found_by_version() -> None:
    assert find_python("2.3") is None


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match=r"^no-such-program: not found; install it .* STEPS="):
        run("no-such-program", "--version")
    monkeypatch.setattr(check, "VENV", "no-such-folder")
    with pytest.raises(StepError, match=r"no-such-folder/bin/python: not found; make no-such-folder/test\.ready"):
        check.run_tests(Folders(tmp_path, tmp_path))


def test_a_second_check_uses_nothing_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip download replaces no file of the same name, and leaves those of other versions where they are."""

    def download(*command: object, **_: object) -> str:
        folder = Path(str(command[command.index("--dest") + 1]))
        folder.mkdir()  # fails unless it is gone
        with zipfile.ZipFile(folder / f"a-{number}.whl", "w") as wheel:
            wheel.writestr("onnxruntime/capi/version", str(number))
        return ""

    for module in (archives, installs):
        monkeypatch.setattr(module, "run", download)
    folders = Folders(tmp_path / "dist", tmp_path)
    for number in (1, 2):
        settings = installs._fill_wheelhouse(folders, Path("python"))
        assert [file.name for file in Path(settings["PIP_FIND_LINKS"]).iterdir()] == [f"a-{number}.whl"]
        library = archives.find_onnxruntime(folders, archives.X86_64)
        assert (library / "version").read_text() == str(number)


def test_steps_run_beside_each_other_until_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both, has_failed = threading.Barrier(2, timeout=30), threading.Event()
    monkeypatch.setattr(check, "Event", lambda: has_failed)

    def wait(folders: Folders) -> str:
        both.wait()
        return "done"

    def fail(folders: Folders) -> str:
        both.wait()
        raise StepError("planted")

    def end_after_the_failure(folders: Folders) -> str:
        both.wait()
        assert has_failed.wait(30)
        return "done"

    def say(folders: Folders) -> str:
        return "done"

    for name, steps in (
        ("FIRST", {"first": say, "unwanted": say}),
        ("PYTHONS", {"python": wait, "broken": fail, "after it": say}),
        ("ARCHIVES", {"archive": wait, "beside it": end_after_the_failure, "later": say}),
        ("LAST", {"last": say}),
    ):
        monkeypatch.setattr(check, name, steps)
    wanted = {"first", "python", "broken", "after it", "archive", "beside it", "later", "last"}
    with pytest.raises(StepError, match="planted"):
        check.run_steps(Folders(tmp_path, tmp_path), wanted)
    ran = {line.partition(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert ran == {"first", "python", "archive", "beside it"}
