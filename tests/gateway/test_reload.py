"""Voices that are replaced, added, dropped, closed and opened again while the server runs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.gateway import upkeep
from tacoglow.gateway import voices as gateway_voices
from tacoglow.gateway.bundles import Bundles
from tacoglow.gateway.connections import Connections
from tacoglow.gateway.errors import GatewayError
from tacoglow.gateway.health import Health
from tacoglow.gateway.request import SettingsBody
from tacoglow.gateway.speaking import speak
from tacoglow.gateway.state import Gateway, GatewayOptions
from tacoglow.gateway.upkeep import read_again, return_memory
from tacoglow.gateway.voices import Speaker, Voice, Voices
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, with_digest
from tacoglow.runtime.errors import BackendError, RequestError
from tacoglow.runtime.options import StreamOptions
from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import POST, RunningGateway, running
from .test_command import COMMAND

TEXT = "One two three."
OPENERS = ThreadPoolExecutor(1)
LONG = "one two three four five six seven. " * 40


def add_voice(tiny_bundle: Path, folder: Path, sigma: float = 0.6) -> Path:
    """A copy of the tiny voice, named after its folder; sigma makes it sound different."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tiny_bundle, folder)
    content = json.loads((folder / MANIFEST_NAME).read_bytes())
    content["voice"]["name"] = folder.name
    content["vocoder"]["sigma"] = sigma
    (folder / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))
    return folder


def spoken(folder: Path) -> NDArray[np.float32]:
    return Synthesizer.load(folder, "onnxruntime", threads=1).say(TEXT).samples


class Server:
    """The voices of a folder as a server has them, without its connections."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.opened: list[str] = []
        self.bundles = Bundles([str(folder)], Path, self.open, **settings)
        voices, self.problems = self.bundles.open_all()
        self.gateway = Gateway(voices, GatewayOptions(), Connections(1))

    def open(self, folder: Path) -> Scheduler:
        self.opened.append(folder.name)
        return Scheduler(Synthesizer.load(folder, "onnxruntime", threads=1))

    def read_again(self) -> list[str]:
        return asyncio.run(read_again(self.gateway, Health(self.gateway), self.bundles))

    @property
    def ids(self) -> list[str]:
        return self.gateway.voices.ids

    def scheduler(self, voice_id: str) -> Scheduler:
        voice = self.gateway.voices.find(voice_id)
        assert voice is not None
        assert isinstance(voice.scheduler, Scheduler)
        return voice.scheduler


@pytest.fixture
def voices(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder of two voices, anna and ben."""
    for name in ("anna", "ben"):
        add_voice(tiny_bundle, tmp_path / name)
    return tmp_path


def test_only_what_has_changed_is_opened(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices)
    assert (server.ids, server.opened) == (["anna", "ben"], ["anna", "ben"])
    assert server.read_again() == ["voices: anna, ben"]
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    add_voice(tiny_bundle, voices / "cleo")
    assert server.read_again() == ["voices: anna (new), ben, cleo (new)"]
    assert server.opened == ["anna", "ben", "anna", "cleo"]
    shutil.rmtree(voices / "ben")
    assert server.read_again() == ["voices: anna, cleo"]
    assert server.gateway.voices.find("ben") is None


def test_requests_end_with_the_voice_that_they_began_with(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices)
    old = Synthesizer.load(voices / "anna", "onnxruntime", threads=1)
    expected = np.concatenate(list(old.stream(LONG)))
    under_way = server.scheduler("anna").submit(LONG, stream=StreamOptions())  # it rests as long as nobody reads it
    replaced = weakref.ref(server.scheduler("anna").voice)
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    server.read_again()
    new = spoken(voices / "anna")
    assert not np.array_equal(old.say(TEXT).samples, new)
    assert np.array_equal(server.scheduler("anna").submit(TEXT).result(30).samples, new)
    assert not under_way.done
    assert np.array_equal(np.concatenate(list(under_way.segments())), expected)
    del under_way
    wait_until(lambda: replaced() is None)  # it is freed with its last request


def test_a_replacement_that_cannot_be_opened(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices)
    kept = server.scheduler("anna")
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    graph = voices / "anna" / "waveglow.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    add_voice(tiny_bundle, voices / "ben", sigma=0.1)
    problem, said = server.read_again()
    assert problem.startswith(f"{voices / 'anna'}: ")
    assert "waveglow.onnx" in problem
    assert problem.endswith("; kept: anna")
    assert said == "voices: anna, ben (new)"
    assert server.scheduler("anna") is kept


def test_a_replacement_that_cannot_speak(tiny_bundle: Path, voices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(voices)
    kept = server.scheduler("anna")
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)

    async def fail(*_: object) -> Exception:
        return BackendError("the audio contains NaN")

    monkeypatch.setattr(Health, "check", fail)
    assert server.read_again() == [
        "anna: the audio contains NaN; kept: anna",
        "voices: anna, ben",
    ]
    assert server.scheduler("anna") is kept


def test_a_manifest_that_cannot_be_read_concerns_its_own_voice(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices)
    (voices / "ben" / MANIFEST_NAME).write_text("{")
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    add_voice(tiny_bundle, voices / "cleo")
    problem, said = server.read_again()
    assert problem.startswith(f"{voices / 'ben'}: ")
    assert problem.endswith("; kept: ben")
    assert said == "voices: anna (new), ben, cleo (new)"
    again = Server(voices)
    assert again.ids == ["anna", "cleo"]
    assert len(again.problems) == 1
    assert again.problems[0].endswith("; left out")
    for name in ("anna", "cleo"):
        (voices / name / MANIFEST_NAME).write_text("{")
    with pytest.raises(RequestError, match=r"anna.*left out; .*ben.*left out; .*cleo.*left out"):
        Server(voices)


def test_a_folder_whose_bundles_are_gone_loses_no_voice(voices: Path) -> None:
    server = Server(voices)
    for name in ("anna", "ben"):
        shutil.rmtree(voices / name)
    problem, said = server.read_again()
    assert problem.startswith(f"{voices}: ")
    assert problem.endswith("; kept: anna, ben")
    assert said == "voices: anna, ben"


def test_voices_that_contradict_each_other_or_none_at_all(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices, aliases={"B": "ben"})
    shutil.rmtree(voices / "ben")
    assert server.read_again() == ["--alias B=ben: expected one of anna; all voices stay as they were"]
    assert server.ids == ["anna", "ben"]
    assert server.scheduler("ben").submit(TEXT).result(30).samples.any()


def test_closed_voices_are_opened_once_for_all_who_wait(voices: Path) -> None:
    server = Server(voices, closes=True)
    (anna, ben) = server.gateway.voices.voices
    assert (anna.scheduler, ben.scheduler) == (None, None)

    async def ask() -> list[Any]:
        left = asyncio.ensure_future(speaker_of(anna))
        await asyncio.sleep(0)
        left.cancel()  # a client who leaves does not end it for the others
        return await asyncio.gather(*(speaker_of(anna) for _ in range(3)))

    first, *others = asyncio.run(ask())
    assert all(other is first for other in others)
    assert server.opened == ["anna", "ben", "anna"]
    assert ben.scheduler is None


async def speaker_of(voice: Voice) -> Speaker:
    async with voice.speaker(OPENERS) as speaker:
        return speaker


def test_a_closed_voice_that_cannot_be_opened_again(
    voices: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(voices, closes=True)
    voice, health = server.gateway.voices.default, Health(server.gateway)
    server.gateway.is_starting = False
    moved = voices.rename(voices.with_name("moved"))
    for _ in range(2):  # soon after a failure, no other attempt is made
        with pytest.raises(GatewayError, match="anna: cannot be opened; see the server's log") as raised:
            asyncio.run(speaker_of(voice))
        assert (raised.value.status, raised.value.code) == (503, "voice_unavailable")
        assert raised.value.headers == {"retry-after": "5"}
        assert str(asyncio.run(health.problem())).startswith("anna: cannot be opened")
    assert server.opened == ["anna", "ben", "anna"]
    assert str(voices / "anna") in caplog.text
    moved.rename(voices)
    monkeypatch.setattr(gateway_voices, "RETRY_SECONDS", 0.0)
    assert asyncio.run(health.problem()) is None  # a proxy that asks for health sends no requests before this
    assert asyncio.run(speaker_of(voice)) is voice.scheduler


def test_a_closed_voice_is_not_replaced_by_a_request(tiny_bundle: Path, voices: Path) -> None:
    server = Server(voices, closes=True)
    facts = server.gateway.voices.default.facts
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    with pytest.raises(GatewayError, match="anna: cannot be opened"):
        asyncio.run(speaker_of(server.gateway.voices.default))
    assert server.gateway.voices.default.facts is facts
    assert server.read_again() == ["voices: anna (new), ben"]
    new = server.gateway.voices.default
    assert np.array_equal(asyncio.run(speaker_of(new)).submit(TEXT).result(30).samples, spoken(voices / "anna"))


def test_an_open_voice_speaks_while_many_others_are_opened(new_scheduler: Callable[[], Scheduler]) -> None:
    scheduler, may_open = new_scheduler(), threading.Event()

    def open_slowly() -> Scheduler:
        assert may_open.wait(30)
        return scheduler

    closed = [Voice.embedded(f"closed{i}", scheduler, open_again=open_slowly) for i in range(40)]
    for voice in closed:
        voice.close()
    gateway = Gateway(Voices([Voice.embedded("open", scheduler), *closed]), GatewayOptions(), Connections(1))

    async def speak_with(name: str) -> float:
        settings = SettingsBody(voice=name).resolve(gateway.voices, None)
        spoken = await speak(gateway, TEXT, settings, name)
        return sum([len(samples) async for samples in spoken.segments()])

    async def speak_with_all() -> list[float]:
        others = [asyncio.create_task(speak_with(voice.id)) for voice in closed]
        await asyncio.sleep(0)  # all of them wait now
        try:
            own = await asyncio.wait_for(speak_with("open"), 20)
        finally:
            may_open.set()
        return [own, *(await asyncio.gather(*others))]

    lengths = asyncio.run(speak_with_all())
    assert len(set(lengths)) == 1
    assert lengths[0] > 0


def test_voices_that_wait_to_be_opened_do_not_delay_the_end(new_scheduler: Callable[[], Scheduler]) -> None:
    scheduler, may_open, opened = new_scheduler(), threading.Event(), list[None]()

    def open_slowly() -> Scheduler:
        opened.append(None)
        assert may_open.wait(30)
        return scheduler

    closed = [Voice.embedded(f"closed{i}", scheduler, open_again=open_slowly) for i in range(5)]
    for voice in closed:
        voice.close()
        voice.last_used = 0.0
    with running(scheduler, others=closed) as gateway:
        clients = [gateway.connect() for _ in closed]
        for client, voice in zip(clients, closed, strict=True):
            body = json.dumps({"input": TEXT, "voice": voice.id}).encode()
            client.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        wait_until(lambda: len(opened) == 2)
        for client in clients:
            client.close()
        wait_until(lambda: all(voice.last_used for voice in closed))
    may_open.set()
    for thread in threading.enumerate():
        if thread.name.startswith("opening"):
            thread.join(5)
    assert len(opened) == 2


def test_voices_that_are_closed_at_once_have_to_speak(
    tiny_bundle: Path, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak = Scheduler.submit

    def submit(self: Scheduler, *arguments: Any, **more: Any) -> Any:
        if self.voice.manifest.voice.name == broken:
            raise BackendError("the audio contains NaN")
        return speak(self, *arguments, **more)

    monkeypatch.setattr(Scheduler, "submit", submit)
    broken = "ben"
    server = Server(voices, closes=True)
    failures = asyncio.run(Health(server.gateway).start())
    assert [*failures] == ["ben"]
    broken = "anna"
    kept = server.gateway.voices.default
    add_voice(tiny_bundle, voices / "anna", sigma=0.1)
    assert server.read_again() == ["anna: the audio contains NaN; kept: anna", "voices: anna, ben"]
    assert server.gateway.voices.default is kept


# Of symbols in place of the Latin letters: Cyrillic, capitals that the cleaners make small and then have no symbol for
# some, or only phones.
@pytest.mark.parametrize("first", ["а", "Ѐ", "←"])
@pytest.mark.parametrize("closes", [False, True])
def test_voices_without_latin_letters_have_to_speak(voices: Path, first: str, closes: bool) -> None:
    shutil.rmtree(voices / "ben")
    content = json.loads((voices / "anna" / MANIFEST_NAME).read_bytes())
    own = map(chr, range(ord(first), 0x10FFFF))
    content["text"]["symbols"] = [next(own) if each.isalpha() else each for each in content["text"]["symbols"]]
    content["text"]["cleaners"] = ["basic_cleaners"]
    (voices / "anna" / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))
    server = Server(voices, closes=closes)
    assert asyncio.run(Health(server.gateway).start()) == {}
    assert asyncio.run(Health(server.gateway).problem()) is None
    assert (server.gateway.voices.default.scheduler is None) == closes  # it is closed once it has spoken


def test_a_voice_is_idle_once_nobody_speaks(new_scheduler: Callable[[], Scheduler]) -> None:
    voice = Voice.embedded("tiny", new_scheduler(), open_again=new_scheduler)
    assert not voice.is_idle(0.0)  # it has not been asked to speak yet, or could not
    voice.last_heard = 0.0
    assert voice.is_idle(0.0)
    assert not voice.is_idle(60.0)
    assert isinstance(voice.scheduler, Scheduler)
    handle = voice.scheduler.submit("one two three four five six seven. " * 20)
    assert not voice.is_idle(0.0)
    handle.cancel()

    async def is_idle_in_use() -> bool:
        async with voice.speaker(OPENERS):  # whose text may wait to be split
            return voice.is_idle(0.0)

    assert not asyncio.run(is_idle_in_use())
    assert not Voice.embedded("tiny", new_scheduler()).is_idle(0.0)  # nothing could open it again
    with pytest.raises(Exception, match="none is left"):
        Voices([])


def test_unused_voices_are_closed(new_scheduler: Callable[[], Scheduler]) -> None:
    with running(new_scheduler(), open_again=new_scheduler, idle_unload=0.3) as gateway:
        before = gateway.speech(input=TEXT, response_format="pcm").body
        wait_for_metric(gateway, 'tacoglow_voice_open{voice="tiny"} 0')
        assert gateway.request("/health").status == 200  # nobody waits for it, and it stays closed
        assert gateway.request("/v1/audio/voices").json["voices"][0]["timestamps"]
        assert 'tacoglow_voice_open{voice="tiny"} 0' in metrics(gateway)
        assert gateway.speech(input=TEXT, response_format="pcm").body == before


def test_a_voice_is_freed_without_a_garbage_collection(new_scheduler: Callable[[], Scheduler]) -> None:
    """A collection would hold the interpreter, and with it the streams of other voices."""
    gc.collect()
    gc.disable()
    try:
        voice = new_scheduler()
        voice.submit(TEXT).result(30)
        freed = weakref.ref(voice.voice)
        del voice
        wait_until(lambda: freed() is None)
    finally:
        gc.enable()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    blocks = [bytes(100_000) for _ in range(1_000)]  # each is small enough to be kept by the allocator
    full = resident()
    kept = blocks[-1]  # holds the top of the heap
    blocks.clear()
    return_memory()
    assert resident() < full - 50_000_000
    assert len(kept) == 100_000


def test_memory_is_given_back_once_the_last_request_of_a_voice_ends(
    tiny_bundle: Path, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(voices)
    given: list[None] = []
    monkeypatch.setattr(upkeep, "END_SECONDS", 0.02)
    monkeypatch.setattr(upkeep, "return_memory", lambda: given.append(None))

    async def replace_while_it_speaks() -> None:
        async with upkeep.upkeep(server.gateway, Health(server.gateway), None, print):
            stream = server.scheduler("anna").submit(LONG, stream=StreamOptions())  # it rests: nobody reads it
            await asyncio.sleep(0.2)
            assert len(given) == 1  # at the start
            add_voice(tiny_bundle, voices / "anna", sigma=0.1)
            await read_again(server.gateway, Health(server.gateway), server.bundles)
            await asyncio.sleep(0.2)
            assert len(given) == 1
            stream.cancel()
            del stream
            while len(given) == 1:
                await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(replace_while_it_speaks(), 60))
    assert len(given) == 2


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metrics(gateway: RunningGateway) -> str:
    return gateway.request("/metrics").body.decode()


def wait_for_metric(gateway: RunningGateway, line: str) -> None:
    wait_until(lambda: line in metrics(gateway))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_sighup(tiny_bundle: Path, voices: Path) -> None:
    """The command: a voice that is replaced and one that is added, and the id of a trace in its log."""
    command = [*COMMAND, str(voices), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            lines = iter(process.stderr.readline, "")
            url = next(re.split(": ", line)[0] for line in lines if line.startswith("http"))
            next(line for line in lines if "startup complete" in line)
            add_voice(tiny_bundle, voices / "anna", sigma=0.1)
            add_voice(tiny_bundle, voices / "cleo")
            process.send_signal(signal.SIGHUP)
            assert next(line for line in lines if line.startswith("voices: ")) == (
                "voices: anna (new), ben, cleo (new)\n"
            )
            body = {"input": TEXT, "voice": "anna", "response_format": "pcm", "sample_rate": 16_000, "stream": False}
            parent = f"00-{'a' * 32}-{'b' * 16}-01"
            headers = {"content-type": "application/json", "traceparent": parent}
            request = urllib.request.Request(f"{url}v1/audio/speech", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.read() == encode(spoken(voices / "anna"), "int16")
            assert next(iter(process.stdout.readline, "")).endswith(f" trace={'a' * 32}\n")
        finally:
            process.kill()
