"""The reading of Dockerfiles, and what a last stage must not have; the stages themselves run in make images-check."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tacoglow.tools.release.images import Stage, check_left, instructions
from tacoglow.tools.release.manifests import SERVING
from tacoglow.tools.release.steps import StepError


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage whose root has a program and a folder for everybody's files."""
    base = tmp_path / "base"
    (base / "usr/bin").mkdir(parents=True)
    (base / "usr/bin/python3").touch()
    (base / "tmp").mkdir()
    (base / "tmp").chmod(0o1777)
    made = Stage(tmp_path / "last", base)
    made.user = "10001:10001"
    return made


def test_a_dockerfile_is_read_line_by_line() -> None:
    found = instructions(SERVING / "Dockerfile")
    assert [name for name, _ in found] == ["ARG", "FROM", "ARG", "RUN", "USER", "HEALTHCHECK", "ENTRYPOINT"]
    assert found[5][1].startswith('--start-period=120s --timeout=15s   CMD ["python3", ')


def test_a_stage_may_have_a_writable_tmp(stage: Stage) -> None:
    check_left(Path("Dockerfile"), stage)


def test_a_compiler_is_found(stage: Stage) -> None:
    (stage.root / "usr/bin/cc").symlink_to("/etc/alternatives/cc")
    with pytest.raises(StepError, match="Dockerfile: the last stage has cc; build in an earlier one"):
        check_left(Path("Dockerfile"), stage)


@pytest.mark.parametrize("how", ["mode", "owner"])
def test_a_file_that_its_user_may_change_is_found(stage: Stage, how: str) -> None:
    file = stage.root / "usr/bin/python3"
    if how == "mode":
        file.chmod(0o666)
    elif os.geteuid():
        pytest.skip("only root can give a file away")
    else:
        os.chown(file, 10001, 10001)
    with pytest.raises(StepError, match=r"user 10001:10001 may write .*/usr/bin/python3; expected /tmp alone"):
        check_left(Path("Dockerfile"), stage)
