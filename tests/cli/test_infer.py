"""`trt-infer` as users call it: speech, files and messages."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import SpeechOptions, Synthesizer
from tacoglow.tests import tolerances

from .conftest import TEXT, Run


def test_steered_speech(run: Run, workdir: Path) -> None:
    """Also as a stream, which has the same samples up to rounding to 16 bits."""
    text = "Hello. [pause 0.25s] I missed you. And the rest."
    options = ["--rate", 0.5, "--volume", 2, "--sentence-silence", 0.5, "--max-frames", 20, "--wav", "float32"]
    options.append("--trim-silence")
    assert run("trt-infer", "voice", text, "-o", "whole.wav", *options).code == 0
    assert run("trt-infer", "voice", text, "-o", "streamed.wav", "--stream", *options).code == 0
    expected = Synthesizer.load("voice", threads=1).say(
        text, options=SpeechOptions(rate=0.5, volume=2.0, sentence_silence=0.5, trim_silence=True, max_frames=20)
    )
    assert len(expected.utterances) == 3
    rate, whole = wavfile.read("whole.wav")
    assert run("trt-infer", "voice", text, "-o", "t.wav", "--stream", "--timestamps", "t.vtt", *options).code == 0
    assert run("trt-infer", "voice", text, "-o", "t.wav", "--timestamps", "t.json", *options).code == 0
    words = json.loads(Path("t.json").read_text())["words"]
    assert [(word["text"], word["start"]) for word in words] == [(w.text, round(w.start, 3)) for w in expected.words]
    assert Path("t.vtt").read_text().splitlines()[3::3] == ["Hello.", "I missed you.", "And the rest."]
    np.testing.assert_allclose(whole, expected.samples, atol=tolerances.WINDOWS)
    np.testing.assert_allclose(wavfile.read("streamed.wav")[1], whole, atol=0.05)
    first, second, third = expected.utterances
    assert second.start - first.start - len(first.samples) == rate // 4
    assert third.start - second.start - len(second.samples) == rate // 2


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "ulaw"])
def test_speech_of_which_nothing_is_left_is_told(run: Run, workdir: Path, audio_format: str) -> None:
    silent, told = ["--trim-silence", "--volume", 0], "no speech is left"
    for options in ([], ["--stream"]):
        path = Path(f"{len(options)}.{audio_format}")
        done = run("trt-infer", "voice", "Hi.", "-o", path, *options, *silent)
        assert (done.code, done.last) == (0, f"warning: {path}: {told}")
        assert (path.stat().st_size == 0) == (audio_format == "ulaw")  # which has no header, so that it is valid
    Path("list.txt").write_text("Hi.\nNo.\n")
    done = run("trt-infer", "voice", "-i", "list.txt", "-o", "out", "--audio-format", audio_format, *silent)
    names = [f"out/000{line}.{audio_format}" for line in (1, 2)]
    assert [line for line in done.err.splitlines() if told in line] == [f"warning: {name}: {told}" for name in names]
    for options in ([], ["--stream"]):
        done = run("trt-infer", "voice", "-i", "list.txt", "-o", f"x.{audio_format}", *options, *silent)
        lines = [f"warning: list.txt:{line}: {told}" for line in (1, 2)]
        assert [line for line in done.err.splitlines() if told in line] == lines
    done = run("trt-infer", "voice", "Hi.", "-o", f"heard.{audio_format}", "--trim-silence")
    assert (done.code, "warning" in done.err) == (0, False)


@pytest.mark.parametrize("options", [[], ["--stream"], ["-i", "list.txt"]], ids=["whole", "stream", "list"])
@pytest.mark.parametrize("audio_format", ["mp3", "aac", "opus", "flac"])
def test_words_are_heard_at_their_times_in_every_format(
    run: Run, workdir: Path, audio_format: str, options: list[str]
) -> None:
    """The decoded audio is laid over the samples: times are later than the samples' by as much as it is."""
    av = pytest.importorskip("av")
    text = "Hello there. Who is it?"
    Path("list.txt").write_text(text + "\n")
    text_option, starts = ([] if "-i" in options else [text]), []
    for name in ("t.wav", f"t.{audio_format}"):
        arguments = [*text_option, *options, "-o", name, "--timestamps", "t.json", "--gate-threshold", 0.999999]
        assert run("trt-infer", "voice", *arguments).code == 0
        starts.append(np.array([word["start"] for word in json.loads(Path("t.json").read_text())["words"]]))
    rate, samples = wavfile.read("t.wav")
    with av.open(f"t.{audio_format}") as container:
        frames = list(container.decode(audio=0))
    decoded = np.concatenate([frame.to_ndarray().ravel() for frame in frames])
    seconds = np.arange(len(samples) * frames[0].sample_rate // rate) / frames[0].sample_rate
    reference = np.interp(seconds * rate, np.arange(len(samples)), samples)
    spectrum = np.fft.rfft(decoded, 1 << 20) * np.fft.rfft(reference, 1 << 20).conj()
    late = int(np.fft.irfft(spectrum)[:8192].argmax()) / frames[0].sample_rate
    np.testing.assert_allclose(starts[1] - starts[0], [late] * 5, atol=0.002)


class TestInfer:
    def test_wav_file(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", TEXT, "-o", "hello.wav")
        assert outcome.code == 0, outcome.err
        assert outcome.out == ""
        assert outcome.err.splitlines()[0] == "CPU (onnxruntime)"
        assert outcome.last.startswith("hello.wav: ")
        rate, samples = wavfile.read(workdir / "hello.wav")
        assert rate == 16000
        assert samples.dtype == np.int16
        assert len(samples) > 0
        assert len(samples) % 256 == 0
        assert np.abs(samples).max() > 1000

    def test_tacoglow_infer_equals_trt_infer(self, run: Run, workdir: Path) -> None:
        run("trt-infer", "voice", TEXT, "-o", "a.wav")
        assert run("tacoglow", "infer", "voice", TEXT, "-o", "b.wav").code == 0
        assert (workdir / "a.wav").read_bytes() == (workdir / "b.wav").read_bytes()

    def test_speech_depends_on_the_seed(self, run: Run, workdir: Path) -> None:
        for name, seed in (("a", 7), ("b", 7), ("c", 8), ("d", 2**64 - 1)):
            assert run("trt-infer", "voice", TEXT, "-o", f"{name}.wav", "--seed", seed).code == 0
        a, b, c, d = ((workdir / f"{name}.wav").read_bytes() for name in "abcd")
        assert a == b
        assert len({a, c, d}) == 3

    def test_options_change_the_audio(self, run: Run, workdir: Path) -> None:
        options = {
            "plain": [],
            "sigma": ["--sigma", "0.4"],
            "denoise": ["--denoise", "0.5"],
            "threads": ["--threads", "1"],
        }
        spoken = {}
        for name, arguments in options.items():
            assert run("trt-infer", "voice", TEXT, "-o", "x.wav", *arguments).code == 0
            spoken[name] = wavfile.read(workdir / "x.wav")[1].astype(float)
        assert np.abs(spoken["sigma"] - 2 * spoken["plain"]).mean() < np.abs(spoken["plain"]).mean()
        assert not np.array_equal(spoken["denoise"], spoken["plain"])
        assert np.array_equal(spoken["threads"], spoken["plain"])

    def test_float32(self, run: Run, workdir: Path) -> None:
        run("trt-infer", "voice", TEXT, "-o", "short.wav")
        assert run("trt-infer", "voice", TEXT, "-o", "float.wav", "--wav", "float32").code == 0
        floats, shorts = (wavfile.read(workdir / f"{name}.wav")[1] for name in ("float", "short"))
        assert floats.dtype == np.float32
        assert np.abs(np.clip(floats, -1, 1) * 32767 - shorts).max() <= 0.5 + 1e-3

    def test_json(self, run: Run, workdir: Path) -> None:
        report = json.loads(run("trt-infer", "voice", TEXT, "-o", "hello.wav", "--seed", "3", "--json").out)
        assert report["backend"] == "onnxruntime"
        (spoken,) = report["utterances"]
        assert spoken["text"] == TEXT
        assert spoken["file"] == "hello.wav"
        assert spoken["seed"] == 3
        assert spoken["sampling_rate"] == 16000
        samples = wavfile.read(workdir / "hello.wav")[1]
        assert spoken["audio_seconds"] == len(samples) / 16000
        assert [256 * frames for frames in spoken["frames"]] == [len(samples)]
        assert set(spoken["stop_reasons"]) <= {"gate", "frame_limit"}
        assert set(spoken["seconds"]) == {"encoder", "decoder", "postnet", "vocoder"}
        assert report["units"]["rtf"] == "seconds of audio per second of computing"
        assert spoken["rtf"] == pytest.approx(spoken["audio_seconds"] / sum(spoken["seconds"].values()), rel=1e-3)

    def test_gate_stop(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", TEXT, "-o", "x.wav", "--gate-threshold", "0.0001", "--json")
        assert json.loads(outcome.out)["utterances"][0]["stop_reasons"] == ["gate"]
        assert "frames, so" not in outcome.err

    def test_frame_limit_stop(self, run: Run, workdir: Path) -> None:
        limit = ["--max-frames", "5", "--gate-threshold", "0.999999"]
        outcome = run("trt-infer", "voice", TEXT, "-o", "x.wav", *limit, "--json")
        assert outcome.code == 0
        spoken = json.loads(outcome.out)["utterances"][0]
        assert spoken["stop_reasons"] == ["frame_limit"]
        assert spoken["frames"] == [5]
        warned = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
        assert len(warned) == 1
        assert "within 5 frames" in warned[0]
        assert "--gate-threshold" in warned[0]

    def test_dropped_characters_warn_once(self, run: Run, workdir: Path) -> None:
        outcome = run("trt-infer", "voice", "Hello \N{SNOWMAN} world % \N{SNOWMAN}.", "-o", "x.wav")
        assert outcome.code == 0
        assert len([line for line in outcome.err.splitlines() if line.startswith("warning: not spoken")]) == 1

    def test_long_text_is_split(self, run: Run, workdir: Path) -> None:
        sentences = [
            "One is first.",
            "Two is next.",
            "Three comes after that, and then four, and last of all comes five.",
        ]
        outcome = run("trt-infer", "voice", " ".join(sentences), "-o", "long.wav", "--json")
        assert outcome.code == 0
        spoken = json.loads(outcome.out)["utterances"][0]
        frames = spoken["frames"]
        assert len(frames) > len(sentences)  # the last one exceeds the token limit
        assert min(frames) > 0
        pauses = len(wavfile.read(workdir / "long.wav")[1]) - sum(frames) * 256
        assert 0 < pauses <= (len(frames) - 1) * 0.5 * 16000

    def test_phrases(self, run: Run, workdir: Path) -> None:
        phrases = ["Hello.", "I missed you.", "Hello.", "Good bye."]
        (workdir / "phrases.txt").write_text("\ufeff" + "\n\n".join(phrases) + "\r\n", encoding="utf-8")
        outcome = run("trt-infer", "voice", "-i", "phrases.txt", "-o", "deep/out", "--plot", "plots", "--json")
        assert outcome.code == 0, outcome.err
        names = ["0001", "0002", "0003", "0004"]
        assert sorted(path.stem for path in (workdir / "deep/out").iterdir()) == [*names, "spoken"]
        assert sorted(path.name for path in (workdir / "plots").iterdir()) == [f"{name}.png" for name in names]
        reports = json.loads(outcome.out)["utterances"]
        assert [report["text"] for report in reports] == phrases
        assert [report["file"] for report in reports] == [f"deep/out/{name}.wav" for name in names]
        for phrase, name in zip(phrases, names, strict=True):
            run("trt-infer", "voice", phrase, "-o", "alone.wav")
            assert (workdir / "alone.wav").read_bytes() == (workdir / f"deep/out/{name}.wav").read_bytes()

    def test_input_file_of_one_phrase_writes_a_folder(self, run: Run, workdir: Path) -> None:
        (workdir / "phrases.txt").write_text("Hello.")
        assert run("trt-infer", "voice", "-i", "phrases.txt").code == 0
        assert sorted(path.name for path in (workdir / "speech").iterdir()) == ["0001.wav", "spoken.jsonl"]

    def test_default_output(self, run: Run, workdir: Path) -> None:
        assert run("trt-infer", "voice", TEXT).code == 0
        assert (workdir / "speech.wav").is_file()

    @pytest.mark.parametrize("text", [TEXT, "A first sentence, which is long enough. And then there is a second one."])
    def test_plot(self, run: Run, workdir: Path, text: str) -> None:
        assert run("trt-infer", "voice", text, "-o", "x.wav", "--plot", "x.png").code == 0
        assert (workdir / "x.png").read_bytes().startswith(b"\x89PNG\r\n")

    def test_replaced_wav_has_default_permissions(self, run: Run, workdir: Path) -> None:
        (workdir / "hello.wav").write_text("old")
        (workdir / "new").touch()
        assert run("trt-infer", "voice", TEXT, "-o", "hello.wav").code == 0
        assert wavfile.read(workdir / "hello.wav")[0] == 16000
        assert (workdir / "hello.wav").stat().st_mode == (workdir / "new").stat().st_mode

    def test_pipe_is_written_directly(self, run: Run, workdir: Path) -> None:
        os.mkfifo(workdir / "pipe")
        reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
        assert run("trt-infer", "voice", TEXT, "-o", "pipe").code == 0
        content, _ = reader.communicate()
        run("trt-infer", "voice", TEXT, "-o", "hello.wav")
        assert content == (workdir / "hello.wav").read_bytes()
        assert (workdir / "pipe").is_fifo()
