"""`tacoglow serve` as a process: what it says, its two doors, its end."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe

from tacoglow import Synthesizer
from tacoglow.cli.serve import parse_address, serve
from tacoglow.cli.shared.options import DecoderChoice, ProfileChoice
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, file_sha256, with_digest
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.scheduling import scheduler
from tacoglow.runtime.scheduling.scheduler import SchedulerLimits

COMMAND = [str(Path(sys.executable).with_name("tacoglow")), "serve"]


async def described(port: int) -> str:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        event = await asyncio.wait_for(client.read_event(), 10)
        assert event is not None
        return str(event.type)


def test_it_says_its_addresses_and_ends_by_sigterm(tiny_bundle: Path) -> None:
    command = [*COMMAND, str(tiny_bundle), "--port", "0", "--wyoming", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "startup complete" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            assert "tiny\n" in said[: said.index("startup complete")]  # the address is said once the voice has spoken
            (url,) = re.findall(r"^(http://127\.0\.0\.1:\d+/): tiny$", said, re.MULTILINE)
            (port,) = re.findall(r"^wyoming: tcp://127\.0\.0\.1:(\d+) \(without keys", said, re.MULTILINE)
            with urllib.request.urlopen(url, timeout=10) as page:
                assert b"<title>tacoglow</title>" in page.read()
            assert asyncio.run(described(int(port))) == "info"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGTERM)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def broken_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice, "broken", whose vocoder yields NaN."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("broken") / "voice"))
    model = onnx.load(bundle / "waveglow.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32("nan"), tensor.name))
    onnx.save(model, bundle / "waveglow.onnx")
    content = json.loads((bundle / MANIFEST_NAME).read_bytes())
    content["voice"]["name"] = "broken"
    content["graphs"]["waveglow"]["sha256"] = file_sha256(bundle / "waveglow.onnx")
    (bundle / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))
    return bundle


def test_a_voice_that_cannot_speak(broken_bundle: Path) -> None:
    command = [*COMMAND, str(broken_bundle), "--port", "0", "--threads", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: no voice can speak: broken: the audio contains NaN or Inf")
    assert "Traceback" not in ended.stderr


def test_a_voice_that_cannot_speak_beside_one_that_can(broken_bundle: Path, tiny_bundle: Path) -> None:
    command = [*COMMAND, str(broken_bundle), str(tiny_bundle), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(line for line in lines if line.startswith("http")).split(": ")[0]
            assert speech(url, "tiny") == 200
            assert speech(url, "broken") == 500
        finally:
            process.kill()


def speech(url: str, voice: str) -> int:
    body = json.dumps({"input": "Hi.", "voice": voice}).encode()
    request = urllib.request.Request(f"{url}v1/audio/speech", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_decoder_and_profile_are_passed_on(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OpenedError(Exception):
        """What the scheduler would get."""

    def refuse(voice: dict[str, object], limits: SchedulerLimits) -> None:
        raise OpenedError(voice["decoder"], limits.profile, limits.max_backlog)

    class Loaded(dict[str, object]):
        manifest = SimpleNamespace(voice=SimpleNamespace(name="tiny"))

        def read_notations(self) -> None:
            pass

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    monkeypatch.setattr(Synthesizer, "load", lambda *arguments, **options: Loaded(options))
    monkeypatch.setattr(scheduler, "Scheduler", refuse)
    with pytest.raises(OpenedError) as opened:
        serve([str(tiny_bundle)], port=0, max_backlog=7, decoder=DecoderChoice.fused, profile=ProfileChoice.throughput)
    assert opened.value.args == ("fused", "throughput", 7)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_sighup_does_not_end_it_while_it_opens_voices(tiny_bundle: Path) -> None:
    code = (
        "import os, signal, sys; from tacoglow import Synthesizer, cli\n"
        "Synthesizer.load = lambda *_, **__: (os.kill(os.getpid(), signal.SIGHUP), sys.exit(7))\n"
        "sys.argv[1:] = ['serve', sys.argv[1], '--port', '0']; cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], capture_output=True, text=True)
    assert ended.returncode == 7, ended.stderr


def test_a_port_in_use_is_said_before_a_voice_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for option in (["--port", port], ["--port", "0", "--wyoming", port]):
            ended = subprocess.run([*COMMAND, str(tmp_path), *option], capture_output=True, text=True)
            assert ended.returncode == 2
            assert f"127.0.0.1:{port}: Address already in use; choose another {option[-2]}" in ended.stderr


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules.update(dict.fromkeys(['uvicorn', 'wyoming']))"
    code = f"{hidden}; sys.argv[1:] = ['serve', 'voice']; from tacoglow.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: tacoglow serve needs uvicorn, wyoming; install it with: pip install 'tacoglow[serve]'\n"
    )


def test_addresses_for_wyoming() -> None:
    assert parse_address("10200", "127.0.0.1") == ("127.0.0.1", 10200)
    assert parse_address("0.0.0.0:10200", "127.0.0.1") == ("0.0.0.0", 10200)
    assert parse_address("[::1]:10200", "127.0.0.1") == ("::1", 10200)


@pytest.mark.parametrize("address", ["", "localhost", "host:", "70000", "host:-1", "1.5"])
def test_a_bad_address_for_wyoming(address: str) -> None:
    with pytest.raises(RequestError, match=r"--wyoming: expected \[HOST:\]PORT, such as 10200, got"):
        parse_address(address, "127.0.0.1")
