"""C++ on ONNX Runtime gives the same speech as Python on ONNX Runtime, for the same bundle and seed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from tacoglow.runtime.bundle.reading import file_sha256, load_manifest, with_digest
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.audio import Utterance
from tacoglow.runtime.synthesizer import Synthesizer
from tacoglow.tests.tolerances import TORCHSCRIPT

from .conftest import SEVERAL_FRAMES_PER_STEP

TEXT = "Hello world, I missed you."

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning")


@dataclass(frozen=True)
class ProgramOutput:
    """Output of the program `speak`."""

    sampling_rate: int
    samples: NDArray[np.float32]
    mel: NDArray[np.float32]
    summary: str


def speak(
    programs: Path, bundle: Path, folder: Path, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [programs / "speak", bundle, "-o", folder / "out.wav", "--wav", "float32", "--threads", "1", *arguments]
    parts = [str(part) for part in command]
    return subprocess.run(parts, capture_output=True, text=True, timeout=300, check=False, env=environment)


def speak_ids(
    programs: Path, bundle: Path, folder: Path, ids: list[int], seed: int, *arguments: object
) -> ProgramOutput:
    listing = " ".join(map(str, ids))
    done = speak(programs, bundle, folder, "--ids", listing, "--seed", seed, "--mel", folder / "out.mel", *arguments)
    assert done.returncode == 0, done.stderr
    rate, samples = wavfile.read(folder / "out.wav")
    mel = np.fromfile(folder / "out.mel", np.float32)
    return ProgramOutput(rate, samples, mel.reshape(load_manifest(bundle).audio.n_mel_channels, -1), done.stdout)


def speak_in_python(bundle: Path, text: str, seed: int, options: SpeechOptions | None = None) -> Utterance:
    synthesizer = Synthesizer.load(bundle, "onnxruntime", threads=1)
    ids = synthesizer.front_end.encode(text)
    return synthesizer.speak_ids([ids], [Noise(seed)], options or SpeechOptions())[0]


@pytest.mark.parametrize(("text", "seed"), [(TEXT, 0), ("Speak.", 3), ("One, two, three.", 2**64 - 1)])
def test_tiny_voice_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path, text: str, seed: int) -> None:
    expected = speak_in_python(tiny_bundle, text, seed)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), seed)
    assert got.sampling_rate == 16000
    assert got.mel.shape == expected.mel.shape
    assert f"{expected.mel.shape[1]} frames, {expected.stop_reason}" in got.summary
    np.testing.assert_array_equal(got.mel, expected.mel)  # the same library gives the same samples
    np.testing.assert_array_equal(got.samples, expected.samples)


def test_hifigan_equals_python(programs: Path, hifigan_bundle: Path, tmp_path: Path) -> None:
    """Whole and as a stream; without noise, sigma is an error."""
    expected = speak_in_python(hifigan_bundle, TEXT, 3, SpeechOptions(max_frames=60))
    ids = list(expected.token_ids)
    for flags in ((), ("--stream", 8)):
        got = speak_ids(programs, hifigan_bundle, tmp_path, ids, 3, "--max-frames", 60, *flags)
        np.testing.assert_allclose(got.samples, expected.samples, atol=TORCHSCRIPT)
    done = speak(programs, hifigan_bundle, tmp_path, "--ids", " ".join(map(str, ids)), "--sigma", 0.5)
    assert done.returncode != 0
    assert "vocoder is HiFi-GAN, which takes no noise" in done.stderr


def test_options_equal_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    options = SpeechOptions(sigma=0.4, denoise=0.1, gate_threshold=0.9, max_frames=31)
    expected = speak_in_python(tiny_bundle, TEXT, 5, options)
    flags = ("--sigma", 0.4, "--denoise", 0.1, "--gate-threshold", 0.9, "--max-frames", 31)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), 5, *flags)
    assert got.samples.shape == expected.samples.shape
    np.testing.assert_array_equal(got.samples, expected.samples)


def test_retry_noise_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Use a frame limit that half of the seeds reach, and one of these seeds: a later attempt ends at its gate."""
    lengths = {seed: speak_in_python(tiny_bundle, TEXT, seed).mel.shape[1] for seed in range(8)}
    limit = sorted(lengths.values())[len(lengths) // 2] + 1
    seed = next(seed for seed, length in lengths.items() if length >= limit)
    expected = speak_in_python(tiny_bundle, TEXT, seed, SpeechOptions(max_frames=limit, retries=20))
    assert expected.stop_reason == "gate"
    flags = ("--max-frames", limit, "--retries", 20)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), seed, *flags)
    assert got.samples.shape == expected.samples.shape
    np.testing.assert_allclose(got.samples, expected.samples, atol=TORCHSCRIPT)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_stream_equals_unstreamed_speech(programs: Path, tiny_bundle: Path, tmp_path: Path, chunk: int) -> None:
    expected = speak_in_python(tiny_bundle, TEXT, 0)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), 0, "--stream", chunk)
    np.testing.assert_allclose(got.mel, expected.mel, atol=TORCHSCRIPT)
    assert got.samples.shape == expected.samples.shape
    np.testing.assert_allclose(got.samples, expected.samples, atol=TORCHSCRIPT)


@SEVERAL_FRAMES_PER_STEP
def test_several_frames_per_step(programs: Path, reduced_bundle: Path, tmp_path: Path) -> None:
    for seed, frames in ((0, 0), (2, 13)):  # up to the gate; up to a limit that is not a whole number of steps
        expected = speak_in_python(reduced_bundle, TEXT, seed, SpeechOptions(max_frames=frames or None))
        for flags in ((), ("--stream", 4)):
            got = speak_ids(
                programs, reduced_bundle, tmp_path, list(expected.token_ids), seed, "--max-frames", frames, *flags
            )
            assert got.samples.shape == expected.samples.shape
            np.testing.assert_allclose(got.samples, expected.samples, atol=TORCHSCRIPT)


@pytest.mark.builds  # exports the demo voice
def test_demo_voice_equals_python(programs: Path, demo_voice: Path, tmp_path: Path) -> None:
    expected = speak_in_python(demo_voice, "Hello.", 0)
    got = speak_ids(programs, demo_voice, tmp_path, list(expected.token_ids), 0)
    np.testing.assert_array_equal(got.mel, expected.mel)
    np.testing.assert_array_equal(got.samples, expected.samples)


@pytest.mark.parametrize("denoise", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 7])
def test_stream_with_denoiser_equals_unstreamed_speech(
    programs: Path, tiny_bundle: Path, tmp_path: Path, chunk: int, denoise: float
) -> None:
    expected = speak_in_python(tiny_bundle, TEXT, 0, SpeechOptions(denoise=denoise))
    flags = ("--stream", chunk, "--denoise", denoise)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), 0, *flags)
    assert got.samples.shape == expected.samples.shape
    np.testing.assert_allclose(got.samples, expected.samples, atol=TORCHSCRIPT)


def test_attention_stop_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    options = SpeechOptions(attention_stop=True, gate_threshold=0.999)
    expected = speak_in_python(tiny_bundle, "a", 0, options)
    assert expected.stop_reason == "attention_end"
    flags = ("--attention-stop", 1, "--gate-threshold", 0.999)
    got = speak_ids(programs, tiny_bundle, tmp_path, list(expected.token_ids), 0, *flags)
    assert "attention_end" in got.summary
    np.testing.assert_array_equal(got.samples, expected.samples)


@pytest.mark.parametrize("window", [1, 3, 200])
def test_attention_window_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path, window: int) -> None:
    """Whole and as a stream; a window changes what the tiny voice says, because it hides the tokens behind it."""
    options = SpeechOptions(attention_window=window, gate_threshold=0.99)
    expected = speak_in_python(tiny_bundle, TEXT, 0, options)
    without = speak_in_python(tiny_bundle, TEXT, 0, SpeechOptions(gate_threshold=0.99))
    assert not np.array_equal(expected.mel, without.mel)
    ids, flags = list(expected.token_ids), ("--attention-window", window, "--gate-threshold", 0.99)
    got = speak_ids(programs, tiny_bundle, tmp_path, ids, 0, *flags)
    np.testing.assert_array_equal(got.mel, expected.mel)
    np.testing.assert_array_equal(got.samples, expected.samples)
    streamed = speak_ids(programs, tiny_bundle, tmp_path, ids, 0, *flags, "--stream", 7)
    np.testing.assert_allclose(streamed.samples, expected.samples, rtol=0, atol=TORCHSCRIPT)


@pytest.mark.parametrize(
    "text",
    ["Dr. Smith paid $5.", "One, two. Three four five six seven! Eight nine ten, eleven twelve thirteen fourteen."],
)
@pytest.mark.parametrize("cleaners", [["english_cleaners"], ["basic_cleaners"]])
def test_text_equals_python(programs: Path, tiny_bundle: Path, tmp_path: Path, text: str, cleaners: list[str]) -> None:
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_bundle, bundle)
    edit_manifest(bundle, lambda content: content["text"].update(cleaners=cleaners))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        synthesizer = Synthesizer.load(bundle, "onnxruntime", threads=1)
        expected = synthesizer.say(text, seed=3)
        streamed = np.concatenate(list(synthesizer.stream(text, 3, StreamOptions(context_frames=None))))
    for flags, samples in (((), expected.samples), (("--stream", 0), streamed)):
        done = speak(programs, bundle, tmp_path, "--text", text, "--seed", 3, *flags)
        assert done.returncode == 0, done.stderr
        _, got = wavfile.read(tmp_path / "out.wav")
        np.testing.assert_array_equal(got, samples)


def test_header_from_c(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    command = [str(programs / "checks" / "api"), str(tiny_bundle), str(tmp_path / "api.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


def test_server_with_sixteen_clients(programs: Path, tiny_bundle: Path) -> None:
    """All at once, and one whose text is invalid; the samples are those of a stream in Python."""
    expected = np.concatenate(list(Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).stream(TEXT)))
    with serving(programs, tiny_bundle, 16) as (_, port), ThreadPoolExecutor(17) as clients:
        *spoken, invalid = clients.map(lambda text: ask(port, text), [TEXT] * 16 + ["☃"])
    for status, samples in spoken:
        assert status == "ok 16000"
        np.testing.assert_array_equal(np.frombuffer(samples, np.float32), expected)
    assert invalid[0].startswith("error text: nothing of it can be spoken")


@contextmanager
def serving(programs: Path, bundle: Path, n_clients: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server's process and its port."""
    command = [str(programs / "server"), str(bundle), "0", str(n_clients)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server, int(server.stdout.readline().split()[-1])
        finally:
            server.terminate()


def test_server_refuses_long_and_slow_lines(programs: Path, tiny_bundle: Path) -> None:
    """The limit of five seconds is for the line, not for each byte."""
    with serving(programs, tiny_bundle, 2) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as slow:
            assert ask(port, "é" * 40_000) == ("error expected a line of at most 65536 bytes", b"")
            answer = b""
            for _ in range(100):  # 20 seconds
                slow.sendall(b"a")
                with suppress(TimeoutError):
                    answer = slow.recv(1000)
                    break
        assert answer == b"error expected a line within 5 seconds\n"
        assert ask(port, TEXT)[0] == "ok 16000"


def test_server_refuses_nul_bytes(programs: Path, tiny_bundle: Path) -> None:
    """Half of the text would be spoken, as if it were all."""
    with serving(programs, tiny_bundle, 1) as (_, port):
        assert ask(port, "Hello\0 world.") == ("error expected a line in UTF-8, got a NUL byte", b"")


def test_server_answers_clients_that_send_more(programs: Path, tiny_bundle: Path) -> None:
    """What follows the line is not spoken, and nothing of the answer is lost for it."""
    text = f"{TEXT} " * 10
    with serving(programs, tiny_bundle, 2) as (_, port), socket.socket() as client:
        client.settimeout(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(text.encode() + b"\n" + b"more" * 10_000)
        time.sleep(2)  # until all has been spoken
        with client.makefile("rb") as answer:
            assert answer.readline() == b"ok 16000\n"
            assert answer.read() == ask(port, text)[1]


def test_server_leaves_slow_readers(programs: Path, tiny_bundle: Path) -> None:
    """The limit of five seconds beyond those of the samples is for all of them, not for each part that is taken; who
    takes them as fast as they play gets all."""
    text = f"{TEXT} " * 60  # 25 seconds
    with serving(programs, tiny_bundle, 2) as (_, port), ExitStack() as stack:
        slow, player, other = (stack.enter_context(socket.socket()) for _ in range(3))
        for client in (slow, player):  # both sides buffer a few KB, not megabytes
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for client, line in ((slow, text), (player, text), (other, TEXT)):
            client.connect(("127.0.0.1", port))
            client.sendall(line.encode() + b"\n")
        other.settimeout(0.2)
        answer = played = b""
        for _ in range(50):  # 10 seconds
            played += player.recv(12_800, socket.MSG_WAITALL)  # 0.2 seconds of float32 samples
            with suppress(ConnectionError):
                slow.recv(1000)
            with suppress(TimeoutError):
                answer = other.recv(9)
                break
        assert answer == b"ok 16000\n"
        time.sleep(2)  # within the limit
        with player.makefile("rb") as rest:
            played += rest.read()
        assert played == answer + ask(port, text)[1]


def test_server_outlives_a_lack_of_files(programs: Path, tiny_bundle: Path) -> None:
    with serving(programs, tiny_bundle, 1) as (server, port):
        ask(port, TEXT)  # UBSan opens a pipe to look at each class for the first time, and takes a failure for a fault
        while sum(file.name.startswith("socket:") for file in files_of(server).values()) > 1:
            time.sleep(0.01)  # until only the listener is left
        files = files_of(server).keys()
        _, most = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (min(set(range(len(files) + 1)) - files), most))
        with ExitStack() as stack:  # the first client may have a file that the server's thread has reserved
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(2)]
            for client in clients:
                client.sendall(TEXT.encode() + b"\n")
                client.shutdown(socket.SHUT_WR)  # so that the server waits for nothing else
            clients[1].settimeout(1)
            with pytest.raises(TimeoutError):
                clients[1].recv(1)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, most))
            clients[1].settimeout(60)
            assert [client.recv(9) for client in clients] == [b"ok 16000\n"] * 2


def files_of(process: subprocess.Popen[str]) -> dict[int, Path]:
    """What a process has open, by its number."""
    files = {}
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files[int(file.name)] = file.readlink()
    return files


def ask(port: int, text: str) -> tuple[str, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(text.encode() + b"\n")
        with connection.makefile("rb") as answer:
            return answer.readline().decode().rstrip(), answer.read()


def test_lines_of_a_file_equal_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """One file per line that is not blank; a line that cannot be spoken is named, and the others are spoken."""
    texts = ["Hello world.", "☃", *(f"One, two, {word}." for word in ("three", "four", "five"))]
    (tmp_path / "phrases.txt").write_text("\n\n".join(texts), encoding="utf-8")
    flags = ("-i", tmp_path / "phrases.txt", "-o", tmp_path / "out", "--seed", 3)
    command = [programs / "speak", tiny_bundle, *flags, "--threads", 1, "--wav", "float32"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.startswith("error: ☃: text: nothing of it can be spoken") for line in errors] == [True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"000{i}.wav" for i in (1, 3, 4, 5)]
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    for i in (1, 3, 4, 5):
        _, samples = wavfile.read(tmp_path / "out" / f"000{i}.wav")
        np.testing.assert_array_equal(samples, voice.say(texts[i - 1], seed=3).samples)


def test_lines_and_lexicons_of_windows(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Both begin with a byte order mark; the lines come through a pipe, and what is not spoken is told."""
    (tmp_path / "names.txt").write_text("Nguyen = win", "utf-8-sig")
    flags = ("-i", "/dev/stdin", "-o", tmp_path / "out", "--seed", 3, "--lexicon", tmp_path / "names.txt")
    command = [programs / "speak", tiny_bundle, *flags, "--threads", 1, "--wav", "float32"]
    lines = "\r\nNguyen ☃ came.\r\n"
    done = subprocess.run(list(map(str, command)), input=lines.encode("utf-8-sig"), capture_output=True, check=False)
    told = done.stderr.decode().splitlines()
    assert done.returncode == 0, told
    assert [line for line in told if "warning: " not in line] == ["not spoken, this voice has no symbol for: ☃"]
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    _, samples = wavfile.read(tmp_path / "out" / "0001.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = voice.say("Nguyen ☃ came.", seed=3, lexicon={"Nguyen": "win"}).samples
    np.testing.assert_array_equal(samples, expected)


def test_errors_of_windows_lines(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """A carriage return in an error would have a terminal overwrite the beginning of its line."""
    (tmp_path / "phrases.txt").write_bytes("☃\r\n \t\r\n\r\r\n☃ [pause 11s]".encode())
    command = [programs / "speak", tiny_bundle, "-i", tmp_path / "phrases.txt", "-o", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    told = done.stderr.decode()
    assert (done.returncode, "\r" in told, told.count("\n")) == (2, False, 2), told
    assert told.startswith("error: ☃: text: nothing of it can be spoken")


@pytest.mark.parametrize("arguments", [["-i"], ["--text", TEXT, "--lexicon"]])
@pytest.mark.parametrize("content", [b"GIF = jif\0\nNguyen = win\n", "Hello".encode("utf-16"), b"\0"])
def test_speak_refuses_files_with_nul_bytes(
    programs: Path, tiny_bundle: Path, tmp_path: Path, arguments: list[str], content: bytes
) -> None:
    """What follows such a byte would be left out, as if it had been read."""
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    done = speak(programs, tiny_bundle, tmp_path, *arguments, path)
    expected = f"error: {path}: not UTF-8, it has NUL bytes; save the file as UTF-8\n"
    assert (done.returncode, done.stderr) == (2, expected)


@pytest.mark.parametrize("arguments", [["-i"], ["--text", TEXT, "--lexicon"]])
def test_speak_refuses_folders_as_files(
    programs: Path, tiny_bundle: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = speak(programs, tiny_bundle, tmp_path, *arguments, tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}: expected a file, got a folder\n")
    done = speak(programs, tiny_bundle, tmp_path, *arguments, tmp_path / "none")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path / 'none'}: cannot be read\n")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("--seed", "-1", "0 to 18446744073709551615, got '-1'"),
        ("--seed", "18446744073709551616", "0 to 18446744073709551615, got '18446744073709551616'"),
        ("--seed", "3x", "0 to 18446744073709551615, got '3x'"),
        ("--threads", "4294967297", "-2147483648 to 2147483647, got '4294967297'"),
        ("--threads", "", "-2147483648 to 2147483647, got ''"),
        ("--ids", "12 x 14", "-2147483648 to 2147483647, got 'x'"),
    ],
)
def test_integers_are_read_whole(
    programs: Path, tiny_bundle: Path, tmp_path: Path, name: str, value: str, expected: str
) -> None:
    ids = () if name == "--ids" else ("--ids", "12")
    done = speak(programs, tiny_bundle, tmp_path, *ids, name, value)
    assert done.returncode == 2
    assert f"{name}: expected an integer from {expected}" in done.stderr


def test_programs_reject_unknown_arguments(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    done = speak(programs, tiny_bundle, tmp_path, "--ids", "12", "--sede", "3")
    assert done.returncode == 2
    assert "--sede: unknown option" in done.stderr
    done = speak(programs, tiny_bundle, tmp_path, "--ids", "12", "--sigma", "0.3x")
    assert "--sigma: expected a number, got '0.3x'" in done.stderr
    for option in ("--mel", "--timestamps"):
        nowhere = tmp_path / "nowhere" / "listing"
        for way in ((), ("--stream", "0")):
            done = speak(programs, tiny_bundle, tmp_path, "--text", TEXT, option, nowhere, *way)
            assert done.returncode == 2
            assert f"error: {nowhere}: cannot be written" in done.stderr
    server = [str(programs / "server"), str(tiny_bundle), "0", "2", "--threads"]
    assert subprocess.run(server, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give TEXT, --ids or -i FILE; speak --help shows how"),
        (["--text", TEXT, "--ids", "12"], "give one of TEXT, --ids and -i FILE, not several"),
        (["-i", "phrases.txt", "--text", TEXT], "give one of TEXT, --ids and -i FILE, not several"),
        (["-i", "phrases.txt", "--ids", "12"], "give one of TEXT, --ids and -i FILE, not several"),
        *((["-i", "phrases.txt", option, "8"], f"{option}: is for a single text; leave it out, or -i")
          for option in ("--stream", "--mel", "--timestamps")),
        (["--ids", "12", "--ssml"], "--ssml: has no effect on token ids; leave it out, or --ids"),
        (["--ids", "12", "--lexicon", "names.txt"], "--lexicon: has no effect on token ids; leave it out, or --ids"),
        (["-i", os.devnull], f"error: {os.devnull}: has no text in any line"),
    ],
)  # fmt: skip
def test_combinations_that_speak_refuses(
    programs: Path, tiny_bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = speak(programs, tiny_bundle, tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (2, f"{message}\n")


def test_speak_refuses_two_texts(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    command = [str(programs / "speak"), str(tiny_bundle), TEXT, "--text", TEXT, "-o", str(tmp_path / "out.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "give either TEXT or --text, not both\n")


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((bundle / "manifest.json").read_text())
    change(content)
    (bundle / "manifest.json").write_bytes(with_digest(json.dumps(content).encode()))


def truncate_graph(bundle: Path) -> None:
    path = bundle / "waveglow.onnx"
    path.write_bytes(path.read_bytes()[:1000])


def replace_graph_by_text(bundle: Path) -> None:
    (bundle / "encoder.onnx").write_text("not a graph")
    update_digest(bundle, "encoder")


def swap_graphs(bundle: Path) -> None:
    """Swap two graphs and adjust their digests, so that only their tensors do not match the manifest."""
    for name, other in (("postnet", "denoiser"), ("denoiser", "postnet")):
        (bundle / f"{name}.new").write_bytes((bundle / f"{other}.onnx").read_bytes())
    for name in ("postnet", "denoiser"):
        (bundle / f"{name}.new").rename(bundle / f"{name}.onnx")
        update_digest(bundle, name)


def update_digest(bundle: Path, graph: str) -> None:
    digest = file_sha256(bundle / f"{graph}.onnx")
    edit_manifest(bundle, lambda content: content["graphs"][graph].update(sha256=digest))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda bundle: shutil.rmtree(bundle), "not a bundle: cannot read manifest.json"),
    (lambda bundle: (bundle / "manifest.json").write_text("{"), "manifest.json: damaged, not valid JSON"),
    (lambda bundle: (bundle / "encoder.onnx").unlink(), "encoder.onnx: file not found"),
    (truncate_graph, "waveglow.onnx: SHA-256: expected"),
    (replace_graph_by_text, "encoder.onnx: is damaged, or not written as ONNX models are; export the voice again"),
    (swap_graphs, "denoiser: input audio is float32 [B, S] in the manifest, absent in the graph; export"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_bundle_is_rejected(
    programs: Path, tiny_bundle: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_bundle, bundle)
    damage(bundle)
    require_rejected(speak(programs, bundle, tmp_path, "--ids", "12 13"), message, tmp_path)


def require_rejected(done: subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "out.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ids", "12 148"), "expected token ids from 0 to 147, got 148"),
        (("--ids", "-1"), "expected token ids from 0 to 147, got -1"),
        (("--ids", ""), "request: give either text or ids"),
        (("--ids", "1 " * 41), "expected 1 to 40 tokens, got 41; split the text"),
        (("--text", "☃"), "text: nothing of it can be spoken; this voice has no symbol for: ☃; give at least"),
        (("--ids", "12", "--max-frames", "41"), "max_frames: expected 1 to 40 (this bundle's limit), got 41"),
        (("--ids", "12", "--gate-threshold", "1"), "gate_threshold: expected a probability between 0 and 1, got 1"),
        (("--ids", "12", "--sigma", "nan"), "sigma: expected a finite number, got nan"),
        (("--ids", "12", "--denoise", "-1"), "denoise: expected a number from 0 to 10, got -1"),
        (("--ids", "12", "--denoise", "10.5"), "denoise: expected a number from 0 to 10, got 10.5"),
        (("--ids", "12", "--sigma", "11"), "sigma: expected a number from 0 to 10, got 11"),
        (("--ids", "12", "--retries", "101"), "retries: expected 0 to 100, got 101"),
        (
            ("--ids", "12", "--attention-window", "-1"),
            "attention_window: expected 1 token or more, or 0 for all, got -1",
        ),
        (("--ids", "12", "--stream", "-1"), "first_segment_frames: expected 1 or more, or 0 for the bundle's, got -1"),
        (("--ids", "12", "--stream", "769"), "first_segment_frames: expected at most 768, a vocoder window, got 769"),
        (
            ("--ids", "12", "--backend", "onnxruntime-cuda"),
            "backend 'onnxruntime-cuda': ONNX Runtime",
        ),
        (
            ("--ids", "12", "--backend", "onnx"),
            "backend 'onnx': not built in; this library has: onnxruntime, onnxruntime-cuda",
        ),
    ],
)
def test_invalid_request_is_rejected(
    programs: Path, tiny_bundle: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = speak(programs, tiny_bundle, tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help(programs: Path) -> None:
    done = subprocess.run([programs / "speak", "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: speak BUNDLE")


STEERED = SpeechOptions(rate=0.7, volume=0.5, sentence_silence=0.1, max_frames=31)
STEERING = ("--rate", 0.7, "--volume", 0.5, "--sentence-silence", 0.1, "--max-frames", 31)


@pytest.mark.parametrize(
    ("text", "flags", "options"),
    [
        ("I missed you.", ("--rate", 0.5), SpeechOptions(rate=0.5)),  # more frames than the graphs accept at once
        ("I missed you.", ("--rate", 1.37), SpeechOptions(rate=1.37)),
        ("One sentence. And another!", STEERING, STEERED),
        ("[pause 0.2s] Ready? [PAUSE 50 MS][pause .1] Go [pause 1]. ☃", (), SpeechOptions()),
        ("[pause for applause] a [b] [pause  0.25s]c", ("--sentence-silence", 0), SpeechOptions(sentence_silence=0.0)),
    ],
)
def test_steered_speech_equals_python(
    programs: Path, tiny_bundle: Path, tmp_path: Path, text: str, flags: tuple[object, ...], options: SpeechOptions
) -> None:
    """Whole, and as a stream with the whole receptive field as context."""
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = voice.say(text, 3, options).samples
    for stream, tolerance in (((), 0.0), (("--stream", 5), TORCHSCRIPT)):
        done = speak(programs, tiny_bundle, tmp_path, "--text", text, "--seed", 3, *flags, *stream)
        assert done.returncode == 0, done.stderr
        got = wavfile.read(tmp_path / "out.wav")[1]
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_markup_and_a_lexicon_are_spoken_as_in_python(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    document = (
        '<speak><p><s>One <break time="0.2s"/>lazy <sub alias="doctor">Dr</sub>.</s></p><prosody rate="80%" '
        'volume="soft">Slow GIF.</prosody> <say-as interpret-as="characters">AB1</say-as></speak>'
    )
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("GIF = jif\n")
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = voice.say(document, 3, ssml=True, lexicon={"GIF": "jif"}).samples
    done = speak(programs, tiny_bundle, tmp_path, "--text", document, "--ssml", "--lexicon", lexicon, "--seed", 3)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(wavfile.read(tmp_path / "out.wav")[1], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rate", 0.4), "rate: expected a number from 0.5 to 2, got 0.4"),
        (("--volume", 5), "volume: expected a number from 0 to 4, got 5"),
        (("--volume", "nan"), "volume: expected a finite number"),
        (("--sentence-silence", 11), "sentence_silence: expected a number from 0 to 10 seconds"),
        (("--text", "a [pause 11s] b"), "'[pause 11s]': expected 0 to 10 seconds, as in [pause 0.5s]"),
        (("--text", "a [pause 1 minute] b"), "'[pause 1 minute]': expected 0 to 10 seconds"),
        (("--text", "[pause 1s]"), "text: the text is empty"),
    ],
)
def test_steering_out_of_range_is_rejected(
    programs: Path, tiny_bundle: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    done = speak(programs, tiny_bundle, tmp_path, "--text", TEXT, *arguments)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr.replace("error: text: '", "error: '")
