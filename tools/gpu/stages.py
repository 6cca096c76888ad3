"""The steps that time a voice on TensorRT: each stage by the GPU's events, whole utterances by the host's clock."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from ...benchmarks.pipelines import BundlePipeline
from ...benchmarks.workload import Workload, token_ids
from ...runtime.acoustic import AcousticModel
from ...runtime.backends.base import BackendOptions, Decoder
from ...runtime.backends.cuda.graph import CudaGraphRunner
from ...runtime.backends.cuda.stream import CudaStream, DeviceArray
from ...runtime.backends.tensorrt.backend import TensorRTBackend
from ...runtime.backends.tensorrt.cache import Engine
from ...runtime.bundle.manifest import Manifest
from ...runtime.bundle.reading import load_manifest
from ...runtime.decoder import EncoderOutput
from ...runtime.noise import Noise
from .figures import Context, Figures, milliseconds
from .fused import microseconds, noises


class FramesBackend(TensorRTBackend):
    """TensorRT without the vocoder, whose engine may take longer to build than there is time."""

    def _get_engines(
        self, bundle: Path, manifest: Manifest, options: BackendOptions, graphs: Sequence[str]
    ) -> dict[str, Engine]:
        wanted = [name for name in graphs if name != manifest.vocoder.kind]
        return super()._get_engines(bundle, manifest, options, wanted)


def open_frames(context: Context, decoder: Decoder = "engine") -> FramesBackend:
    manifest = load_manifest(context.bundle)
    return FramesBackend(context.bundle, manifest, BackendOptions(decoder=decoder))


def runner(backend: TensorRTBackend, graph: str) -> CudaGraphRunner:
    opened = backend.open(graph)
    assert isinstance(opened, CudaGraphRunner)
    return opened


def encode(backend: TensorRTBackend, batch: int, tokens: int) -> EncoderOutput:
    ids = token_ids(backend.manifest.text.front_end(), tokens)
    return AcousticModel(backend).encode([ids] * batch)


def frames(context: Context, figures: Figures) -> None:
    """Time the stages up to the mel: encoder, a decoder step by engine and by kernel at each batch, postnet."""
    sizes, repeats = context.sizes, context.sizes.repeats
    for decoder in get_args(Decoder):
        backend = open_frames(context, decoder)
        step = runner(backend, "decoder_step")
        for batch in sizes.batches:
            new_steps = partial(step.decoder_steps, encode(backend, batch, sizes.tokens), noises(batch))
            figures[f"decoder_{decoder}_batch_{batch}_us_a_step"] = microseconds(step.stream, new_steps, sizes)
    encoder, postnet = runner(backend, "encoder"), runner(backend, "postnet")
    ids = np.array([token_ids(backend.manifest.text.front_end(), sizes.tokens)], np.int32)
    run = partial(encoder.run, token_ids=ids, token_lengths=np.array([sizes.tokens], np.int32))
    figures["encoder_ms"] = milliseconds(encoder.stream, run, repeats)
    mel = np.full((1, backend.manifest.audio.n_mel_channels, sizes.frames), -5.0, np.float32)
    run = partial(postnet.run, mel=mel, mel_lengths=np.array([sizes.frames], np.int32))
    figures["postnet_ms"] = milliseconds(postnet.stream, run, repeats)
    on_gpu = postnet.stream.empty(mel.shape, mel.dtype)
    figures["mel_round_trip_ms"] = milliseconds(postnet.stream, partial(_round_trip, postnet.stream, on_gpu), repeats)


def _round_trip(stream: CudaStream, mel: DeviceArray) -> None:
    """Take a mel through the host, as on its way from the postnet to the vocoder."""
    on_host = np.empty(mel.shape, mel.dtype)
    stream.download(on_host, mel)
    stream.record().wait()
    stream.upload(mel, on_host)


def samples(context: Context, figures: Figures) -> None:
    """Time the vocoder at the windows that it is captured at, and the denoiser. Both run item by item."""
    backend = TensorRTBackend(context.bundle, load_manifest(context.bundle), BackendOptions())
    manifest, sizes = backend.manifest, context.sizes
    waveglow, denoiser = runner(backend, manifest.vocoder.kind), runner(backend, "denoiser")
    for count in waveglow.window_sizes:
        mel = np.full((1, manifest.audio.n_mel_channels, count), -5.0, np.float32)
        vocode = partial(waveglow.vocode, mel, Noise(0), first_group=0, sigma=0.6)
        figures[f"vocoder_{count}_frames_ms"] = milliseconds(waveglow.stream, vocode, sizes.repeats)
    figures["denoiser_frames"] = count
    audio = np.zeros((1, count * manifest.audio.hop_length), np.float32)
    run = partial(denoiser.run, audio=audio, strength=np.array([0.1], np.float32))
    figures["denoiser_ms"] = milliseconds(denoiser.stream, run, sizes.repeats)


def totals(context: Context, figures: Figures) -> None:
    """Time whole utterances and the first audio of a stream, from the host, by decoder and batch: medians in ms."""
    sizes = context.sizes
    for decoder in reversed(get_args(Decoder)):
        pipeline = BundlePipeline(context.bundle, "tensorrt", decoder=decoder)
        for batch in sizes.batches:
            work = Workload(batch, sizes.tokens, sizes.frames)
            runs = [pipeline.synthesize(work)[1] for _ in range(3 + sizes.repeats)][3:]
            stages = {stage: 1e3 * statistics.median(run[stage] for run in runs) for stage in runs[0]}
            total = 1e3 * statistics.median(sum(run.values()) for run in runs)
            figures[f"{decoder}_batch_{batch}_ms"] = {"total": total, **stages}
        work = Workload(1, sizes.tokens, sizes.frames)
        first = [pipeline.first_audio(work) for _ in range(3 + sizes.repeats)][3:]
        figures[f"{decoder}_first_audio_ms"] = 1e3 * statistics.median(seconds for seconds in first if seconds)
