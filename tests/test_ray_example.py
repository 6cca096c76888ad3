"""examples/ray_list.py on a cluster of this machine, with Ray from the package index."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tacoglow
from tacoglow.tests.test_extras import OFFLINE
from tacoglow.tests.test_install import ROOT

RAY = "ray==2.60.0"
TIMEOUT = 300  # seconds


@pytest.mark.builds
def test_a_list_on_a_cluster(tiny_bundle: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path / "packages"), RAY]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip("no package index can be reached")
    if "No matching distribution" in done.stderr:
        pytest.skip(f"{RAY} has no wheel for this Python")
    assert done.returncode == 0, done.stderr
    texts = [f"Sentence number {i}." for i in range(5)]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    packages = (str(Path(tacoglow.__file__).parents[1]), str(tmp_path / "packages"), os.environ.get("PYTHONPATH", ""))
    environment = {"PYTHONPATH": os.pathsep.join(packages), "RAY_USAGE_STATS_ENABLED": "0"}

    def run(*command: object, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    place = (tiny_bundle, tmp_path / "lines.txt")
    run("-m", "tacoglow", "infer", place[0], "-i", place[1], "-o", tmp_path / "one", "--threads", "1")
    example = ROOT / "examples/ray_list.py"
    printed = run(example, *place, tmp_path / "many", "--shards", "3")
    assert len([line for line in printed.splitlines() if line.startswith("shard ")]) == 3
    expected = {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.wav")}
    assert len(expected) == 5
    assert {path.name: path.read_bytes() for path in (tmp_path / "many").glob("*.wav")} == expected
    again = run(example, *place, tmp_path / "many", "--shards", "2")
    assert "3 made before, 0 spoken now" in again  # what other shards have made, too
    assert run(example, *place, tmp_path / "many", "--shards", "0", code=1) == "--shards: expected 1 or more, got 0\n"
    printed = run(example, "nowhere", place[1], tmp_path / "none", "--shards", "2", code=1)
    assert set(re.findall(r"^shard (\d) of 2: failed: error: .*/nowhere: not a bundle", printed, re.MULTILINE)) == {
        "1",
        "2",
    }
    assert "Traceback" not in printed
