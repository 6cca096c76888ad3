"""Which decoder is chosen, and the proof that decides: the emulated kernel beside the simulated engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.cli.build_engines import copy_decoder
from tacoglow.cli.doctor import doctor
from tacoglow.cli.inspect import inspect
from tacoglow.runtime.backends import open_backend
from tacoglow.runtime.backends.base import BackendOptions
from tacoglow.runtime.backends.cuda.fused import proof, steps
from tacoglow.runtime.backends.cuda.fused.plan import Plan
from tacoglow.runtime.backends.cuda.fused.proof import ProofRequest, finding_of, kept_verdicts, run_in_process
from tacoglow.runtime.backends.tensorrt import backend, decoder_proof
from tacoglow.runtime.backends.tensorrt.cache import default_folder
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.runtime.backends.cuda.simulated_cuda import SimulatedCuda
from tacoglow.tools.gpu import fused as gpu_day

from .conftest import EmulatedKernel, on_device
from .test_steps import FOREVER, TEXT

Proofs = list[ProofRequest]


@pytest.fixture
def proofs(cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch) -> Proofs:
    """The proofs that were run: here, in this process."""
    run: Proofs = []

    def in_this_process(module: str) -> Callable[[ProofRequest], str]:
        def prove(request: ProofRequest) -> str:
            run.append(request)
            return decoder_proof.find(request)

        assert module == decoder_proof.__name__
        return prove

    monkeypatch.setattr(backend, "run_in_process", in_this_process)
    monkeypatch.setattr(proof, "REPEATED_STEPS", 32)
    return run


class FaultyKernel(EmulatedKernel):
    """Wrong results from the tagged exchange, and right ones from the barrier's."""

    def __init__(self, index: int, plan: Plan, cubin: bytes) -> None:
        super().__init__(index, plan, cubin)
        self._is_faulty = cubin.endswith(b"0")

    def launch(self, stream: object, *arguments: object) -> None:
        changed = list(arguments)
        if self._is_faulty:
            position = 8  # of first_step: the noise of other steps is drawn
            changed[position] = np.int32(int(str(changed[position])) + 8)
        super().launch(stream, *changed)  # type: ignore[arg-type]


def test_auto_takes_the_fused_decoder_once_it_has_proved_itself(half_bundle: Path, proofs: Proofs) -> None:
    device = on_device(half_bundle, "auto")
    assert device.backend.decoder.startswith("fused, tagged exchange passed: differs from the engine by at most ")
    launches = EmulatedKernel.launches
    device.say(TEXT, options=FOREVER)
    assert EmulatedKernel.launches > launches
    assert on_device(half_bundle, "auto").backend.decoder == device.backend.decoder
    assert [request.exchange for request in proofs] == ["tagged"]  # the second time its verdict was kept
    (verdict,) = kept_verdicts(default_folder())
    assert (verdict.exchange, verdict.gpu, verdict.compute_capability) == ("tagged", "Simulated GPU", (9, 0))


def test_then_the_barrier_variant(half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "FusedKernel", FaultyKernel)
    device = on_device(half_bundle, "auto")
    assert [request.exchange for request in proofs] == ["tagged", "barrier"]
    assert device.backend.decoder.startswith("fused, tagged exchange failed: ")
    assert "; barrier exchange passed: " in device.backend.decoder


def test_then_the_engine(half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "TOLERANCE", 1e-9)
    device = on_device(half_bundle, "auto")
    assert device.backend.decoder.startswith(
        "engine, because of the fused decoder's tagged exchange failed: mel differs"
    )
    launches = EmulatedKernel.launches
    device.say(TEXT, options=FOREVER)
    assert EmulatedKernel.launches == launches
    assert len(kept_verdicts(default_folder())) == 1


def test_a_trap_in_the_proof_is_a_verdict(half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmulatedKernel, "fault", RuntimeError("CUDA_ERROR_LAUNCH_FAILED"))
    device = on_device(half_bundle, "auto")
    assert "tagged exchange failed: decoder_step: the fused decoder failed on the GPU" in device.backend.decoder
    assert len(kept_verdicts(default_folder())) == 1


def test_another_driver_or_source_is_proved_again(
    half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device(half_bundle, "auto")
    monkeypatch.setattr(proof, "source_sha256", lambda: "another")
    assert kept_verdicts(default_folder()) == []
    on_device(half_bundle, "auto")
    assert len(proofs) == 2


def test_runs_that_differ_are_a_mismatch(half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, calls = proof._decode, iter(range(100))

    def unsteady(launched: object, count: int) -> object:
        chunk = decode(launched, count)  # type: ignore[arg-type]
        chunk.mel[-1, 0, 0] += next(calls)
        return chunk

    monkeypatch.setattr(proof, "_decode", unsteady)
    assert "tagged exchange failed: two runs differ in mel" in on_device(half_bundle, "auto").backend.decoder


def test_fp32_bundles_keep_the_engine(tiny_bundle: Path, proofs: Proofs) -> None:
    device = on_device(tiny_bundle, "auto")
    assert "computes in half precision, this bundle is fp32" in device.backend.decoder
    assert device.backend.decoder.startswith("engine: ")
    assert not proofs
    device.say(TEXT, options=FOREVER)
    with pytest.raises(BackendError, match=r"this bundle is fp32; export it with --precision fp16"):
        on_device(tiny_bundle, "fused")


def test_what_cannot_be_compiled_is_no_verdict(
    half_bundle: Path, proofs: Proofs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> bytes:
        raise BackendError("NVRTC cannot compile")

    monkeypatch.setattr("tacoglow.runtime.backends.cuda.nvrtc.compile_cubin", refuse)
    reason = "the fused decoder: NVRTC cannot compile; use --decoder engine"
    assert on_device(half_bundle, "auto").backend.decoder == f"engine: {reason}"
    assert not proofs
    assert kept_verdicts(default_folder()) == []
    for name in ("gpu_unavailable_reason", "tensorrt_unavailable_reason"):
        monkeypatch.setattr(backend, name, lambda *arguments: None)
    with pytest.raises(BackendError, match="NVRTC cannot compile"):
        open_backend("auto", half_bundle, load_manifest(half_bundle), BackendOptions(decoder="fused"))


def test_on_a_cpu_fused_is_refused(half_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"decoder 'fused': needs a TensorRT backend, got onnxruntime"):
        Synthesizer.load(half_bundle, "onnxruntime", decoder="fused")
    assert Synthesizer.load(half_bundle, "onnxruntime", decoder="auto").backend.decoder == ""


@pytest.mark.parametrize(
    ("stdout", "stderr", "returncode", "finding"),
    [
        ("proving\npassed: fine", "", 0, "passed: fine"),
        ("proving\nfailed: two runs differ", "noise", 0, "failed: two runs differ"),
        ("proving\nfailed: a trap\n", "", -6, "failed: a trap"),
        ("proving\n", "cuda\nabort", -6, "failed: its process ended with -6: abort"),
        ("", "Traceback\nNo module named x", 1, "not run: its process ended with 1: No module named x"),
        ("", "", -9, "not run: its process ended with -9: no output"),
    ],
)
def test_what_a_process_says(stdout: str, stderr: str, returncode: int, finding: str) -> None:
    assert finding_of(stdout, stderr, returncode) == finding


def test_the_process_is_real(half_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU it ends before the kernel runs, and says why."""
    request = ProofRequest(
        bundle=str(half_bundle), backend="tensorrt", device=0, engines=None, cubins="x", exchange="tagged"
    )
    assert run_in_process(decoder_proof.__name__)(request).startswith("not run: ")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert run_in_process(decoder_proof.__name__)(request).startswith("not run: /nowhere/python cannot be started")
    assert msgspec.json.decode(msgspec.json.encode(request), type=ProofRequest) == request


def test_doctor_and_inspect_show_the_verdict(
    half_bundle: Path, proofs: Proofs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacoglow.runtime.backends.BACKENDS", {})
    on_device(half_bundle, "auto")
    capsys.readouterr()
    with pytest.raises(SystemExit):  # no backend at all
        doctor()
    assert "decoder on Simulated GPU, graph " in (output := capsys.readouterr().out)
    assert ": fused, tagged exchange passed: differs from the engine by at most " in output
    inspect(half_bundle)
    assert "decoder on Simulated GPU: fused, tagged exchange passed: " in capsys.readouterr().out


def test_the_gpu_days_own_code(cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch, half_bundle: Path) -> None:
    monkeypatch.setattr(gpu_day, "STEPS", 48)
    monkeypatch.setattr(gpu_day, "CHUNK_STEPS", 16)
    assert gpu_day.fused_alone(argparse.Namespace()) == {"frames": 48}
    voice = on_device(half_bundle)
    runner = voice.backend.open("decoder_step")
    found = gpu_day.compare(runner.fused_steps.__self__, voice, half_bundle)  # type: ignore[attr-defined]
    assert max(found.values()) < 1e-2


def test_engines_for_cpp_bring_the_decoder_that_is_proved(
    half_bundle: Path, proofs: Proofs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_decoder(half_bundle, load_manifest(half_bundle), BackendOptions(), tmp_path)
    output = capsys.readouterr().out
    assert "decoder: fused, tagged exchange passed: differs from the engine by at most " in output
    assert output.endswith(f"{tmp_path / 'fused'}\n")
    about = msgspec.json.decode((tmp_path / "fused" / "decoder.json").read_bytes())
    assert about["decoder"].startswith("fused, tagged exchange passed")
    assert [(kernel["batch"], kernel["tokens"]) for kernel in about["kernels"]] == [(n, 128) for n in (1, 2, 4, 8)]
