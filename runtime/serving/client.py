"""Requests speech from an NVIDIA Triton server over HTTP or gRPC, complete or streamed."""

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
BYTES = "BYTES"  # the protocol's name for STRING


class ServerError(ValueError):
    """The server is unreachable or rejected a request. One line: the server's address and the reason."""


def connect(url: str, timeout: float = 60.0) -> SpeechClient:
    """Create a client for http://HOST:PORT, https://, grpc:// or grpcs://; sends nothing yet.

    timeout: seconds to wait for the next response. Raises RequestError for any other URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if port is None or not parts.hostname:
        raise RequestError(f"--url {url}: expected http://HOST:8000 or grpc://HOST:8001 (https and grpcs too)")
    client = HttpClient if parts.scheme.startswith("http") else GrpcClient
    return client(parts, f"{_bracket_ipv6(parts.hostname)}:{port}", timeout)


class SpeechClient(ABC):
    """A client of one server; the protocols differ only in how they send requests."""

    def __init__(self, url: SplitResult, address: str, timeout: float) -> None:
        self._url, self._address, self._timeout = url, address, timeout
        self._is_encrypted = url.scheme.endswith("s")

    def say(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Response:
        """Request complete speech. Raises ServerError."""
        return self._infer(request, model)

    def stream(self, request: SpeechRequest, model: str = DEFAULT_MODEL) -> Iterator[Response]:
        """Yield segments while the rest is being synthesized; the last one is empty and has the stop reason.

        Closing the iterator cancels the request. Raises ServerError.
        """
        for response in self._infer_stream(request, model + STREAM_SUFFIX):
            yield response
            if response.stop_reason:
                return
        raise self._error("the stream ended before the speech was complete")

    @abstractmethod
    def _infer(self, request: SpeechRequest, model: str) -> Response: ...

    @abstractmethod
    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]: ...

    def _error(self, message: object) -> ServerError:
        line = " ".join(str(message).split()).rstrip(".") or "no answer"
        return ServerError(f"{self._url.scheme}://{self._address}{self._url.path}: {line}")

    def _unreachable(self, reason: object) -> ServerError:
        return self._error(f"no server answers there ({reason}); start one with: tritonserver --model-repository …")


class HttpClient(SpeechClient):
    def _infer(self, request: SpeechRequest, model: str) -> Response:
        from tritonclient import http
        from tritonclient.utils import InferenceServerException

        client = http.InferenceServerClient(
            self._address + self._url.path,
            ssl=self._is_encrypted,
            connection_timeout=self._timeout,
            network_timeout=self._timeout,
        )
        try:
            result = client.infer(model, _infer_inputs(http, request))
            return Response.read({name: result.as_numpy(name) for name in OUTPUTS})
        except InferenceServerException as error:
            raise self._error(error.message()) from error
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            client.close()

    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        """Read server-sent events, with samples in base64: tritonclient does not support streams over HTTP."""
        connection_type = HTTPSConnection if self._is_encrypted else HTTPConnection
        connection = connection_type(self._address, timeout=self._timeout)
        tensors = replace(request, encoding="float32").tensors()
        body = {name: _to_json(array.item()) for name, array in tensors.items()}
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
        strings = {name: np.array([event[name].encode()], object) for name in OUTPUTS if OUTPUTS[name] == "STRING"}
        rate = np.array([event["sampling_rate"]])
        return Response.read({**strings, "sampling_rate": rate, "audio": np.zeros(0, np.float32)})


class GrpcClient(SpeechClient):
    def _infer(self, request: SpeechRequest, model: str) -> Response:
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException

        with closing(grpc.InferenceServerClient(self._address, ssl=self._is_encrypted)) as client:
            try:
                result = client.infer(model, _infer_inputs(grpc, request), client_timeout=self._timeout)
            except InferenceServerException as error:
                raise self._grpc_error(error) from error
        return Response.read({name: result.as_numpy(name) for name in OUTPUTS})

    def _infer_stream(self, request: SpeechRequest, model: str) -> Iterator[Response]:
        """Open a gRPC stream for this request alone, so that closing it cancels no other request."""
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException

        results: SimpleQueue[Any] = SimpleQueue()
        is_ended = False
        client = grpc.InferenceServerClient(self._address, ssl=self._is_encrypted)
        try:
            client.start_stream(lambda result, error: results.put(error or result))
            with suppress(InferenceServerException):  # a stream that has already failed has queued its error
                client.async_stream_infer(model, _infer_inputs(grpc, request))
            while not is_ended:
                result = results.get(timeout=self._timeout)
                if isinstance(result, InferenceServerException):
                    raise self._grpc_error(result)
                response = Response.read({name: result.as_numpy(name) for name in OUTPUTS})
                is_ended = bool(response.stop_reason)
                yield response
        except Empty:
            raise self._error(f"no answer within {self._timeout:g} s") from None
        finally:
            client.stop_stream(cancel_requests=not is_ended)
            client.close()

    def _grpc_error(self, error: Any) -> ServerError:
        is_unreachable = error.status() == "StatusCode.UNAVAILABLE"
        return (self._unreachable if is_unreachable else self._error)(error.message())


def _infer_inputs(protocol: Any, request: SpeechRequest) -> list[Any]:
    """The request as InferInputs. protocol: tritonclient.http or tritonclient.grpc."""
    inputs = []
    tensors: Tensors = request.tensors()
    for name, array in tensors.items():
        data_type = BYTES if INPUTS[name] == "STRING" else INPUTS[name]
        inputs.append(protocol.InferInput(name, list(array.shape), data_type))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def _to_json(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _json_error(body: bytes) -> str:
    try:
        return str(json.loads(body.removeprefix(b"data:"))["error"])
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")[:200]


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host
