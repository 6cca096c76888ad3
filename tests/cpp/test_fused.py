"""The kernels behind the C++ runtime's TensorRT backend: their package, and the kernels themselves in their emulation.

Python writes the package, and decodes the same items with the same kernel: C++ must give the same bits, although it
fills a kernel of another batch size with copies.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tacoglow.runtime.backends.base import Backend
from tacoglow.runtime.backends.cuda.fused.steps import FusedDecoder
from tacoglow.runtime.backends.tensorrt.backend import TensorRTBackend
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.decoder import Chunk, EncoderOutput
from tacoglow.runtime.noise import Noise
from tacoglow.tests.pretend_driver.driver import PretendDriver
from tacoglow.tests.runtime.backends.cuda.conftest import on_device

from .conftest import SEVERAL_FRAMES_PER_STEP
from .test_core import check_on_gpu

DRIVER = 13000  # CUDA version of the pretended driver
LENGTHS = (40, 7, 23)  # of three items, in tokens
TOKENS = 64
LAUNCHES = 2  # of 64 steps


@pytest.fixture
def plans(half_bundle: Path, cuda: PretendDriver, tmp_path: Path) -> Path:
    return write_plans(half_bundle, tmp_path / "plans")


def write_plans(bundle: Path, plans: Path) -> Path:
    """Plans of the simulated TensorRT, and the package, whose cubins are paths of emulated kernels."""
    plans.mkdir()
    for graph in load_manifest(bundle).graphs:
        (plans / f"{graph}.plan").write_text(graph)
    backend = on_device(bundle).backend
    assert isinstance(backend, TensorRTBackend)
    assert backend.copy_kernels(plans) == plans / "kernels"
    return plans


def fused_decoder(backend: Backend) -> FusedDecoder:
    fused = backend.open("decoder_step").new_steps.__self__  # type: ignore[attr-defined]
    assert isinstance(fused, FusedDecoder)
    return fused


def encoded_items(bundle: Path, lengths: tuple[int, ...]) -> EncoderOutput:
    """Random encoder outputs."""
    rng, tensors = np.random.default_rng(1), load_manifest(bundle).graphs["decoder_step"].tensors
    widths = [int(tensors[name].shape[-1]) for name in ("memory", "processed_memory")]
    memory, processed = (rng.normal(size=(len(lengths), TOKENS, width)).astype(np.float32) for width in widths)
    mask = np.arange(TOKENS) >= np.array(lengths)[:, None]
    return EncoderOutput(memory, processed, mask)


def decode_in_cpp(programs: Path, bundle: Path, plans: Path, encoded: EncoderOutput, folder: Path) -> Chunk:
    folder.mkdir()
    for name, array in vars(encoded).items():
        (folder / name).write_bytes(array.tobytes())
    batch = len(encoded.memory)
    assert check_on_gpu(programs, "steps", bundle, plans, folder, batch, TOKENS, LAUNCHES) == b"ok\n"
    shapes = {"mel": (-1, batch, int(np.prod(mel_shape(bundle)))), "gate_logits": (-1, batch)}
    shapes["attention_weights"] = (-1, batch, TOKENS)
    return Chunk(*(np.fromfile(folder / name, np.float32).reshape(shape) for name, shape in shapes.items()))


def mel_shape(bundle: Path) -> tuple[int, int]:
    manifest = load_manifest(bundle)
    return manifest.decoder.frames_per_step, manifest.audio.n_mel_channels


def decode_in_python(bundle: Path, encoded: EncoderOutput) -> Chunk:
    steps = fused_decoder(on_device(bundle).backend).steps(encoded, [Noise(i, 3) for i in range(len(encoded.memory))])
    chunks = []
    for first in range(0, 64 * LAUNCHES, steps.chunk_steps):
        steps.launch(first)
        chunks.append(Chunk(*(array.copy() for array in vars(steps.read()).values())))
    return Chunk(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in vars(chunks[0])))


@pytest.mark.parametrize("lengths", [LENGTHS[:1], LENGTHS, LENGTHS * 4], ids=["one item", "three", "twelve"])
def test_decodes_what_python_decodes(
    programs: Path,
    half_bundle: Path,
    plans: Path,
    tmp_path: Path,
    lengths: tuple[int, ...],
) -> None:
    encoded = encoded_items(half_bundle, lengths)
    got = decode_in_cpp(programs, half_bundle, plans, encoded, tmp_path / "steps")
    expected = decode_in_python(half_bundle, encoded)
    for name, wanted in vars(expected).items():
        np.testing.assert_array_equal(getattr(got, name), wanted.reshape(getattr(got, name).shape), err_msg=name)


@SEVERAL_FRAMES_PER_STEP
def test_several_frames_a_step(
    programs: Path,
    half_reduced_bundle: Path,
    cuda: PretendDriver,
    tmp_path: Path,
) -> None:
    plans = write_plans(half_reduced_bundle, tmp_path / "plans")
    encoded = encoded_items(half_reduced_bundle, LENGTHS[:1])
    got = decode_in_cpp(programs, half_reduced_bundle, plans, encoded, tmp_path / "steps")
    np.testing.assert_array_equal(got.mel, decode_in_python(half_reduced_bundle, encoded).mel.reshape(got.mel.shape))


def test_speaks_the_same_in_batches_streams_and_alone(programs: Path, half_bundle: Path, plans: Path) -> None:
    assert check_on_gpu(programs, "fused", half_bundle, plans) == b"ok\n"


@pytest.mark.parametrize("decoder", ["fused", "engine", "engine, noise of the host"])
def test_rows_share_launches(programs: Path, half_bundle: Path, plans: Path, decoder: str) -> None:
    """Each speaks what it speaks alone, and sixteen requests need a sixth of the launches."""
    about = plans / "kernels" / "kernels.json"
    if decoder == "engine":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"fused": None}))
    elif decoder != "fused":
        shutil.rmtree(plans / "kernels")
    assert check_on_gpu(programs, "rows", half_bundle, plans) == b"ok\n"


def test_draws_noise_on_the_gpu(programs: Path, half_bundle: Path, plans: Path) -> None:
    about = plans / "kernels" / "kernels.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"fused": None}))  # or it would draw the dropout itself
    assert check_on_gpu(programs, "device_noise", half_bundle, plans) == b"ok\n"


@SEVERAL_FRAMES_PER_STEP
def test_draws_noise_of_several_frames_a_step(
    programs: Path, half_reduced_bundle: Path, cuda: PretendDriver, tmp_path: Path
) -> None:
    plans = write_plans(half_reduced_bundle, tmp_path / "plans")
    test_draws_noise_on_the_gpu(programs, half_reduced_bundle, plans)


def test_says_which_decoder_runs_and_why(programs: Path, half_bundle: Path, plans: Path) -> None:
    def decoder() -> str:
        return check_on_gpu(programs, "decoder", half_bundle, plans).decode()

    def change(**fields: object) -> None:
        about.write_text(json.dumps(json.loads(whole) | fields))

    def change_fused(**fields: object) -> None:
        change(fused=fused | fields)

    about = plans / "kernels" / "kernels.json"
    whole = about.read_text()
    fused = json.loads(whole)["fused"]
    assert decoder() == "fused, tagged exchange\n"
    change(gpu="NVIDIA H100")
    assert decoder() == (
        f"engine: {plans}/kernels: compiled for NVIDIA H100, compute capability 9.0, driver {DRIVER}, "
        f"this is Simulated GPU, compute capability 9.0, driver {DRIVER}; run tacoglow build-engines --copy-to here\n"
    )
    change(driver=DRIVER - 10)
    assert "driver 12990, this is Simulated" in decoder()
    change_fused(graph_sha256="0" * 64)
    assert "made for another voice's decoder_step; run tacoglow build-engines --copy-to again" in decoder()
    change(format_version=2)
    assert "format_version: expected a whole number from 4 to 4; run tacoglow build-engines" in decoder()
    change_fused(kernels=[kernel | {"file": "../x"} for kernel in fused["kernels"]])
    assert "$.fused.kernels[0].file: expected a plain file name; run tacoglow build-engines" in decoder()
    change_fused(kernels=[kernel | {"blocks": 133} for kernel in fused["kernels"]])
    assert "needs 133 blocks of 64 threads" in decoder()
    change(fused=None)
    assert decoder() == "engine: there is no fused decoder beside the plans\n"
    about.write_text(whole)
    with (plans / "kernels" / "weights.bin").open("r+b") as weights:
        weights.write(b"x")
    assert "weights.bin: damaged" in decoder()
    about.write_text("{")
    assert "kernels.json: damaged, not valid JSON; run tacoglow build-engines" in decoder()
    about.unlink()
    about.mkdir()
    assert "kernels.json: cannot be read; run tacoglow build-engines" in decoder()
    shutil.rmtree(plans / "kernels")
    assert decoder() == "engine: there is no fused decoder beside the plans\n"
    (plans / "kernels").symlink_to(plans / "kernels")  # a folder of which even root cannot ask
    assert decoder().startswith(f"engine: {plans}/kernels/kernels.json: cannot be read; run tacoglow build-engines")


def test_where_the_engine_decodes_the_package_only_draws_noise(plans: Path, half_bundle: Path) -> None:
    backend = on_device(half_bundle, "engine").backend
    assert isinstance(backend, TensorRTBackend)
    assert backend.copy_kernels(plans) == plans / "kernels"
    assert sorted(path.name for path in (plans / "kernels").iterdir()) == ["kernels.json", "noise.cubin"]
