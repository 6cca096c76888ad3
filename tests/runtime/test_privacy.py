"""Nothing is told to anybody: a voice that speaks leaves no file behind, and looks for no other machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Speaks, waits for what threads of libraries might do, and prints Python's and the system's attempts to reach others.
PROGRAM = """
import sys, time
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
from tacoglow import Synthesizer
Synthesizer.load(sys.argv[1], "onnxruntime", threads=1).say("Hello.")
if "reach" in sys.argv:
    import socket
    try:
        socket.create_connection(("192.0.2.1", 443), 1)
    except OSError:
        pass
time.sleep(20 if "wait" in sys.argv else 1)
def count(file, row, name):
    rows = [line.split() for line in Path(file).read_text().splitlines() if line.startswith(row)]
    return int(dict(zip(*rows))[name])
if "isolated" in sys.argv:
    asked += ["no route"] * count("/proc/net/snmp", "Ip:", "OutNoRoutes")
print(*sorted(set(asked)))
"""
TELEMETRY_IS_OFF_UNDER = (  # by ONNX Runtime: where one of these is set, a test would prove nothing
    *("CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL", "CODEBUILD_BUILD_ID"),
    *("BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR", "BITBUCKET_BUILD_NUMBER", "ORT_DISABLE_TELEMETRY"),
)
ISOLATED = ["unshare", "--map-root-user", "--net"]  # a network of its own, without routes


def attempts(bundle: Path, home: Path, *arguments: str, prefix: list[str] | None = None, **variables: str) -> list[str]:
    """Run the program; returns what it tried to reach. home: of a user who has never run anything."""
    home.mkdir()
    hidden = (*TELEMETRY_IS_OFF_UNDER, "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(home), **variables}
    program = [*(prefix or []), sys.executable, "-c", PROGRAM, str(bundle), *arguments]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def test_a_voice_leaves_nothing_behind(tiny_bundle: Path, tmp_path: Path) -> None:
    assert attempts(tiny_bundle, tmp_path / "home") == []
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="ONNX Runtime's telemetry is tried where its place is known")
def test_the_test_above_would_find_files(tiny_bundle: Path, tmp_path: Path) -> None:
    """With the user's wish for telemetry, which is not overruled."""
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29):
        pytest.skip("this ONNX Runtime has no telemetry on Linux")
    attempts(tiny_bundle, tmp_path / "home", ORT_DISABLE_TELEMETRY="0")
    assert list((tmp_path / "home").rglob("deviceid"))


@pytest.mark.full
def test_no_machine_is_looked_for(tiny_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*ISOLATED, "true"], capture_output=True).returncode:
        pytest.skip("networks of one's own are not permitted here")
    assert attempts(tiny_bundle, tmp_path / "home", "isolated", "wait", prefix=ISOLATED) == []  # telemetry needs 16 s
    assert "no" in attempts(tiny_bundle, tmp_path / "other", "isolated", "reach", prefix=ISOLATED)
