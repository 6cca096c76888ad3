"""Speaks through NVIDIA Triton servers, with the models of `tacoglow export-triton`, as a scheduler speaks by itself.

A request goes to the server with the fewest requests; if that cannot be reached, it goes to the next. Each is one gRPC
stream, whose end, when a client leaves, ends the request there too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..runtime.decoder import StopReason
from ..runtime.errors import BackendError, Overloaded, RequestError, SchedulerClosed, escape_control
from ..runtime.options import SpeechOptions, StreamOptions
from ..runtime.output.audio import Audio, Utterance
from ..runtime.pieces import silence
from ..runtime.scheduling.admission import Admission, Ticket
from ..runtime.scheduling.handle import SpeechHandle
from ..runtime.scheduling.metrics import MetricsCounter, SchedulerMetrics
from ..text import TextError
from ..triton_server import DEFAULT_MODEL, STREAM_SUFFIX
from ..triton_server.client import GRPC_LIMITS, infer_inputs, parse_server_url
from ..triton_server.contract import INPUTS, OUTPUTS, Response, SpeechRequest
from .errors import NO_RETRY, GatewayError
from .speaking import NOTHING_SPOKEN_SECONDS
from .tracing import TRACE
from .voices import DEFAULT_LANGUAGE, VoiceFacts

logger = logging.getLogger("tacoglow.serve")
CONNECT_SECONDS = 10.0
SEGMENT_SECONDS = 60.0  # time limit for the next segment of a stream
QUEUE_SECONDS = 300.0  # time limit for the wait of a whole answer in a server's queue
DOWN_SECONDS = 5.0  # a server that could not be reached, or was late, is asked last for this long
# A request that a dead machine does not acknowledge within 10 s fails, because gRPC then sets TCP_USER_TIMEOUT. Triton
# closes the connection of a client that pings more often than every 5 minutes while it sends nothing.
GRPC_KEEPALIVE = [("grpc.keepalive_time_ms", 360_000), ("grpc.keepalive_timeout_ms", 10_000)]
MAX_BACKLOG = 1_000_000  # characters that the servers have not spoken yet; further ones are refused


class UnreachableError(Exception):
    """No connection to this server."""


@dataclass
class _Server:
    address: str  # HOST:PORT
    client: Any
    requests: int = 0  # that it speaks for this process
    down_until: float = 0.0  # time.monotonic()


@dataclass(frozen=True)
class UpstreamVoice:
    """A model of Triton, and the servers that have it."""

    model: str
    addresses: tuple[tuple[str, bool], ...]  # HOST:PORT, and whether the connection is encrypted


class Upstream:
    """Servers that speak the same voice. The connections live in a thread of their own."""

    def __init__(self, voice: UpstreamVoice) -> None:
        """Ask the servers for the voice. Raises BackendError if none answers."""
        self._model, self._metrics, self._admission = voice.model, MetricsCounter(1), Admission(MAX_BACKLOG)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self._closing = False
        self._requests: set[Future[None]] = set()
        self._servers = self._run(self._connect(voice.addresses))
        self.voice_id, self.facts, max_seconds = self._run(self._read_facts())
        self._whole_seconds = QUEUE_SECONDS + max_seconds  # time limit for a whole answer

    def admit(self, tokens: int, client: str = "", max_wait: float = float("inf")) -> Ticket:
        """As a scheduler's: what waits is what this process has sent and not heard to its end."""
        if self._closing:
            raise SchedulerClosed("the server is shutting down; send the request elsewhere")
        try:
            return self._admission.admit(client, tokens, max_wait)
        except Overloaded:
            self._metrics.refused()
            raise

    def submit(
        self,
        text: str,
        seed: int = 0,
        options: SpeechOptions | None = None,
        stream: StreamOptions | None = None,
        is_heard: bool = True,
        *,
        ticket: Ticket | None = None,
        keep_audio: bool = True,
    ) -> SpeechHandle:
        """Send a text; returns at once. The servers cut speech into segments as they were told at their export.

        is_heard: false: the model that answers with complete speech speaks, which decodes faulty utterances again.
        """
        ticket = ticket or self.admit(len(text))
        if is_heard:
            ticket.await_audio()
        self._metrics.submitted()
        self._metrics.begun()
        speaking: list[Future[None]] = []
        handle = SpeechHandle(self.facts.sampling_rate, (), lambda: _cancel(speaking))
        request = SpeechRequest(text, seed, options or SpeechOptions())
        speech = self._speak(handle, request, not is_heard, ticket, keep_audio)
        speaking.append(asyncio.run_coroutine_threadsafe(speech, self._loop))
        self._requests.add(speaking[0])
        speaking[0].add_done_callback(self._requests.discard)
        speaking[0].add_done_callback(lambda _: self._metrics.ended(True, handle.error))
        speaking[0].add_done_callback(lambda _: ticket.end())
        return handle

    def metrics(self) -> SchedulerMetrics:
        return self._metrics.snapshot()

    def close(self, finish: bool = True) -> None:
        """Accept no further request, and return once all have ended. finish: false: cancel them."""
        self._closing = True
        while self._requests:
            if not finish:
                _cancel(list(self._requests))
            time.sleep(0.02)
        for server in self._servers:
            self._run(server.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _connect(self, addresses: Sequence[tuple[str, bool]]) -> list[_Server]:
        try:
            from tritonclient.grpc.aio import InferenceServerClient
        except ImportError as error:
            raise BackendError(f"--upstream: {error}; install the client: pip install 'tacoglow[client]'") from error
        # By a name for several replicas, each is asked in turn.
        settings = [*GRPC_LIMITS, *GRPC_KEEPALIVE, ("grpc.lb_policy_name", "round_robin")]
        connect = partial(InferenceServerClient, channel_args=settings)
        return [_Server(address, connect(address, ssl=is_encrypted)) for address, is_encrypted in addresses]

    async def _read_facts(self) -> tuple[str, VoiceFacts, float]:
        """The voice's id and facts, and how many seconds a request may compute, from the first server that answers."""
        reasons = []
        for server in self._servers:
            try:
                config = await server.client.get_model_config(
                    self._model + STREAM_SUFFIX, as_json=True, client_timeout=CONNECT_SECONDS
                )
                told = {name: value["string_value"] for name, value in config["config"]["parameters"].items()}
                language = told.get("language") or DEFAULT_LANGUAGE
                facts = VoiceFacts(int(told["sampling_rate"]), language, told["letter"])
                return told.get("voice") or self._model, facts, float(told["max_seconds"])
            except (KeyError, ValueError) as error:
                reasons.append(f"{server.address}: not a model of this release ({error}); export it again")
            except Exception as error:  # of gRPC and of tritonclient, which share no base class
                reasons.append(f"{server.address}: {_reason(error)}")
        raise BackendError(f"--upstream: no server tells of the voice: {'; '.join(reasons)}")

    async def _speak(
        self, handle: SpeechHandle, request: SpeechRequest, is_whole: bool, ticket: Ticket, keep_audio: bool
    ) -> None:
        """Have a server speak, and the next one if it cannot be reached; the outcome is the handle's."""
        started = time.monotonic()
        reasons: list[str] = []
        received: list[NDArray[np.float32]] = []
        is_heard = False
        try:
            for server in sorted(self._servers, key=lambda each: (each.down_until > started, each.requests)):
                try:
                    async for response in self._responses(server, request, is_whole):
                        if not is_heard:
                            self._metrics.first_audio(time.monotonic() - started)
                            ticket.heard()
                            is_heard = True
                        if keep_audio:
                            received.append(response.samples)
                        if response.stop_reason:
                            self._warn(handle, response.warning)
                            utterance, audio = self._ended(request.text, received, response.stop_reason)
                            handle.finish([response.samples], [utterance], audio if keep_audio else None)
                            return
                        handle.put([response.samples])
                    raise _failed(f"{server.address}: the stream ended before the speech was complete")
                except UnreachableError as error:
                    server.down_until = time.monotonic() + DOWN_SECONDS
                    reasons.append(f"{server.address}: {error}")
                    if is_heard:
                        break  # what has been heard cannot be taken back
            message = f"no server speaks: {'; '.join(reasons)}"
            raise GatewayError(503, "upstream_unavailable", message, headers={"retry-after": "1"})
        except TextError as error:
            self._warn(handle, str(error))
            nothing = silence(NOTHING_SPOKEN_SECONDS, self.facts.sampling_rate)
            utterance, audio = self._ended(request.text, [nothing], "gate")
            handle.finish([nothing], [utterance], audio)
        except asyncio.CancelledError:
            handle.cancel()  # without effect if that is what cancelled this
            raise
        except GatewayError as error:
            logger.warning("%s: %s", self.voice_id, escape_control(error.message))
            handle.fail(error)
        except Exception as error:  # a request that the server refuses, or a defect, which its answer logs
            handle.fail(error)

    async def _responses(self, server: _Server, request: SpeechRequest, is_whole: bool) -> AsyncIterator[Response]:
        """Yield the server's responses: one if `is_whole`, after work that should not be done twice.

        Raises UnreachableError, and the local errors for the server's; also for one that is late: whether another
        server does the same work again is the client's choice, if it is little.
        """
        import grpc  # type: ignore[import-untyped]

        suffix, seconds = ("", self._whole_seconds) if is_whole else (STREAM_SUFFIX, SEGMENT_SECONDS)
        answers = server.client.stream_infer(_one(self._model + suffix, request), headers=TRACE.get())
        server.requests += 1
        try:
            while True:
                try:
                    result, error = await asyncio.wait_for(anext(answers), seconds)
                except StopAsyncIteration:
                    return
                except asyncio.TimeoutError:
                    server.down_until = time.monotonic() + DOWN_SECONDS  # it may be one that hangs
                    message = f"{server.address}: no answer within {seconds:g} s"
                    headers = NO_RETRY if is_whole else None
                    raise GatewayError(504, "upstream_timeout", message, headers=headers) from None
                except grpc.aio.AioRpcError as failure:
                    raise UnreachableError(_reason(failure)) from failure
                if error is not None:
                    raise _translate(error.message() or "no reason given")
                yield Response.read({name: result.as_numpy(name) for name in OUTPUTS})
        finally:
            server.requests -= 1
            answers.cancel()

    def _warn(self, handle: SpeechHandle, warning: str) -> None:
        """Tell what the server has not spoken, before the speech is complete."""
        if warning:
            handle.remarks = (warning,)
            logger.warning("%s: %s", self.voice_id, warning)

    def _ended(self, text: str, received: list[NDArray[np.float32]], stop_reason: str) -> tuple[Utterance, Audio]:
        """The complete speech; its intermediate results have stayed on the server."""
        nothing = np.zeros((0, 0), np.float32)
        samples = np.concatenate([nothing.ravel(), *received])
        reason = cast(StopReason, stop_reason)  # Response.read has checked it
        utterance = Utterance(text, (), nothing, nothing, nothing.ravel(), samples, reason)
        return utterance, Audio(samples, self.facts.sampling_rate, (utterance,))


def _cancel(requests: Sequence[Future[None]]) -> None:
    for request in requests:
        request.cancel()


async def _one(model: str, request: SpeechRequest) -> AsyncIterator[dict[str, Any]]:
    yield {"model_name": model, "inputs": infer_inputs(request)}


def parse_upstreams(urls: Sequence[str]) -> list[UpstreamVoice]:
    """The voices of grpc://HOST:PORT[/NAME] and grpcs://: servers with the same name are replicas.

    Raises RequestError.
    """
    addresses: dict[str, list[tuple[str, bool]]] = {}
    for url in urls:
        parsed = parse_server_url(url)
        if parsed is None or parsed[0].scheme not in ("grpc", "grpcs"):
            raise RequestError(f"--upstream {url}: expected grpc://HOST:8001, or grpcs://, and /NAME of the voice")
        parts, address = parsed
        name = parts.path.strip("/") or DEFAULT_MODEL
        addresses.setdefault(name, []).append((address, parts.scheme == "grpcs"))
    return [UpstreamVoice(name, tuple(servers)) for name, servers in addresses.items()]


def _translate(message: str) -> Exception:
    """The local error for a server's: `text: …` and other inputs by name are the request's."""
    line = " ".join(message[:500].split())
    if line.startswith("text: nothing of "):
        return TextError(line)
    return RequestError(line) if line.partition(":")[0].replace(" ", "_") in INPUTS else _failed(line)


def _failed(message: str) -> GatewayError:
    return GatewayError(502, "upstream_failed", message)


def _reason(error: Exception) -> str:
    details = getattr(error, "details", None) or getattr(error, "message", None)
    return " ".join(str(details() if callable(details) else error).split())[:300]
