"""Every pipeline's output equals that of the PyTorch modules."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import msgspec
import numpy as np
import pytest
import torch

from tacoglow.benchmarks.loading import computes
from tacoglow.benchmarks.pipelines import BundlePipeline, Pipeline, PipelineOutput
from tacoglow.benchmarks.pytorch import ROUNDED, Mode, PyTorchPipeline
from tacoglow.benchmarks.voices import Models
from tacoglow.runtime.bundle.manifest import Ending
from tacoglow.tests.benchmarks.conftest import WORK
from tacoglow.tests.tolerances import FOLDED, PUBLISHED


def check(pipeline: Pipeline, expected: PipelineOutput, tolerance: float, stages: set[str]) -> None:
    output, seconds = pipeline.synthesize(WORK)
    np.testing.assert_allclose(output.mel, expected.mel, rtol=0.0, atol=tolerance)
    if output.audio is not None:
        assert expected.audio is not None
        np.testing.assert_allclose(output.audio, expected.audio, rtol=0.0, atol=tolerance)
    assert seconds.keys() == stages
    assert min(seconds.values()) > 0.0


STAGES = {"encoder", "decoder", "postnet", "vocoder"}


@pytest.mark.parametrize("mode", ["eager", "TorchScript"])
def test_pytorch(models: Models, expected: PipelineOutput, mode: str) -> None:
    pipeline = PyTorchPipeline(models, mode)  # type: ignore[arg-type]
    check(pipeline, expected, PUBLISHED, STAGES)
    check(pipeline, expected, PUBLISHED, STAGES)  # again: the traced functions must use new noise


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_products_are_rounded_only_if_the_row_says_so(
    models: Models, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's default lets a GPU round convolutions' inputs: the "fp32" row would not be what tacoglow computes."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    pipeline = PyTorchPipeline(models, precision=precision)
    seen: list[tuple[bool, bool]] = []

    def generate(*inputs: torch.Tensor) -> torch.Tensor:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return models.vocoder.generate(*inputs)

    monkeypatch.setattr(pipeline._vocoder, "generate", generate)
    pipeline.synthesize(WORK)
    assert pipeline.precision == precision
    assert seen == [(precision == "tf32",) * 2]
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("mode", "precision"), ROUNDED.items())
def test_pytorch_with_fewer_bits(models: Models, expected: PipelineOutput, mode: Mode, precision: str) -> None:
    pipeline = PyTorchPipeline(models, mode)
    output, _ = pipeline.synthesize(WORK)
    assert pipeline.precision == precision
    error = np.abs(output.mel - expected.mel).mean()
    assert 1e-5 < error < 8e-2  # it rounds, and no more than the exporter allows bfloat16
    assert output.audio is not None
    assert output.audio.shape == expected.audio.shape  # type: ignore[union-attr]


def test_computes_of_a_bundle(tiny_bundle: Path) -> None:
    assert [computes(tiny_bundle, name) for name in ("onnxruntime", "openvino", "torchscript")] == [
        ["fp32"],  # the bundle has no 8-bit decoder
        ["fp32", "auto"],
        ["fp32"],
    ]


def test_bundle(tiny_bundle: Path, expected: PipelineOutput) -> None:
    pipeline = BundlePipeline(tiny_bundle, "onnxruntime", threads=1)
    check(pipeline, expected, 10 * FOLDED, STAGES)  # errors of folded graphs grow through the recurrence
    first = pipeline.first_audio(WORK)
    assert first is not None
    assert first > 0.0


def test_a_measured_voice_does_the_work_once(
    tiny_bundle: Path, expected: PipelineOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own frame limit nor its attention ends an utterance; no gate firing is no reason to decode again."""
    pipeline = BundlePipeline(tiny_bundle, "onnxruntime", threads=1)
    voice = pipeline.synthesizer
    ending = Ending(attention_patience=1, frames=3, frames_per_token=0.1)
    decoder = msgspec.structs.replace(voice.manifest.decoder, ending=ending)
    voice.manifest = voice.acoustic.manifest = msgspec.structs.replace(voice.manifest, decoder=decoder)
    session = Mock(wraps=voice.acoustic.session)
    monkeypatch.setattr(voice.acoustic, "session", session)
    output, _ = pipeline.synthesize(WORK)
    assert session.call_count == 1
    np.testing.assert_allclose(output.mel, expected.mel, rtol=0.0, atol=10 * FOLDED)
