"""Measures a short request to `tacoglow serve` beside clients who ask for as much as they may, and the server's memory.

    python -m tacoglow.tools.gateway.mixes voice/ -o mixes.json

Starts a server for each mix, with its own limits. A client asks for "Hello there." about once a second, from an
address that others have too and from one of its own, and leaves with the first audio. Beside it: 4, 8 and 40 clients
who stream the longest text, reading or not, from one address or from one each; eight texts of 12,500 sentences, and
eight ordinary ones of the same length; 1,000 connections that send nothing; pings and texts whose answers are not read.
Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...benchmarks.conditions import conditions
from ...runtime.bundle.reading import load_manifest
from ..client_result import SENTENCES
from .process import HOST, GatewayProcess, running_gateway

SHORT = "Hello there."
LENGTH = 49_000  # characters
LONG = (" ".join(SENTENCES) + " ") * (LENGTH // sum(len(sentence) + 1 for sentence in SENTENCES))
SENTENCES_12500 = "Oh. " * 12_500
ORDINARY = LONG + LONG[: len(SENTENCES_12500) - len(LONG)]
WARM_UP = 3.0  # seconds after the others have begun
TIMEOUT = 30.0  # seconds
PING = b"\x89\xfd" + bytes(4) + bytes(125)  # masked with zeros
UPGRADE = (
    b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
EMPTY = b'{"type": "synthesize", "data": {"text": ""}}\n'  # of Wyoming

Work = Callable[[GatewayProcess, threading.Event], None]  # what one client does until the event is set


@dataclass
class Waits:
    """What a short request's client experienced."""

    first_audio: list[float] = field(default_factory=list)  # seconds
    refused: list[float] = field(default_factory=list)  # seconds until a 503
    failed: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        heard = sorted(self.first_audio)
        return {
            "heard": len(heard),
            "p50": statistics.median(heard) if heard else None,
            "p95": heard[int(0.95 * (len(heard) - 1) + 0.5)] if heard else None,
            "most": heard[-1] if heard else None,
            "refused": len(self.refused),
            "slowest_refusal": max(self.refused, default=0.0),
            "failed": self.failed,
        }


def post(port: int, address: str, fields: dict[str, Any]) -> http.client.HTTPResponse:
    """The answer to a request for speech from this address; the connection ends with it."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT, source_address=(address, 0))
    connection.request("POST", "/v1/audio/speech", json.dumps(fields), {"Content-Type": "application/json"})
    return connection.getresponse()


def ask(port: int, address: str, waits: Waits) -> None:
    """Ask for a short text, and leave with its first audio."""
    start = time.perf_counter()
    try:
        with post(port, address, {"input": SHORT, "response_format": "pcm"}) as response:
            if response.status == 200:
                response.read(1)
                waits.first_audio.append(time.perf_counter() - start)
            else:
                waits.refused.append(time.perf_counter() - start)
    except (OSError, http.client.HTTPException) as error:
        waits.failed.append(repr(error))


def stream(
    gateway: GatewayProcess, end: threading.Event, text: str, address: str, reads: bool, is_whole: bool = False
) -> None:
    """Ask for a text again and again, and read the answer or not."""
    while not end.is_set():
        with (
            suppress(OSError, http.client.HTTPException),
            post(gateway.server.port, address, {"input": text, "stream": not is_whole}) as response,
        ):
            while response.status == 200 and not end.is_set() and (not reads or response.read1(1 << 16)):
                end.wait(0.0 if reads else 0.1)
        end.wait(1.0)


def idle(gateway: GatewayProcess, end: threading.Event) -> None:
    with ExitStack() as stack:
        for _ in range(1_000):
            stack.enter_context(socket.create_connection((HOST, gateway.server.port)))
        end.wait()


def flood(gateway: GatewayProcess, end: threading.Event, hello: bytes, message: bytes, port: int = 0) -> None:
    """Send a message again and again without reading the answers."""
    while not end.is_set():
        with suppress(OSError), socket.create_connection((HOST, port or gateway.server.port)) as connection:
            connection.settimeout(1.0)
            connection.sendall(hello)
            while not end.is_set():
                with suppress(TimeoutError):
                    connection.sendall(message)
        end.wait(0.1)


def mixes(wyoming: int) -> dict[str, list[Work]]:
    """The clients of each mix."""
    found: dict[str, list[Work]] = {"nobody": []}
    for count in (4, 8, 40):
        for reads in (True, False):
            for is_same in (True, False):
                name = f"{count} who {'read' if reads else 'do not read'}"
                name += ", one address" if is_same else ", an address each"
                addresses = ["127.0.0.1" if is_same else f"127.0.1.{i + 1}" for i in range(count)]
                found[name] = [partial(stream, text=LONG, address=a, reads=reads) for a in addresses]
    for name, text in (("12,500 sentences", SENTENCES_12500), ("ordinary texts", ORDINARY)):
        for is_whole in (False, True):
            own = partial(stream, text=text, address="127.0.0.1", reads=True, is_whole=is_whole)
            found[f"eight of {name}, {'whole' if is_whole else 'streamed'}"] = [own] * 8
    found["1,000 idle connections"] = [idle]
    found["pings"] = [partial(flood, hello=UPGRADE, message=PING * 100)] * 4
    found["empty texts over Wyoming"] = [partial(flood, hello=b"", message=EMPTY * 100, port=wyoming)] * 4
    return found


@contextmanager
def busy(gateway: GatewayProcess, works: list[Work]) -> Iterator[None]:
    end = threading.Event()
    threads = [threading.Thread(target=work, args=(gateway, end), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join(TIMEOUT)


def measure(gateway: GatewayProcess, works: list[Work], seconds: float) -> dict[str, Any]:
    """Beside these clients: the short request's waits, and the server's memory at the begin and at most."""
    same, own, memory = Waits(), Waits(), list[int]()
    ask(gateway.server.port, "127.0.0.1", Waits())  # warms up
    with busy(gateway, works):
        time.sleep(WARM_UP)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for address, waits in (("127.0.0.1", same), ("127.0.0.9", own)):
                ask(gateway.server.port, address, waits)
                memory.append(gateway.resident_bytes())
                time.sleep(0.5)
    third = max(len(memory) // 3, 1)
    return {
        "same_address": same.summary(),
        "own_address": own.summary(),
        "resident_bytes": {"first_third": max(memory[:third]), "last_third": max(memory[-third:])},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder written by export-onnx")
    parser.add_argument("--threads", type=int, default=1, help="the server's CPU threads per voice")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each mix")
    parser.add_argument("--only", default="", help="mixes whose names contain this")
    parser.add_argument("-o", "--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    with socket.create_server((HOST, 0)) as chosen:
        wyoming = chosen.getsockname()[1]
    report: dict[str, Any] = {"conditions": conditions(arguments.threads, None), "mixes": {}}
    rate = load_manifest(arguments.bundle).audio.sampling_rate
    for name, works in mixes(wyoming).items():
        if arguments.only not in name:
            continue
        with running_gateway(arguments.bundle, arguments.threads, rate, ["--wyoming", str(wyoming)]) as gateway:
            row = report["mixes"][name] = measure(gateway, works, arguments.seconds)
        print(_line(name, row), flush=True)
        if arguments.output is not None:
            arguments.output.write_text(json.dumps(report, indent=1) + "\n")


def _line(name: str, row: dict[str, Any]) -> str:
    memory = row["resident_bytes"]
    told = []
    for key, title in (("same_address", "same address"), ("own_address", "own")):
        waits = row[key]
        heard = f"p50 {waits['p50']:.2f}, p95 {waits['p95']:.2f} s of {waits['heard']}" if waits["heard"] else "nothing"
        refused = f", {waits['refused']} refused within {waits['slowest_refusal']:.2f} s" if waits["refused"] else ""
        failed = f", {len(waits['failed'])} failed" if waits["failed"] else ""
        told.append(f"{title} {heard}{refused}{failed}")
    growth = memory["last_third"] / memory["first_third"] - 1
    return f"{name}: {'; '.join(told)}; memory {memory['first_third'] / 1e6:.0f} MB {growth:+.1%}"


if __name__ == "__main__":
    main()
