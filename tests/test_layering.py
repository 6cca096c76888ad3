"""An inference machine needs neither PyTorch nor ONNX. That imports run downward is checked by `make lint`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Makes these packages impossible to import, as on a machine with only the core dependencies and ONNX Runtime.
HIDE_PACKAGES = """
import sys

ABSENT = {
    "torch", "torchaudio", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "cuda", "yaml", "safetensors",
    "matplotlib", "scipy", "av", "openvino", "starlette", "uvicorn", "wyoming", "tritonclient", "grpc",
    "huggingface_hub",
}

class HidingFinder:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *arguments):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = map(HidingFinder, sys.meta_path)
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("torch can still be imported")
"""
IMPORT_ALL_AND_SYNTHESIZE = """
import importlib, pkgutil
import tacoglow, tacoglow.cli, tacoglow.export, tacoglow.models, tacoglow.runtime, tacoglow.text, tacoglow.triton_server

packages = tacoglow.runtime, tacoglow.text, tacoglow.triton_server
modules = [m.name for package in packages for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
assert "tacoglow.runtime.backends.onnxruntime" in modules
for module in modules:
    importlib.import_module(module)

tts = tacoglow.Synthesizer.load(sys.argv[1])
audio = tts.say("Hello world, I missed you.", seed=1)
audio.save("hello.wav")
assert len(audio.samples) > 0
assert not ABSENT & set(sys.modules)
"""
RUN_COMMAND = """
from tacoglow import cli
sys.argv[0] = sys.argv.pop(1)
getattr(cli, sys.argv[0].replace("-", "_") + "_main" if "-" in sys.argv[0] else "main")()
"""


def run_hidden(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDE_PACKAGES + script, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_synthesis_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(IMPORT_ALL_AND_SYNTHESIZE, tiny_bundle, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 44


def test_command_line_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(RUN_COMMAND, "trt-infer", tiny_bundle, "Hello.", "-o", "hello.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run_hidden(RUN_COMMAND, "tacoglow", "doctor", cwd=tmp_path).returncode == 0


@pytest.mark.full
def test_bench_of_a_bundle_runs_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = ["bench", tiny_bundle, "--frames", 8, "--tokens", 10, "--runs", 2, "-o", "figures.json"]
    done = run_hidden(RUN_COMMAND, "tacoglow", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert [row["pipeline"] for row in report["speed"]] == ["tacoglow onnxruntime"]
    assert report["ceilings"]["CPU, fp32"]["bytes_per_second"] > 0


def test_missing_package_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(RUN_COMMAND, "export-onnx", "--demo", "-o", "voice", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: export-onnx needs torch; ")
    done = run_hidden(RUN_COMMAND, "trt-infer", tiny_bundle, "Hi.", "-o", "hi.wav", "--plot", "hi.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: --plot needs matplotlib" in done.stderr
    assert not list(tmp_path.iterdir())
