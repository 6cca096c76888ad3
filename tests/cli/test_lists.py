"""Lists of texts (`trt-infer -i`): bad lines, formats, joined files, resumption, interruption."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.cli.lists.lines import count_lines, read_lines
from tacoglow.cli.shared.interrupt import EXIT_CODE
from tacoglow.runtime.pieces import pause_after

from .conftest import TRT_INFER, Run

BAD = b"\xe2\x98\x83\xe2\x98\x83"  # snowmen, for which the voice has no symbol
LONG = "I missed you, and the rest. " * 8  # of several pieces
NOT_UTF8 = "caf\xe9.".encode("latin-1")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", TRT_INFER, *map(str, arguments), "--threads", "1"]


@pytest.fixture
def infer(run: Run) -> Run:
    """Calls `trt-infer` in this process."""
    return partial(run, "trt-infer", "--threads", 1)


@pytest.fixture(scope="module")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, threads=1)


def samples_of(voice: Synthesizer, text: str) -> np.ndarray:
    content = io.BytesIO()
    voice.say(text).save(content)
    return np.asarray(wavfile.read(io.BytesIO(content.getvalue()))[1])


def records_of(workdir: Path) -> dict[str, dict[str, Any]]:
    lines = (workdir / "spoken.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


def test_bad_lines_are_named_and_skipped(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    lines = [b"Hello.", BAD, b"", b"I missed you.", NOT_UTF8, "Naïve \N{SNOWMAN}.".encode()]
    (workdir / "list.txt").write_bytes(b"\n".join(lines))
    done = infer("voice", "-i", "list.txt", "-o", "out", "--json")
    assert done.code == 1
    errors = done.err.splitlines()
    assert [line.split(" ")[0] for line in errors if ": skipped: " in line] == ["list.txt:2:", "list.txt:5:"]
    assert "warning: list.txt:6: not spoken, this voice has no symbol for: '\N{SNOWMAN}'" in errors
    assert errors[-1] == "list.txt: 3 spoken, 2 skipped: lines 2, 5"
    report = json.loads(done.out)
    assert [entry["line"] for entry in report["skipped"]] == [2, 5]
    assert [entry["line"] for entry in report["utterances"]] == [1, 4, 6]
    good = {"0001": "Hello.", "0003": "I missed you.", "0005": "Naïve \N{SNOWMAN}."}
    assert {path.stem for path in (workdir / "out").glob("*.wav")} == set(good)
    for name, text in good.items():
        np.testing.assert_array_equal(wavfile.read(workdir / "out" / f"{name}.wav")[1], samples_of(voice, text))
    assert {name: record["text"] for name, record in records_of(workdir / "out").items()} == good


def test_each_line_has_its_own_time(infer: Run, workdir: Path) -> None:
    """The lines share one batch; the long one takes more of the decoder and the vocoder than the short one."""
    (workdir / "list.txt").write_text("Hello there, I missed you.\nHello.\n")
    limits = ["--gate-threshold", "0.999999"]
    done = infer("voice", "-i", "list.txt", "-o", "out", "--json", *limits)
    seconds = [entry["seconds"] for entry in json.loads(done.out)["utterances"]]
    assert all(set(stages) == {"encoder", "decoder", "postnet", "vocoder"} for stages in seconds)
    assert seconds[0]["vocoder"] != seconds[1]["vocoder"]


def test_shares_of_a_batch_add_up(voice: Synthesizer) -> None:
    texts = ["Hello there.", "Hello.", "I missed you."]
    started = time.perf_counter()
    audios = voice.say_batch(texts)
    elapsed = time.perf_counter() - started
    total = sum(sum(audio.timings.values()) for audio in audios)
    assert 0.3 * elapsed < total <= elapsed
    frames = [audio.utterances[0].mel.shape[1] for audio in audios]
    shares = [audio.timings["decoder"] / frame for audio, frame in zip(audios, frames, strict=True)]
    assert shares == pytest.approx([shares[0]] * 3)


def test_text_from_standard_input(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    for arguments in (["voice"], ["voice", "-"]):
        assert infer(*arguments, "-o", "x.wav", stdin=b"I missed\nyou.\n").code == 0
        np.testing.assert_array_equal(wavfile.read(workdir / "x.wav")[1], samples_of(voice, "I missed\nyou.\n"))


def test_lines_of_standard_input_are_spoken_as_they_come(workdir: Path) -> None:
    process = subprocess.Popen(command("voice", "-i", "-", "-o", "out"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stderr.readline() == b"CPU (onnxruntime)\n"
    for name in ("0001", "0002"):
        process.stdin.write(b"Hello.\n")
        process.stdin.flush()
        assert process.stderr.readline().startswith(f"out/{name}.wav: ".encode())  # although the input is still open
    process.stdin.close()
    assert process.wait(60) == 0
    process.stderr.close()


@pytest.mark.parametrize("stream", [False, True])
def test_joined_file(infer: Run, workdir: Path, voice: Synthesizer, stream: bool) -> None:
    texts = ["Hello there.", "I missed you,", "Hello."]
    (workdir / "list.txt").write_text("\n".join(texts))
    arguments = ["--timestamps", "all.json", *(["--stream"] if stream else [])]
    done = infer("voice", "-i", "list.txt", "-o", "all.wav", "--json", *arguments)
    assert done.code == 0
    rate, joined = wavfile.read(workdir / "all.wav")
    assert done.last.startswith(f"all.wav: {len(joined) / rate:.2f} s of audio in ")
    reports = json.loads(done.out)["utterances"]
    assert [report["text"] for report in reports] == texts
    pauses = sum(int(pause_after(text) * rate) for text in texts[:-1]) / rate
    assert sum(report["audio_seconds"] for report in reports) + pauses == pytest.approx(len(joined) / rate)
    timed = iter(json.loads((workdir / "all.json").read_text())["words"])
    position = 0
    fade = int(0.005 * rate)
    for i, text in enumerate(texts):
        if i:
            pause = int(pause_after(texts[i - 1]) * rate)
            assert not joined[position : position + pause].any()
            position += pause
        alone = samples_of(voice, text)
        spoken = joined[position : position + len(alone)].astype(int)
        tolerance = 0 if not stream else 400  # a stream sees less context
        assert np.abs(spoken[fade:-fade] - alone[fade:-fade]).max() <= tolerance
        assert spoken[0] == 0
        for word in voice.say(text).words:
            expected = {"text": word.text, "start": position / rate + word.start, "end": position / rate + word.end}
            assert next(timed) == pytest.approx(expected, abs=0.001)
        position += len(alone)
    assert position == len(joined)
    assert next(timed, None) is None


def test_times_beside_each_file(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    (workdir / "list.txt").write_text("Hello there.\nI missed you,\n")
    assert infer("voice", "-i", "list.txt", "-o", "out", "--timestamps", "srt").code == 0
    names = {"0001.wav", "0001.srt", "0002.wav", "0002.srt", "spoken.jsonl"}
    assert {path.name for path in (workdir / "out").iterdir()} == names
    assert (workdir / "out/0002.srt").read_text().splitlines()[2] == "I missed you,"
    (workdir / "out/0001.srt").unlink()
    done = infer("voice", "-i", "list.txt", "-o", "out", "--timestamps", "srt", "--resume")
    assert "1 made before, 1 spoken now" in done.err
    assert (workdir / "out/0001.srt").is_file()


def test_ljspeech_metadata(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    rows = ["LJ001-0001|Dr. X|Hello.", "LJ001-0002|I missed you.", "../evil|Hi.", "LJ001-0001|Again.", "no text"]
    (workdir / "metadata.csv").write_text("\n".join(rows))
    done = infer("voice", "-i", "metadata.csv", "-o", "wavs", "--json")
    assert done.code == 1
    assert [entry["line"] for entry in json.loads(done.out)["skipped"]] == [3, 4, 5]
    np.testing.assert_array_equal(wavfile.read(workdir / "wavs/LJ001-0001.wav")[1], samples_of(voice, "Hello."))
    assert set(records_of(workdir / "wavs")) == {"LJ001-0001", "LJ001-0002"}
    (workdir / "lines.txt").write_text("a|b\n")  # looks like it, but is not
    assert infer("voice", "-i", "lines.txt", "-o", "lines", "--format", "lines").code == 0
    np.testing.assert_array_equal(wavfile.read(workdir / "lines/0001.wav")[1], samples_of(voice, "ab"))


@pytest.mark.parametrize(
    ("row", "name", "text"),
    [
        ("DUMMY/LJ050-0234.wav|Hello.", "LJ050-0234", "Hello."),
        ("utt1.wav|Hello.", "utt1", "Hello."),
        ("/data/LJ/utt1.WAV|Hello.|12", "utt1", "Hello."),
        ("DUMMY2/p364/p364_240.wav|88|Hello.", "p364_240", "Hello."),
        ("mels/LJ050-0234.pt|Hello.", "LJ050-0234", "Hello."),
        ("wavs/a.b.flac|pitches/a.b.pt|Hello.", "a.b", "Hello."),
        (r"wavs\utt1.wav|Hello.", "utt1", "Hello."),
        ("utt1.wav|7", "utt1", "7"),
        ("wavs/my utt (take 2).wav|Hello.", "my utt (take 2)", "Hello."),
        ("Zoë's/Zoë, 3.wav|Hello.", "Zoë, 3", "Hello."),
        ("LJ001.v2|Dr. X|Hello.", "LJ001.v2", "Hello."),
    ],
)
def test_filelists(tmp_path: Path, row: str, name: str, text: str) -> None:
    """Of NVIDIA/tacotron2 and of repositories that come from it."""
    (tmp_path / "list.txt").write_text(f"{row}\n{row}\n")
    first, again = read_lines(tmp_path / "list.txt", None)
    assert (first.name, first.text, first.problem) == (name, text, None)
    assert again.problem == f"id {name!r}: line 1 has it too"


@pytest.mark.parametrize(
    "name",
    ["a:b", "a?", "-a", ".a", " a", "a ", "a..", "a\u00a0b", "a\u202eb", "a\tb", "a\x1b[m", 'a"', "", "..", "\u200b"],
)
def test_names_that_some_system_does_not_take(tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text(f"utt1.wav|Hello.\nwavs/{name}.wav|Hello.\n")
    _, refused = read_lines(tmp_path / "list.txt", None)
    assert (refused.problem or "").endswith(
        "expected a file's name: a letter, digit or _ first, no space or dot last, printable characters, "
        'none of <>:"/\\|?*'
    )


def test_filelists_name_files_after_recordings(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    (workdir / "list.txt").write_text("DUMMY/utt1.wav|Hello.\nDUMMY/my utt.wav|Hi.\nDUMMY/a:b.wav|Hi.\n")
    done = infer("voice", "-i", "list.txt", "-o", "spoken")
    assert (done.code, done.err.count("id 'a:b': expected a file's name")) == (1, 1)
    assert sorted(file.name for file in (workdir / "spoken").glob("*.wav")) == ["my utt.wav", "utt1.wav"]
    np.testing.assert_array_equal(wavfile.read(workdir / "spoken/utt1.wav")[1], samples_of(voice, "Hello."))
    again = infer("voice", "-i", "list.txt", "-o", "spoken", "--resume")
    assert "2 made before, 0 spoken now" in again.err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encodings_by_their_marks(tmp_path: Path, encoding: str, line_end: str) -> None:
    """rhasspy/piper#224."""
    path, lines = tmp_path / "list.txt", ["Naïve café \N{LINE SEPARATOR}one", "", "中文 ☃", "Last."]
    mark = "\ufeff" if encoding.startswith(("utf-16", "utf-32")) else ""
    path.write_bytes((mark + line_end.join(lines)).encode(encoding))
    found = list(read_lines(path, None))
    assert [(line.number, line.name, line.text) for line in found] == [
        (1, "0001", lines[0]), (3, "0002", lines[2]), (4, "0003", lines[3])
    ]  # fmt: skip
    assert count_lines(path) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("One.\nTwo.".encode("utf-16-le"), "list.txt: not UTF-8, it has NUL bytes; save the file as UTF-8"),
        ("One.\nTwo.".encode("utf-16-be"), "list.txt: not UTF-8, it has NUL bytes; save the file as UTF-8"),
        ("One.".encode("utf-16") + b"x", "list.txt: begins as UTF-16 but is not; save the file as UTF-8"),
        (b"\xff\xfe\x00\xd8a\x00", "list.txt: begins as UTF-16 but is not; save the file as UTF-8"),
    ],
    ids=["no mark", "no mark, big-endian", "cut off", "half a pair"],
)
def test_another_encoding_is_one_error_for_the_file(infer: Run, workdir: Path, content: bytes, message: str) -> None:
    (workdir / "list.txt").write_bytes(content)
    done = infer("voice", "-i", "list.txt", "-o", "spoken")
    assert (done.code, done.err) == (2, f"error: {message}\n")
    assert not list(workdir.glob("spoken/*.wav"))


def test_utf16_from_standard_input(infer: Run, workdir: Path, voice: Synthesizer) -> None:
    assert infer("voice", "-i", "-", "-o", "spoken", stdin="Hello.\n".encode("utf-16")).code == 0
    assert infer("voice", "-o", "whole.wav", stdin="Hello.\n".encode("utf-16")).code == 0
    for path in ("spoken/0001.wav", "whole.wav"):
        np.testing.assert_array_equal(wavfile.read(workdir / path)[1], samples_of(voice, "Hello."))


@pytest.mark.full
def test_resume_makes_only_what_is_missing(infer: Run, workdir: Path) -> None:
    (workdir / "list.txt").write_text("One.\nTwo.\nThree.\nFour.\n")
    assert infer("voice", "-i", "list.txt", "-o", "out").code == 0
    before = {path.name: path.stat().st_mtime_ns for path in (workdir / "out").glob("*.wav")}
    (workdir / "out/0001.wav").unlink()
    with (workdir / "out/0002.wav").open("r+b") as file:
        file.truncate(60)
    with (workdir / "out/spoken.jsonl").open("a") as file:
        file.write('{"id": "0003", "ke')  # half-written
    (workdir / "list.txt").write_text("One.\nTwo.\nThree.\nFour, changed.\n")
    done = infer("voice", "-i", "list.txt", "-o", "out", "--resume")
    assert done.code == 0
    assert done.last == "1 made before, 3 spoken now"
    after = {path.name: path.stat().st_mtime_ns for path in (workdir / "out").glob("*.wav")}
    assert [name for name in sorted(after) if after[name] == before[name]] == ["0003.wav"]
    plots = ["--resume", "--plot", "plots"]
    done = infer("voice", "-i", "list.txt", "-o", "out", *plots)  # a file without its plot is incomplete
    assert "made before" not in done.err
    assert len(list((workdir / "plots").glob("*.png"))) == 4
    assert infer("voice", "-i", "list.txt", "-o", "out", "--resume").err.endswith("4 made before, 0 spoken now\n")
    done = infer("voice", "-i", "list.txt", "-o", "out", "--resume", "--seed", "5")
    assert done.err.endswith("\n")
    assert "made before" not in done.err


@pytest.mark.full
def test_shards_are_the_same_bytes_as_one_call(infer: Run, workdir: Path) -> None:
    texts = [f"Sentence number {i}, and {'more ' * (i % 4)}of it." for i in range(7)]
    (workdir / "list.txt").write_text("\n\n".join(texts) + "\n")
    assert infer("voice", "-i", "list.txt", "-o", "all").code == 0
    expected = {path.name: path.read_bytes() for path in (workdir / "all").glob("*.wav")}
    assert len(expected) == 7
    for n in (2, 9):
        for k in range(1, n + 1):
            done = infer("voice", "-i", "list.txt", "-o", f"by-{n}", "--shard", f"{k}/{n}")
            assert done.code == 0, done.err
        assert {path.name: path.read_bytes() for path in (workdir / f"by-{n}").glob("*.wav")} == expected
    assert sorted(path.name for path in (workdir / "by-2").glob("*.jsonl")) == [
        "spoken.1-of-2.jsonl",
        "spoken.2-of-2.jsonl",
    ]
    again = infer("voice", "-i", "list.txt", "-o", "by-2", "--shard", "2/2", "--resume")
    assert "3 made before, 0 spoken now" in again.err


@pytest.mark.full
def test_records_of_shards_are_read_together(infer: Run, workdir: Path) -> None:
    """A file that another call has written since is made again; one that another shard has made is not."""
    (workdir / "list.txt").write_text("One.\nTwo.\n")
    out = ("voice", "-i", "list.txt", "-o", "out")
    assert infer(*out, "--shard", "1/2").code == 0
    wanted = (workdir / "out/0001.wav").read_bytes()
    assert infer(*out, "--shard", "2/2").code == 0
    louder = infer(*out, "--volume", "0.5")  # the same length
    assert louder.code == 0
    assert len((workdir / "out/0001.wav").read_bytes()) == len(wanted)
    again = infer(*out, "--shard", "1/2", "--resume")
    assert "made before" not in again.err
    assert (workdir / "out/0001.wav").read_bytes() == wanted
    assert infer(*out, "--resume").err.endswith("1 made before, 1 spoken now\n")
    assert infer(*out, "--shard", "1/1", "--resume").err.endswith("2 made before, 0 spoken now\n")


def test_resume_with_a_lexicon(infer: Run, workdir: Path) -> None:
    (workdir / "list.txt").write_text("One.\nTwo.\n")
    (workdir / "names.txt").write_text("one = won\n")
    out = ("voice", "-i", "list.txt", "-o", "out", "--lexicon", "names.txt", "--resume")
    assert infer(*out).code == 0
    assert infer(*out).err.endswith("2 made before, 0 spoken now\n")
    (workdir / "names.txt").write_text("one = wan\n")
    assert infer(*out).err.endswith("1 made before, 1 spoken now\n")  # the line with the word


def test_resume_with_other_weights(infer: Run, workdir: Path, int8_bundle: Path) -> None:
    (workdir / "list.txt").write_text("One.\nTwo.\n")
    out = (int8_bundle, "-i", "list.txt", "-o", "out", "--resume")
    assert infer(*out).code == 0
    assert infer(*out).err.endswith("2 made before, 0 spoken now\n")
    again = infer(*out, "--compute", "int8")
    assert (again.code, "made before" in again.err) == (0, False)


def test_resume_where_a_text_has_other_line_ends(infer: Run, workdir: Path) -> None:
    """JSON has them as they are."""
    (workdir / "list.txt").write_text("One\u2028and two.\nThree\x85and four.\n", encoding="utf-8")
    out = ("voice", "-i", "list.txt", "-o", "out", "--resume")
    assert infer(*out).code == 0
    assert infer(*out).err.endswith("2 made before, 0 spoken now\n")


def test_shards_without_a_line(infer: Run, workdir: Path) -> None:
    (workdir / "list.txt").write_text("One.\n")
    done = infer("voice", "-i", "list.txt", "-o", "out", "--shard", "2/2")
    assert done.code == 0
    assert done.err.endswith("list.txt: no line for shard 2 of 2\n")
    (workdir / "list.txt").write_text("\n\n")
    done = infer("voice", "-i", "list.txt", "-o", "out", "--shard", "2/2")
    assert done.code == 2
    assert "list.txt: contains no phrase" in done.err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2"])
def test_a_wrong_shard_is_refused(infer: Run, workdir: Path, shard: str) -> None:
    (workdir / "list.txt").write_text("Hello.\n")
    done = infer("voice", "-i", "list.txt", "-o", "out", f"--shard={shard}")
    assert done.code == 2
    assert "--shard: expected K/N" in done.err


def test_a_shard_is_not_one_file(infer: Run, workdir: Path) -> None:
    (workdir / "list.txt").write_text("Hello.\n")
    done = infer("voice", "-i", "list.txt", "-o", "all.wav", "--shard", "1/2")
    assert done.code == 2
    assert "--shard: all.wav is one file for all lines" in done.err


def test_interrupted_list_is_resumed_with_nothing_lost(infer: Run, workdir: Path) -> None:
    count = 3_000
    (workdir / "list.txt").write_text("Hello there, I missed you.\n" * count)
    arguments = command("voice", "-i", "list.txt", "-o", "out", "--resume")
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("out/0020.wav"):
            break
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    rest = process.stderr.read().splitlines()
    assert process.wait(60) == EXIT_CODE
    assert time.monotonic() - sent < 5  # one second on an idle machine
    assert rest[-1] == "interrupted"
    assert f" of {count} lines have their files; --resume goes on after them" in " ".join(rest)
    records = records_of(workdir / "out")
    wavs = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in (workdir / "out").glob("*.wav")}
    assert len(wavs) >= 20
    assert len(set(wavs) ^ set(records)) <= 1  # the file whose record was about to be written
    assert all(wavs[name] == records[name]["sha256"] for name in set(wavs) & set(records))
    (workdir / "list.txt").write_text("Hello there, I missed you.\n" * 25)
    done = infer("voice", "-i", "list.txt", "-o", "out", "--resume")
    assert done.code == 0
    assert {f"{i:04d}" for i in range(1, 26)} <= set(records_of(workdir / "out"))


@pytest.mark.slow
def test_two_thousand_lines_with_one_percent_of_bad_ones(infer: Run, workdir: Path) -> None:
    lines = [f"Sentence number {i}, and its end.".encode() for i in range(2_000)]
    for i in range(20):
        lines.insert(100 * i + 50, BAD if i % 2 else NOT_UTF8)
    (workdir / "list.txt").write_bytes(b"\n".join(lines))
    process = subprocess.Popen(command("voice", "-i", "list.txt", "-o", "out"), stderr=subprocess.DEVNULL)
    while len(list((workdir / "out").glob("*.wav"))) < 500:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == EXIT_CODE
    done = infer("voice", "-i", "list.txt", "-o", "out", "--resume", "--json")
    assert done.code == 1
    bad = [number for number, line in enumerate(lines, 1) if line in (BAD, NOT_UTF8)]
    assert [entry["line"] for entry in json.loads(done.out)["skipped"]] == bad
    names = {f"{number:04d}" for number in range(1, 2_021) if number not in bad}
    assert {path.stem for path in (workdir / "out").glob("*.wav")} == names == set(records_of(workdir / "out"))


def test_endless_line_is_rejected(infer: Run, workdir: Path) -> None:
    done = infer("voice", "-i", "/dev/zero", "-o", "out")
    assert done.code == 2
    assert done.last.startswith("error: /dev/zero: a line is longer than ")
    assert not (workdir / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--stream"], []])
def test_full_disk_names_the_file(infer: Run, workdir: Path, arguments: list[str]) -> None:
    (workdir / "full.wav").symlink_to("/dev/full")
    done = infer("voice", "I missed you.", "-o", "full.wav", *arguments)
    assert done.code == 2
    assert "full.wav: cannot be written: No space left on device" in done.last


def test_closed_standard_output_is_one_line(workdir: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command("voice", "I missed you.", "--stream", "-o", "-")]
    done = subprocess.run(shell, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1].startswith("error: ")
    assert b"Traceback" not in done.stderr


def test_failed_stream_leaves_the_existing_file(infer: Run, workdir: Path) -> None:
    (workdir / "x.wav").write_text("old")
    (workdir / "list.txt").write_bytes(b"Hello.\n" + BAD)
    done = infer("voice", "-i", "list.txt", "--stream", "-o", "x.wav", "--strict")
    assert done.code == 2
    assert (workdir / "x.wav").read_text() == "old"
    assert sorted(path.name for path in workdir.iterdir()) == ["list.txt", "voice", "x.wav"]


def test_interrupted_stream_has_a_complete_header(workdir: Path) -> None:
    (workdir / "x.wav").write_text("old")
    text = "I missed you, and the rest. " * 4_000
    arguments = command("voice", "--stream", "-o", "x.wav")
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    partial: list[Path] = []
    while not partial or partial[0].stat().st_size < 100_000:
        time.sleep(0.05)
        partial = list(workdir.glob(".x.wav.*"))
        assert process.poll() is None
    assert (workdir / "x.wav").read_text() == "old"  # until there is something better
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == EXIT_CODE
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert "x.wav: complete up to the interruption, " in errors
    assert errors.splitlines()[-1] == "interrupted"
    content = (workdir / "x.wav").read_bytes()
    assert int.from_bytes(content[40:44], "little") == len(content) - 44
    assert len(wavfile.read(workdir / "x.wav")[1]) >= 50_000
    assert not list(workdir.glob(".x.wav.*"))


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    """Completing the output may take long, for example where it is written through a slow network."""
    code = """
import time
from tacoglow.cli.shared.interrupt import at_interrupt
def finish():
    print("completing", flush=True)
    time.sleep(600)
with at_interrupt(finish):
    print("ready", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in ("ready\n", "completing\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT
    process.stdout.close()


def in_terminal(*arguments: object) -> str:
    """Return what `trt-infer` writes to a terminal's standard error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(*arguments), stdin=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    content = b""
    with suppress(OSError):  # at the end
        while part := os.read(ours, 1 << 16):
            content += part
    os.close(ours)
    assert process.wait(60) == 0
    return content.decode()


@pytest.mark.full
def test_progress_on_a_terminal(infer: Run, workdir: Path) -> None:
    """A text of several pieces and a list have a bar; a short text, a stream, and what is piped or --json have none."""
    bar = "times real time"
    (workdir / "list.txt").write_text("Hello.\nHello.\n")
    assert bar in in_terminal("voice", LONG, "-o", "x.wav")
    assert bar in in_terminal("voice", "-i", "list.txt", "-o", "out")
    for arguments in (("Hello.",), (LONG, "--stream"), (LONG, "--json"), ("-i", "list.txt", "-o", "o2", "--json")):
        assert bar not in in_terminal("voice", *arguments)
    assert bar not in infer("voice", LONG).err
