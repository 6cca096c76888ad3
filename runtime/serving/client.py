"""Speech from a voice that an NVIDIA Triton server serves, over HTTP or gRPC, whole or streamed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from ..errors import RequestError
from . import DEFAULT_MODEL, STREAM_SUFFIX
from .contract import INPUTS, OUTPUTS, Response, SpeechRequest, Tensors

PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}
BYTES = "BYTES"  # what the protocol calls a STRING


class ServerError(ValueError):
    """A server that cannot be reached, or that refused a request; one line with its address and its own words."""


def connect(url: str, timeout: float = 60.0) -> SpeechClient:
    """A client for http://HOST:PORT, https://, grpc:// or grpcs://. timeout: seconds to wait for the next response.

    Nothing is sent yet. Raises RequestError for a URL that is none of these.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if port is None or not parts.hostname:
        raise RequestError(f"--url {url}: expected http://HOST:8000 or grpc://HOST:8001 (https and grpcs too)")
    kind = HttpClient if parts.scheme.startswith("http") else GrpcClient
    return kind(parts, f"{_bracketed(parts.hostname)}:{port}", timeout)


class SpeechClient(ABC):
    def __init__(self, url: SplitResult, address: str, timeout: float) -> None:
        self._url, self._address, self._timeout = url, address, timeout
        self._is_encrypted = url.scheme.endswith("s")

    def say(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Response:
        """The whole speech. Raises ServerError."""
        return self._whole(request, model)

    def stream(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Iterator[Response]:
        """Chunks as they are made, the last one empty; closing the iterator cancels the request. Raises ServerError."""
        for response in self._streamed(request, model + STREAM_SUFFIX):
            yield response
            if response.stop_reason:
                return
        raise self._error("the stream ended before the speech did")

    @abstractmethod
    def _whole(self, request: SpeechRequest, model: str) -> Response: ...

    @abstractmethod
    def _streamed(self, request: SpeechRequest, model: str) -> Iterator[Response]: ...

    def _error(self, message: object) -> ServerError:
        words = " ".join(str(message).split()).rstrip(".") or "no answer"
        return ServerError(f"{self._url.scheme}://{self._address}{self._url.path}: {words}")

    def _unreachable(self, reason: object) -> ServerError:
        return self._error(f"no server answers there ({reason}); start one: tritonserver --model-repository …")


class HttpClient(SpeechClient):
    def _whole(self, request: SpeechRequest, model: str) -> Response:
        from tritonclient import http
        from tritonclient.utils import InferenceServerException

        client = http.InferenceServerClient(
            self._address + self._url.path,
            ssl=self._is_encrypted,
            connection_timeout=self._timeout,
            network_timeout=self._timeout,
        )
        try:
            result = client.infer(model, _inputs(http, request))
            return Response.read({name: result.as_numpy(name) for name in OUTPUTS})
        except InferenceServerException as error:
            raise self._error(error.message()) from error
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            client.close()

    def _streamed(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        """Server-sent events, in which samples are base64: tritonclient has no HTTP streams."""
        kind = HTTPSConnection if self._is_encrypted else HTTPConnection
        connection = kind(self._address, timeout=self._timeout)
        tensors = replace(request, encoding="float32").tensors()
        body = {name: _plain(array.item()) for name, array in tensors.items()}
        path = f"{self._url.path.rstrip('/')}/v2/models/{model}/generate_stream"
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._error(_json_error(answer.read()))
            for line in answer:
                if line.startswith(b"data:"):
                    yield self._event(line.removeprefix(b"data:"))
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _event(self, data: bytes) -> Response:
        event = json.loads(data)
        if "error" in event:
            raise self._error(event["error"])
        words = {name: np.array([event[name].encode()], object) for name in OUTPUTS if OUTPUTS[name] == "STRING"}
        rate = np.array([event["sampling_rate"]])
        return Response.read({**words, "sampling_rate": rate, "audio": np.zeros(0, np.float32)})


class GrpcClient(SpeechClient):
    def _whole(self, request: SpeechRequest, model: str) -> Response:
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException

        with closing(grpc.InferenceServerClient(self._address, ssl=self._is_encrypted)) as client:
            try:
                result = client.infer(model, _inputs(grpc, request), client_timeout=self._timeout)
            except InferenceServerException as error:
                raise self._grpc_error(error) from error
        return Response.read({name: result.as_numpy(name) for name in OUTPUTS})

    def _streamed(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        """A gRPC stream of its own, so that giving it up cancels this request and no other."""
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException

        arrivals: SimpleQueue[Any] = SimpleQueue()
        is_ended = False
        client = grpc.InferenceServerClient(self._address, ssl=self._is_encrypted)
        try:
            client.start_stream(lambda result, error: arrivals.put(error or result))
            with suppress(InferenceServerException):  # a stream that has failed already has put its reason there
                client.async_stream_infer(model, _inputs(grpc, request))
            while not is_ended:
                arrival = arrivals.get(timeout=self._timeout)
                if isinstance(arrival, InferenceServerException):
                    raise self._grpc_error(arrival)
                response = Response.read({name: arrival.as_numpy(name) for name in OUTPUTS})
                is_ended = bool(response.stop_reason)
                yield response
        except Empty:
            raise self._error(f"no answer within {self._timeout:g} s") from None
        finally:
            client.stop_stream(cancel_requests=not is_ended)
            client.close()

    def _grpc_error(self, error: Any) -> ServerError:
        is_absent = error.status() == "StatusCode.UNAVAILABLE"
        return (self._unreachable if is_absent else self._error)(error.message())


def _inputs(protocol: Any, request: SpeechRequest) -> list[Any]:
    """tritonclient's inputs; protocol is its http or its grpc module."""
    inputs = []
    tensors: Tensors = request.tensors()
    for name, array in tensors.items():
        data_type = BYTES if INPUTS[name] == "STRING" else INPUTS[name]
        inputs.append(protocol.InferInput(name, list(array.shape), data_type))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _json_error(body: bytes) -> str:
    try:
        return str(json.loads(body.removeprefix(b"data:"))["error"])
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")[:200]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
