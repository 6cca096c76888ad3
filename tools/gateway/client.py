"""Requests for speech of two servers: the gateway, over HTTP, and the library behind a lock, one request at a time."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from abc import abstractmethod
from typing import Protocol

from ...runtime.options import SpeechOptions
from ...runtime.synthesizer import Synthesizer
from ..client_result import ClientResult, Kind


class Request(threading.Thread):
    """One request in a thread of its own, which `start` sends."""

    def __init__(self, kind: Kind, text: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.kind, self.text, self.seed = kind, text, seed
        self.outcome = ClientResult()
        self._sent = 0.0

    def run(self) -> None:
        self._sent = time.perf_counter()
        try:
            self._request()
        except Exception as error:
            self.outcome.error = f"{type(error).__name__}: {error}"
        self.outcome.latency = time.perf_counter() - self._sent

    def result(self) -> ClientResult:
        """Return what its client experienced; waits for the end. Raises RuntimeError if the request failed."""
        self.join()
        if self.outcome.error is not None:
            raise RuntimeError(f"{self.text[:40]}: {self.outcome.error}")
        return self.outcome

    def arrived(self, seconds: float) -> None:
        """Take down a segment with this many seconds of audio."""
        self.outcome.arrivals.append((time.perf_counter() - self._sent, seconds))

    @abstractmethod
    def _request(self) -> None: ...

    @abstractmethod
    def leave(self) -> None:
        """Abandon the request, as a client that goes away."""


class Server(Protocol):
    def __call__(self, kind: Kind, text: str, seed: int) -> Request: ...


class GatewayServer:
    """A `tacoglow serve` at http://HOST:PORT."""

    def __init__(self, host: str, port: int, sampling_rate: int) -> None:
        self.host, self.port, self.sampling_rate = host, port, sampling_rate

    def __call__(self, kind: Kind, text: str, seed: int) -> GatewayRequest:
        return GatewayRequest(self, kind, text, seed)


class GatewayRequest(Request):
    def __init__(self, server: GatewayServer, kind: Kind, text: str, seed: int) -> None:
        super().__init__(kind, text, seed)
        self.received = bytearray()  # samples of 16 bits at the voice's rate
        self._rate = server.sampling_rate
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=600)

    def _request(self) -> None:
        fields = {"input": self.text, "seed": self.seed, "response_format": "pcm", "sample_rate": self._rate}
        body = json.dumps(fields | {"stream": self.kind == "stream"})
        self._connection.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read(500).decode(errors='replace')}")
        while samples := response.read1(1 << 20):
            self.received += samples
            self.arrived(len(samples) / 2 / self._rate)
        if response.length:  # http.client takes a chunked answer that breaks off for an error, others not
            raise http.client.IncompleteRead(bytes(self.received), response.length)
        self._connection.close()

    def leave(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join()


class LockedServer:
    """The library as a server without a scheduler would use it: each request waits until the one before has ended."""

    def __init__(self, voice: Synthesizer) -> None:
        self.voice = voice
        self.lock = threading.Lock()

    def __call__(self, kind: Kind, text: str, seed: int) -> Request:
        return _LockedRequest(self, kind, text, seed)


class _LockedRequest(Request):
    def __init__(self, server: LockedServer, kind: Kind, text: str, seed: int) -> None:
        super().__init__(kind, text, seed)
        self._server = server
        self._left = threading.Event()

    def _request(self) -> None:
        options, voice = SpeechOptions(cancelled=self._left.is_set), self._server.voice
        rate = voice.manifest.audio.sampling_rate
        with self._server.lock:
            if self.kind == "whole":
                self.arrived(len(voice.say(self.text, self.seed, options).samples) / rate)
                return
            for samples in voice.stream(self.text, self.seed, options=options):
                self.arrived(len(samples) / rate)

    def leave(self) -> None:
        self._left.set()
        self.join()
