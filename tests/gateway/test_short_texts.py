"""Short texts without a final mark, which voices without an end babble after: every way to speak them ends soon."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from scipy.io import wavfile
from wyoming.tts import Synthesize

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import Ending
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, encode_manifest, load_manifest
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import RunningGateway, running
from .test_wyoming import audio_of, talk

TEXTS = (Path(__file__).parents[1] / "golden" / "short_texts.txt").read_text().splitlines()
LONGEST = 2.5  # seconds
NEVER = 1.0 - 1e-9  # gate threshold
Durations = dict[str, float]  # seconds, by text


def without_gate(bundle: Path, copy: Path, ending: Ending | None = None) -> Path:
    """A copy of a voice whose gate does not fire, as if its bias had been lowered. ending: None: the voice's own."""
    shutil.copytree(bundle, copy)
    manifest = load_manifest(copy)
    decoder = msgspec.structs.replace(manifest.decoder, gate_threshold=NEVER)
    decoder = decoder if ending is None else msgspec.structs.replace(decoder, ending=ending)
    (copy / MANIFEST_NAME).write_bytes(encode_manifest(msgspec.structs.replace(manifest, decoder=decoder)))
    return copy


def by_command(bundle: Path, folder: Path) -> Durations:
    """`trt-infer` with a list."""
    (folder / "list.txt").write_text("\n".join(TEXTS))
    command = [str(Path(sys.executable).with_name("trt-infer")), str(bundle), "-i", "list.txt", "-o", "spoken"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wavs = [wavfile.read(folder / f"spoken/{i:04d}.wav") for i in range(1, len(TEXTS) + 1)]
    return {text: len(samples) / rate for text, (rate, samples) in zip(TEXTS, wavs, strict=True)}


def by_http(gateway: RunningGateway, rate: int, stream: bool) -> Durations:
    """The answers of `tacoglow serve`."""
    fields = {"response_format": "pcm", "sample_rate": rate, "stream": stream}
    return {text: len(gateway.speech(input=text, **fields).body) / 2 / rate for text in TEXTS}


def by_wyoming(gateway: RunningGateway, rate: int) -> Durations:
    return {text: len(audio_of(talk(gateway, Synthesize(text), until="audio-stop"))) / 2 / rate for text in TEXTS}


def all_ways(bundle: Path, folder: Path) -> Iterator[tuple[str, Durations]]:
    """Name each way, and how long it speaks each text."""
    yield "trt-infer -i", by_command(bundle, folder)
    voice = Synthesizer.load(bundle, "onnxruntime", threads=1)
    voice.read_notations()  # as serve does
    rate = voice.manifest.audio.sampling_rate
    with running(Scheduler(voice), max_wait=60.0) as gateway:
        yield "HTTP, stream", by_http(gateway, rate, stream=True)
        yield "HTTP, whole", by_http(gateway, rate, stream=False)
        yield "Wyoming", by_wyoming(gateway, rate)


@pytest.mark.full
def test_a_damaged_voice_ends_by_the_tokens_of_each_text(tiny_bundle: Path, tmp_path: Path) -> None:
    """coqui-ai/TTS#1529, NVIDIA/tacotron2#534, mozilla/TTS#483: the gate does not fire."""
    ending = Ending(attention_patience=40, frames=3, frames_per_token=0.5)  # the tiny voice's own limit is 40 frames
    bundle = without_gate(tiny_bundle, tmp_path / "voice", ending)
    manifest, front_end = load_manifest(bundle), Synthesizer.load(bundle, "onnxruntime").front_end
    for way, durations in all_ways(bundle, tmp_path):
        for text, seconds in durations.items():
            frames = seconds * manifest.audio.sampling_rate / manifest.audio.hop_length
            assert frames == 3 + len(front_end.encode(text)) // 2, (way, text)


@pytest.mark.slow
@pytest.mark.parametrize("is_damaged", [False, True])
def test_the_demo_voice_speaks_short_texts_soon(is_damaged: bool, demo_bundle: Path, tmp_path: Path) -> None:
    bundle = without_gate(demo_bundle, tmp_path / "damaged") if is_damaged else demo_bundle
    for way, durations in all_ways(bundle, tmp_path):
        longest = max(durations, key=lambda text: durations[text])
        print(f"{way}: {len(durations)} texts, the longest is {longest!r} with {durations[longest]:.2f} s")
        assert {text: seconds for text, seconds in durations.items() if seconds > LONGEST} == {}, way
