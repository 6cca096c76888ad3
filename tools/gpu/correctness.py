"""The steps that compare what TensorRT computes, in Python and in C++, with the host."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from ...runtime.backends.base import Decoder
from ...runtime.backends.cuda.fused.weights import load_weights
from ...runtime.backends.tensorrt.backend import TensorRTBackend
from ...runtime.backends.tensorrt.cache import EngineCache, copy_plans
from ...runtime.bundle.reading import load_manifest
from ...runtime.synthesizer import Synthesizer
from ...tests.runtime.backends.cuda.fused.model import Encoded, decode, initial_state
from .day import ROOT, without_python_home
from .engines import build
from .figures import Context, Figures
from .fused import COMPARED_STEPS, NEGLIGIBLE, noises, read_steps, relative
from .stages import encode, open_frames, runner

if TYPE_CHECKING:
    import pytest

TEXT = "Hello world, I missed you."
BATCH = 3


def accuracy(context: Context, figures: Figures) -> None:
    """Compare decoder steps by engine and by kernel with float32 on the host: the kernel may be no worse."""
    steps, errors = COMPARED_STEPS, dict[str, dict[str, float]]()
    for decoder in get_args(Decoder):
        backend = open_frames(context, decoder)
        encoded = encode(backend, BATCH, context.sizes.tokens)
        made = read_steps(runner(backend, "decoder_step").decoder_steps(encoded, noises(BATCH)), steps)
        weights = load_weights(context.bundle, backend.manifest)
        dropout = np.stack([one.prenet_dropout(0, steps, 2, weights.dims["PRENET"]) for one in noises(BATCH)], axis=1)
        lengths = (~encoded.memory_mask).sum(1).astype(np.int32)
        memory = Encoded(encoded.memory, encoded.processed_memory, lengths)
        state = initial_state(weights.dims, *encoded.memory.shape[:2])
        exact = decode(weights, memory, dropout, state).outputs
        names = {"mel": "mel", "gate_logits": "gate_logits", "attention_weights": "alignments"}
        errors[decoder] = {name: relative(made[name], exact[model]) for name, model in names.items()}
        figures[f"errors_{decoder}"] = errors[decoder]
    wrong = worse_than(errors["fused"], errors["engine"])
    assert not wrong, f"the fused decoder's {', '.join(wrong)}: further from float32 than the engine's"


def worse_than(errors: dict[str, float], yardstick: dict[str, float]) -> list[str]:
    """Name the outputs whose errors are larger than the yardstick's and not negligible, or NaN."""
    return [name for name, error in errors.items() if not error <= max(yardstick[name], NEGLIGIBLE)]


def graphs(context: Context, figures: Figures) -> None:
    """Build a small voice's engines, then run tests/gpu with it: every graph and whole speech against the host."""
    import pytest

    build(context, figures, load_manifest(context.bundle).graph_names)
    os.environ["TACOGLOW_GPU_BUNDLES"] = str(context.bundle.parent)
    outcomes = Outcomes(figures)
    selected = "fp16 and not memory" if context.sizes.is_rehearsal else "fp16"  # 200 utterances take a CPU minutes
    options = ["-m", "gpu", "-k", selected, "-rs", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    code = pytest.main([*options, str(ROOT / "tests" / "gpu")], plugins=[outcomes])
    figures["counts"] = dict(outcomes.counts)
    assert outcomes.counts["passed"], "no test ran: all were skipped"
    assert code == 0, f"pytest's exit code is {int(code)}"


class Outcomes:
    """A plugin of pytest that writes each test's outcome into the figures."""

    def __init__(self, figures: Figures) -> None:
        self._figures, self.counts = figures, Counter[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1
            self._figures[report.nodeid.split("::")[-1]] = report.outcome


def cpp(context: Context, figures: Figures) -> None:
    """Build the C++ runtime here, and compare its speech on TensorRT with Python's, with either decoder.

    CMAKE_PREFIX_PATH must name a folder with the headers of TensorRT, a library nvinfer and nlohmann_json, where the
    system has none.
    """
    manifest, folder = load_manifest(context.bundle), context.out / "cpp"
    environment = without_python_home(os.environ)  # cmake may be a program of another Python
    for command in cmake_commands(folder):
        subprocess.run(command, check=True, env=environment)
    found = {}
    for graph, spec in manifest.graphs.items():
        engine = EngineCache().find(lambda key, sha256=spec.sha256: key.graph_sha256 == sha256)  # type: ignore[misc]
        assert engine is not None, graph
        found[graph] = engine
    copy_plans(found, folder / "plans")
    wav = folder / "hello.wav"
    common = ["--backend", "tensorrt", "--plans", str(folder / "plans"), "--seed", "0"]
    for decoder in get_args(Decoder):
        voice = Synthesizer.load(context.bundle, "tensorrt", decoder=decoder)
        assert isinstance(voice.backend, TensorRTBackend)
        voice.backend.copy_kernels(folder / "plans")
        speak = next(path for path in folder.rglob("speak") if path.is_file())
        subprocess.run([speak, context.bundle, "--text", TEXT, "-o", wav, *common], check=True)
        expected = voice.say(TEXT, seed=0).samples
        samples = np.frombuffer(wav.read_bytes()[44:], "<i2") / 32767.0
        figures[f"{decoder}_lengths"] = [len(samples), len(expected)]
        assert len(samples) == len(expected), decoder
        figures[f"{decoder}_largest_difference"] = float(np.abs(samples - expected).max())


def cmake_commands(folder: Path) -> list[list[str]]:
    """Configure with TensorRT alone, for machines that have neither ONNX Runtime's headers nor Expat, and build."""
    off = [f"-DTACOGLOW_{name}=OFF" for name in ("ONNXRUNTIME", "INSTALL_ONNXRUNTIME", "SSML")]
    configure = ["cmake", "-S", str(ROOT / "cpp"), "-B", str(folder), "-DTACOGLOW_TENSORRT=ON", *off]
    return [configure, ["cmake", "--build", str(folder), f"-j{os.cpu_count()}", "--target", "speak"]]
