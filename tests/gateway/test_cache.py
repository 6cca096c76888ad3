"""`tacoglow serve --cache`: the same answer again, without a decoder step; half an answer and other speech never."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tacoglow import Synthesizer
from tacoglow.cli.serve import SIZES, TIMES, parse_amount, serve
from tacoglow.gateway import encoding, response, voices
from tacoglow.gateway import entity_tag as tags
from tacoglow.gateway.cache import STALE_SECONDS, Cache
from tacoglow.gateway.connections import connection_limits
from tacoglow.gateway.request import SpeechBody, parse_request
from tacoglow.gateway.voices import Voice, Voices
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.files import PartialFile
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import POST, RunningGateway, refuse, running
from .test_reload import add_voice, wait_for_metric

SPEECH = "/v1/audio/speech"
TEXT = "Hi there."
LONG = "one two three four five six seven. " * 80
# name -> route and body
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "stream": (SPEECH, {"input": TEXT, "response_format": "wav"}),
    "encoded stream": (SPEECH, {"input": TEXT}),
    "whole": (SPEECH, {"input": TEXT, "response_format": "wav", "stream": False}),
    "flac": (SPEECH, {"input": TEXT, "response_format": "flac", "seed": 3}),
    "what it cannot speak": (SPEECH, {"input": "Hi ☃ there.", "response_format": "pcm"}),
    "silence": (SPEECH, {"input": "☃", "response_format": "pcm"}),
    "events": (SPEECH, {"input": TEXT, "stream_format": "sse", "timestamps": True}),
    "captions": ("/dev/captioned_speech", {"input": TEXT, "response_format": "pcm", "return_analysis": True}),
    "one caption": ("/dev/captioned_speech", {"input": TEXT, "stream": False}),
    "Piper's": ("/synthesize", {"text": TEXT}),
}
OF_TRANSPORT = {"date", "x-request-id", "content-length", "transfer-encoding"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def caching(new_scheduler: Callable[[], Scheduler], folder: Path) -> Iterator[RunningGateway]:
    with running(new_scheduler(), cache=Cache(folder, 10**8), max_wait=60.0) as gateway:
        yield gateway


def requests_of(gateway: RunningGateway) -> int:
    return int(gateway.scheduler.metrics().requests)


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it holds: an answer is kept, or forgotten, a moment after it was sent."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kept(folder: Path) -> int:
    """How many answers there are, and nothing else."""
    assert all(name.endswith(".speech") for name in names(folder) if not name.startswith("."))
    return sum(not name.startswith(".") for name in names(folder))


@pytest.mark.parametrize("name", ANSWERS)
def test_the_second_answer_is_the_first_one(
    caching: RunningGateway, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = ANSWERS[name]
    first = caching.request(path, body)
    assert first.status == 200
    wait_for(lambda: kept(folder) == 1)
    before = requests_of(caching)
    monkeypatch.setattr(caching.scheduler, "admit", refuse)
    assert caching.speech(input="Another text.").status == 503
    second = caching.request(path, body)
    assert second.body == first.body
    assert int(second.headers["content-length"]) == len(first.body)
    told = [{k: v for k, v in each.headers.items() if k not in OF_TRANSPORT} for each in (first, second)]
    assert told[0] == told[1]
    assert requests_of(caching) == before
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600]


def test_what_the_answers_tell_is_kept_with_them(caching: RunningGateway, folder: Path) -> None:
    for _ in range(2):
        answer = caching.request(SPEECH, {"input": "Hi ☃ there.", "stream": False})
        assert "2603" in answer.headers["x-tacoglow-warning"]
        assert answer.headers["x-tacoglow-quality"]
        wait_for(lambda: kept(folder) == 1)


def test_metrics_tags_and_the_key(new_scheduler: Callable[[], Scheduler], folder: Path) -> None:
    key = {"authorization": "Bearer secret"}
    body = {"input": TEXT}
    with running(new_scheduler(), cache=Cache(folder, 10**8), api_key="secret") as gateway:
        tag = gateway.request(SPEECH, body, key).headers["etag"]
        wait_for(lambda: kept(folder) == 1)
        assert gateway.request(SPEECH, body).status == 401
        assert gateway.request(SPEECH, body, key | {"origin": "http://elsewhere.example"}).status == 403
        assert gateway.request(SPEECH, body, key | {"if-none-match": tag}).status == 412
        assert [gateway.request(SPEECH, body, key).status for _ in range(2)] == [200, 200]
        page = gateway.request("/metrics", headers=key).body.decode()
        assert 'tacoglow_cache_hits_total{voice="tiny"} 2\n' in page
        assert 'tacoglow_cache_misses_total{voice="tiny"} 1\n' in page


def test_a_changed_bundle_has_other_speech_and_the_same_one_has_not(
    tiny_bundle: Path, tmp_path: Path, folder: Path
) -> None:
    changed = add_voice(tiny_bundle, tmp_path / "tiny", sigma=0.1)
    bodies = []
    for bundle, files in ((tiny_bundle, 1), (changed, 2), (tiny_bundle, 2)):  # one server after the other
        with running(
            Scheduler(Synthesizer.load(bundle, "onnxruntime", threads=1)), cache=Cache(folder, 10**8)
        ) as gateway:
            before, made = requests_of(gateway), files - kept(folder)
            bodies.append(gateway.speech(input=TEXT, response_format="wav").body)
            assert requests_of(gateway) == before + made
            wait_for(partial(lambda files: kept(folder) == files, files))
    assert bodies[0] == bodies[2] != bodies[1]


def test_another_version_of_a_library_may_speak_otherwise(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_scheduler() as scheduler:
        voices = Voices([Voice.embedded("tiny", scheduler)])

        def tag(**fields: Any) -> str:
            body = json.dumps({"input": TEXT, **fields}).encode()
            return tags.entity_tag(parse_request(body, SpeechBody, voices, 1_000), None, None)

        now = tag()
        # Both are spoken at the highest rate; events tell of the difference.
        assert tag(speed=3) != tag(speed=4)
        monkeypatch.setattr(tags, "_versions", lambda: {"onnxruntime": "0"})
        assert tag() != now


@pytest.mark.parametrize("package", ["onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-rtx-cu13"])
def test_the_versions_of_libraries(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / f"{package.replace('-', '_')}-8.6.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 8.6.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert tags._versions.__wrapped__()[package] == "8.6.1"


def test_a_voice_that_is_opened_with_another_backend_has_other_tags(
    new_scheduler: Callable[[], Scheduler], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts(scheduler: Scheduler) -> voices.VoiceFacts:
        return replace(facts_of(scheduler), computed_by=("another",))

    facts_of = voices.facts_of
    with running(new_scheduler(), open_again=new_scheduler, idle_unload=0.3, cache=Cache(folder, 10**8)) as gateway:
        wait_for_metric(gateway, 'tacoglow_voice_open{voice="tiny"} 0')
        monkeypatch.setattr(voices, "facts_of", facts)
        told = [gateway.speech(input=TEXT).headers["etag"] for _ in range(2)]
        wait_for(lambda: kept(folder))
    assert told[0] == told[1]
    assert names(folder) == [told[0].removeprefix("W/").strip('"') + ".speech"]


def test_a_client_that_leaves_leaves_nothing(caching: RunningGateway, folder: Path) -> None:
    body = json.dumps({"input": LONG, "response_format": "pcm"}).encode()
    with caching.connect() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        wait_for(lambda: names(folder))
    wait_for(lambda: not names(folder))


@pytest.mark.parametrize("form", ["stream", "whole", "events"])
def test_a_broken_answer_is_not_kept(
    caching: RunningGateway, folder: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = encoding.encode_segments

    async def failing(*arguments: Any, **options: Any) -> AsyncIterator[bytes]:
        async for data in encode(*arguments, **options):
            yield data
            raise ArithmeticError("planted")

    path, body = ANSWERS[form]
    monkeypatch.setattr(response, "encode_segments", failing)
    try:
        broken = caching.request(path, body).body
    except http.client.IncompleteRead:
        broken = b""
    wait_for(lambda: not names(folder))
    monkeypatch.undo()
    assert caching.request(path, body).body != broken
    wait_for(lambda: kept(folder) == 1)


def test_a_disk_that_fails_costs_one_line(
    caching: RunningGateway, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(self: PartialFile, **_: bool) -> None:
        raise OSError(28, "No space left on device")

    first = caching.request(*ANSWERS["stream"])
    wait_for(lambda: kept(folder) == 1)
    monkeypatch.setattr(PartialFile, "commit", commit)
    with caplog.at_level(logging.WARNING, "tacoglow.serve"):
        assert caching.speech(input=TEXT, seed=1).status == 200
        wait_for(lambda: caplog.records)
        wait_for(lambda: len(names(folder)) == 1)
        shutil.rmtree(folder)
        assert caching.speech(input=TEXT, seed=2).status == 200
        assert caching.request(*ANSWERS["stream"]).body == first.body
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"--cache: {folder}: No space left on device; answers are sent without being kept"


@pytest.mark.parametrize(
    "damaged", [b"", b"3\n", b'{"x-tacoglow-warning": 3}\n', b"{%s}\n" % (b" " * 10**5), b"\xff\n"]
)
def test_what_is_damaged_is_made_again(caching: RunningGateway, folder: Path, damaged: bytes) -> None:
    first = caching.request(*ANSWERS["stream"])
    wait_for(lambda: kept(folder) == 1)
    (path,) = folder.iterdir()
    intact = path.read_bytes()
    path.write_bytes(damaged)
    assert caching.request(*ANSWERS["stream"]).body == first.body
    wait_for(lambda: path.read_bytes() == intact)


def keep(cache: Cache, tag: str, size: int) -> None:
    asyncio.run(cache.keep(f'W/"{tag}"', {}, bytes(size - 3)))  # beside "{}\n"


def find(cache: Cache, tag: str) -> int | None:
    """The size of an answer's body."""
    entry = asyncio.run(cache.find(f'W/"{tag}"'))
    if entry is None:
        return None
    entry.file.close()
    return entry.size


def test_the_least_recently_used_answers_make_room(folder: Path) -> None:
    cache = Cache(folder, 1000)
    for age, tag in enumerate("abcdefghij"):
        keep(cache, tag, 100)
        os.utime(folder / f"{tag}.speech", (1000 + age, 1000 + age))
    assert find(cache, "a") == 97  # and it is used
    keep(cache, "k", 100)
    assert names(folder) == [f"{tag}.speech" for tag in "adefghijk"]  # 900 bytes at most once there were too many
    again = Cache(folder, 1000)
    keep(again, "l", 100)
    assert names(folder) == [f"{tag}.speech" for tag in "adefghijkl"]


def test_an_answer_beyond_a_tenth_of_the_limit_is_not_kept(folder: Path) -> None:
    async def write(*chunks: int) -> None:
        writer = cache.begin("a", {})
        for chunk in chunks:
            await writer.write(bytes(chunk))
        await writer.commit()

    cache = Cache(folder, 1000)
    (folder / "notes.txt").write_bytes(bytes(2000))  # is not the cache's
    keep(cache, "b", 100)
    for chunks in ((98,), (1000,), (90,) * 20):  # after "{}\n"
        asyncio.run(write(*chunks))
        assert names(folder) == ["b.speech", "notes.txt"]
        assert cache.size == 100
    keep(cache, "a", 100)
    assert find(cache, "a") == 97


def test_others_go_on_while_room_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> None:
        making_room = asyncio.create_task(cache.keep("over", {}, bytes(97)))
        await asyncio.to_thread(has_removed.wait, 10)
        await cache.keep("meanwhile", {}, bytes(47))
        goes_on.set()
        await making_room

    def slow_shrink() -> int:
        size = shrink()
        has_removed.set()
        assert goes_on.wait(10)
        return size

    cache = Cache(folder, 1000)
    for tag in "abcdefghij":
        keep(cache, tag, 100)
    shrink, has_removed, goes_on = cache._shrink, threading.Event(), threading.Event()
    monkeypatch.setattr(cache, "_shrink", slow_shrink)
    asyncio.run(write())
    assert [find(cache, tag) for tag in ("over", "meanwhile")] == [97, 47]
    assert cache.size == sum(path.stat().st_size for path in folder.iterdir()) == 950


def test_what_a_killed_server_left_makes_room(folder: Path) -> None:
    folder.mkdir()
    for name, age in (("old", 2 * STALE_SECONDS), ("new", 0)):
        path = folder / f".{name}.speech.1.partial"
        path.write_bytes(bytes(480))
        os.utime(path, (time.time() - age,) * 2)
    keep(Cache(folder, 1000), "a", 100)
    assert names(folder) == [".new.speech.1.partial", "a.speech"]


def test_only_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(
        RequestError, match=r"file: cannot be written: .* not a folder; give another place with --cache"
    ):
        Cache(tmp_path / "file", 1000)
    with pytest.raises(RequestError, match=r"open: others can write to it; give a folder of your own"):
        Cache(tmp_path / "open", 1000)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(RequestError, match=r"nowhere: File exists; give another folder"):
        Cache(tmp_path / "nowhere", 1000)
    Cache(tmp_path / "a" / "b", 1000)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_the_command_refuses_it_before_voices_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    (tmp_path / "file").touch()
    for options, reason in (
        ({"cache": tmp_path / "file"}, "not a folder"),
        (
            {"cache": tmp_path / "cache", "cache_size": "1"},
            "--cache-size: expected a number and a unit, such as 15MB, 15GB, got '1'",
        ),
        ({"idle_unload": "15MB"}, "--idle-unload: expected a number and a unit, such as 15s, 15m, 15h, got '15MB'"),
        ({"cache_size": "1GB"}, "--cache-size: needs --cache DIR"),
    ):
        with pytest.raises(RequestError, match=reason):
            serve([str(tmp_path / "no voice")], **options)


def test_amounts() -> None:
    assert [parse_amount("--cache-size", size, SIZES) for size in ("500MB", "2GB")] == [500_000_000, 2_000_000_000]
    assert [parse_amount("--idle-unload", time, TIMES) for time in ("90s", "15m", "2h")] == [90, 900, 7200]


def test_files_of_the_cache_are_kept_free() -> None:
    assert sum(connection_limits(200)) < sum(connection_limits())
