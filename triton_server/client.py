"""Requests speech from an NVIDIA Triton server over HTTP or gRPC, complete or streamed."""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NoReturn
from urllib.parse import SplitResult, quote, urlsplit

import numpy as np

from ..runtime.errors import RequestError
from . import DEFAULT_MODEL, STREAM_SUFFIX
from .contract import INPUTS, OUTPUTS, Response, SpeechRequest
from .mailbox import Mailbox, read_in_thread

PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}
BYTES = "BYTES"  # the protocol's name for STRING
RESPONSE_BYTES_MAX = 1 << 27  # of one response: 20 minutes of speech at 22,050 Hz
GRPC_LIMITS = [("grpc.max_receive_message_length", RESPONSE_BYTES_MAX), ("grpc.max_send_message_length", -1)]
ERROR_BYTES_MAX = 1 << 16  # of an error's body
MESSAGE_CHARACTERS_MAX = 500  # of a server's message
NOT_A_RESPONSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class ServerError(ValueError):
    """The server is unreachable or rejected a request. One line: the server's address and the reason."""


def connect(url: str, timeout: float = 60.0, max_seconds: float = 600.0) -> SpeechClient:
    """Create a client for http://HOST:PORT, https://, grpc:// or grpcs://; sends nothing yet.

    timeout: seconds to wait for the next complete response. max_seconds: longest time of a whole request.
    Raises RequestError for any other URL.
    """
    parsed = parse_server_url(url)
    if parsed is None:
        raise RequestError(f"--url {url}: expected http://HOST:8000 or grpc://HOST:8001 (https and grpcs too)")
    parts, address = parsed
    client = HttpClient if parts.scheme.startswith("http") else GrpcClient
    return client(parts, address, timeout, max_seconds)


SCALARS = [name for name in OUTPUTS if name != "audio"]


class SpeechClient(ABC):
    """A client of one server; the protocols differ only in how they send requests."""

    def __init__(self, url: SplitResult, address: str, timeout: float, max_seconds: float) -> None:
        self._url, self._address, self._timeout, self._max_seconds = url, address, timeout, max_seconds
        self._is_encrypted = url.scheme.endswith("s")

    def say(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Response:
        """Request complete speech. Raises ServerError."""
        return self._infer(request, model)

    def stream(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Iterator[Response]:
        """Yield segments while the rest is being synthesized; the last one is empty and has the stop reason.

        Closing the iterator cancels the request. Raises ServerError.
        """
        rate = None
        for response in self._infer_stream(request, model + STREAM_SUFFIX):
            rate = rate or response.sampling_rate
            if response.sampling_rate != rate:
                raise self._error(f"the sampling rate changed from {rate} to {response.sampling_rate} Hz in the stream")
            yield response
            if response.stop_reason:
                return
        raise self._error("the stream ended before the speech was complete")

    def letter(self, model: str = DEFAULT_MODEL) -> str:
        """Ask for a letter or phone of the voice, which its export put into the parameters. Raises ServerError."""
        config = self._config(model)
        try:
            return str(config["parameters"]["letter"]["string_value"])
        except (LookupError, TypeError):
            raise self._error(f"{model}: not a model of export-triton") from None

    @abstractmethod
    def _config(self, model: str) -> Any: ...

    @abstractmethod
    def _infer(self, request: SpeechRequest, model: str) -> Response: ...

    @abstractmethod
    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]: ...

    def _error(self, message: object) -> ServerError:
        line = " ".join(str(message)[:MESSAGE_CHARACTERS_MAX].split()).rstrip(".") or "no answer"
        return ServerError(f"{self._url.scheme}://{self._address}{self._url.path}: {line}")

    def _read(self, tensors: Mapping[str, Any]) -> Response:
        try:
            return Response.read(tensors)
        except NOT_A_RESPONSE as error:
            self._reject(error)

    def _reject(self, error: Exception) -> NoReturn:
        raise self._error(f"not a response of a tacoglow voice: {_describe(error)}; is --url right?") from error

    def _too_late(self) -> ServerError:
        return self._error(f"no complete answer within {self._timeout:g} s, or {self._max_seconds:g} s in total")

    def _unreachable(self, reason: object) -> ServerError:
        return self._error(f"no server answers there ({reason}); start one with: tritonserver --model-repository …")


class HttpClient(SpeechClient):
    """Uses Triton's JSON endpoints, with samples in base64: tritonclient does not support streams over HTTP, and
    does not bound responses."""

    def _config(self, model: str) -> Any:
        return self._parse(next(self._fetch("GET", model, "config")))

    def _infer(self, request: SpeechRequest, model: str) -> Response:
        return next(self._exchange(request, model, "generate"))

    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        return self._exchange(request, model, "generate_stream")

    def _exchange(self, request: SpeechRequest, model: str, endpoint: str) -> Iterator[Response]:
        tensors = replace(request, encoding="float32").tensors()
        body = json.dumps({name: _to_json(array.item()) for name, array in tensors.items()})
        with closing(self._fetch("POST", model, endpoint, body)) as bodies:
            for data in bodies:
                yield self._event(self._parse(data))

    def _fetch(self, method: str, model: str, endpoint: str, body: str | None = None) -> Generator[bytes, None, None]:
        connection_type = HTTPSConnection if self._is_encrypted else HTTPConnection
        connection = connection_type(self._address, timeout=self._timeout)
        path = f"{self._url.path.rstrip('/')}/v2/models/{quote(model, safe='')}/{endpoint}"

        def abort() -> None:
            for sock in sockets:  # ends a read in the other thread, also below an encrypted connection
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

        def receive() -> Iterator[bytes]:
            with closing(connection):
                connection.connect()
                sockets.append(connection.sock)  # the connection forgets it when the server announces to close it
                yield from self._receive(connection, method, path, body)

        sockets: list[socket.socket] = []
        try:
            with closing(read_in_thread(receive(), abort, self._timeout, self._max_seconds)) as bodies:
                yield from bodies
        except TimeoutError as error:
            raise self._too_late() from error
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def _receive(self, connection: HTTPConnection, method: str, path: str, body: str | None) -> Iterator[bytes]:
        """Yield the JSON of every response: a complete body, or the server-sent events of a stream."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered without reading the whole request
            connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise self._error(_json_error(answer.read(ERROR_BYTES_MAX)))
        if not path.endswith("_stream"):
            yield self._check_size(answer.read(RESPONSE_BYTES_MAX + 1))
            return
        while line := self._check_size(answer.readline(RESPONSE_BYTES_MAX + 1)):
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:")

    def _check_size(self, data: bytes) -> bytes:
        if len(data) > RESPONSE_BYTES_MAX:
            raise self._error(f"a response exceeds {RESPONSE_BYTES_MAX >> 20} MiB; send a shorter text")
        return data

    def _parse(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except NOT_A_RESPONSE as error:
            self._reject(error)

    def _event(self, event: Any) -> Response:
        try:
            message = event.get("error")
            tensors = {} if message else {name: np.array([_from_json(event[name])], object) for name in SCALARS}
        except NOT_A_RESPONSE as error:
            self._reject(error)
        if message:
            raise self._error(message)
        return self._read({**tensors, "audio": np.zeros(0, np.float32)})


class GrpcClient(SpeechClient):
    def _config(self, model: str) -> Any:
        from tritonclient.utils import InferenceServerException

        with closing(self._open()) as client:
            try:
                answer = client.get_model_config(model, as_json=True, client_timeout=self._timeout)
            except InferenceServerException as error:
                raise self._grpc_error(error) from error
        return answer.get("config")

    def _infer(self, request: SpeechRequest, model: str) -> Response:
        from tritonclient.utils import InferenceServerException

        with closing(self._open()) as client:
            try:
                result = client.infer(model, infer_inputs(request), client_timeout=self._timeout)
            except InferenceServerException as error:
                raise self._grpc_error(error) from error
        return self._result(result)

    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        """Open a gRPC stream for this request alone, so that closing it cancels no other request."""
        from tritonclient.utils import InferenceServerException

        results = Mailbox[Any](self._timeout, self._max_seconds)
        is_ended = False
        client = self._open()
        try:
            client.start_stream(lambda result, error: results.put(error or result))
            with suppress(InferenceServerException):  # a stream that has already failed has queued its error
                client.async_stream_infer(model, infer_inputs(request))
            while not is_ended:
                result = results.get()
                if isinstance(result, InferenceServerException):
                    raise self._grpc_error(result)
                response = self._result(result)
                is_ended = bool(response.stop_reason)
                yield response
        except TimeoutError as error:
            raise self._too_late() from error
        finally:
            results.close()
            client.stop_stream(cancel_requests=not is_ended)
            client.close()

    def _open(self) -> Any:
        from tritonclient import grpc

        return grpc.InferenceServerClient(self._address, ssl=self._is_encrypted, channel_args=GRPC_LIMITS)

    def _result(self, result: Any) -> Response:
        try:
            tensors = {name: result.as_numpy(name) for name in OUTPUTS}
        except Exception as error:  # tritonclient checks nothing that a server sends
            self._reject(error)
        return self._read(tensors)

    def _grpc_error(self, error: Any) -> ServerError:
        is_unreachable = error.status() == "StatusCode.UNAVAILABLE"
        return (self._unreachable if is_unreachable else self._error)(error.message())


def infer_inputs(request: SpeechRequest) -> list[Any]:
    """The request as inputs of tritonclient's gRPC clients."""
    from tritonclient.grpc import InferInput

    inputs = []
    for name, array in request.tensors().items():
        data_type = BYTES if INPUTS[name] == "STRING" else INPUTS[name]
        inputs.append(InferInput(name, list(array.shape), data_type))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def parse_server_url(url: str) -> tuple[SplitResult, str] | None:
    """The parts of http://HOST[:PORT], https://, grpc:// or grpcs://, and HOST:PORT; None for any other URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not parts.hostname:
        return None
    return parts, f"{bracket_ipv6(parts.hostname)}:{port}"


def _to_json(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _from_json(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _describe(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, LookupError) else str(error)


def _json_error(body: bytes) -> str:
    try:
        return str(json.loads(body.removeprefix(b"data:"))["error"])
    except NOT_A_RESPONSE:
        return body.decode(errors="replace")[:200]


def bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host
