"""Times a bundle's TensorRT engines by the GPU's own events."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...runtime.backends.cuda.graph import CHUNK_STEPS, CudaGraphRunner
from ...runtime.backends.cuda.stream import CudaStream, DeviceArray
from ...runtime.noise import Noise
from ...runtime.options import SpeechOptions
from ...runtime.synthesizer import Synthesizer

TOKENS = 128
BATCHES = (1, 4, 8)
CHUNKS = 37  # 592 steps
REPEATS = 5
WAVEGLOW_FRAMES = (20, 88, 600)
NEVER = SpeechOptions(gate_threshold=1.0 - 1e-12)
WORDS = (
    "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle, and the rest "
    "of the story follows as it must."
).split()


def times(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time a decoder step, captured and enqueued, in microseconds, the other graphs and first audio in milliseconds."""
    voice = Synthesizer.load(arguments.bundle, "tensorrt")
    step, encoder, waveglow = (_runner(voice, name) for name in ("decoder_step", "encoder", "waveglow"))
    ids = (voice.front_end.encode(" ".join(WORDS)) * 2)[:TOKENS]
    result: dict[str, Any] = {"gpu": voice.backend.device, "tokens": len(ids)}
    for batch in BATCHES:
        new_steps = partial(step.decoder_steps, voice.acoustic.encode([ids] * batch), [Noise(i) for i in range(batch)])
        result[f"step_us_captured_batch_{batch}"] = _step_microseconds(step, new_steps)
    step.capturable = False  # buffers of batch 3 are new, so that their chunk is enqueued step by step
    new_steps = partial(step.decoder_steps, voice.acoustic.encode([ids] * 3), [Noise(i) for i in range(3)])
    result["step_us_enqueued_batch_3"] = _step_microseconds(step, new_steps)
    inputs = {"token_ids": np.array([ids], np.int32), "token_lengths": np.array([len(ids)], np.int32)}
    result["encoder_ms"] = _milliseconds(encoder.stream, partial(encoder.run, **inputs))
    bands = voice.manifest.audio.n_mel_channels
    for frames in WAVEGLOW_FRAMES:
        mel = np.full((1, bands, frames), -5.0, np.float32)
        vocode = partial(waveglow.vocode, mel, Noise(0), first_group=0, sigma=0.6)
        result[f"waveglow_ms_{frames}_frames"] = _milliseconds(waveglow.stream, vocode)
        round_trip = partial(_round_trip, waveglow.stream, waveglow.stream.empty(mel.shape, mel.dtype))
        result[f"mel_round_trip_ms_{frames}_frames"] = _milliseconds(waveglow.stream, round_trip)
    result["first_audio_ms"] = _first_audio(voice)
    return result


def _runner(voice: Synthesizer, graph: str) -> CudaGraphRunner:
    runner = voice.backend.open(graph)
    assert isinstance(runner, CudaGraphRunner)
    return runner


def _step_microseconds(step: CudaGraphRunner, new_steps: Callable[[], Any]) -> float:
    found = []
    for _ in range(REPEATS):
        steps = new_steps()
        steps.launch(0)
        steps.read()
        begin = step.stream.record_time()
        for chunk in range(1, CHUNKS + 1):
            steps.launch(chunk * CHUNK_STEPS)
            if chunk > 1:
                steps.read()
        found.append(step.stream.record_time().seconds_since(begin) * 1e6 / (CHUNKS * CHUNK_STEPS))
        steps.read()
    return statistics.median(found)


def _milliseconds(stream: CudaStream, call: Callable[[], object]) -> float:
    found = []
    for _ in range(3 + REPEATS):  # the first are enqueued, then captured
        begin = stream.record_time()
        call()
        found.append(stream.record_time().seconds_since(begin) * 1e3)
    return statistics.median(found[3:])


def _round_trip(stream: CudaStream, mel: DeviceArray) -> None:
    """Measure the cost of a mel's way through the host, on its way from the postnet to the vocoder."""
    on_host = np.empty(mel.shape, mel.dtype)
    stream.download(on_host, mel)
    stream.record().wait()
    stream.upload(mel, on_host)


def _first_audio(voice: Synthesizer) -> float:
    found = []
    for seed in range(3 + REPEATS):
        begin = time.perf_counter()
        with voice.stream(" ".join(WORDS), seed, options=NEVER) as stream:
            next(stream)
        found.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(found[3:])
