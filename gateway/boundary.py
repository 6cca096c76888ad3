"""Gives every request an id, checks its host and origin, asks it for the key, and counts it."""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import GatewayError
from .origins import check_headers
from .state import Gateway
from .tracing import TRACE, read_trace

# Clients such as Open WebUI ask these without a key, and so do Prometheus and Kubernetes.
OPEN_PATHS = frozenset(
    "/ /health /readyz /healthz /metrics /openapi.json "
    "/v1/models /v1/audio/models /v1/audio/voices /audio/voices /audio/models".split()
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def is_key(expected: str, given: str) -> bool:
    """Compare keys in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def bearer_key(headers: Headers) -> str:
    """The key that a request brings; empty if it has none."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


class Boundary:
    """The outermost application: gives each answer its id, checks the headers, asks for the key, counts."""

    def __init__(
        self, app: ASGIApp, gateway: Gateway, routes: frozenset[str], with_cors: Callable[[ASGIApp], ASGIApp]
    ) -> None:
        """with_cors: adds the headers by which pages of allowed origins may read the answers, errors too."""
        self._app, self._with_cors = with_cors(app), with_cors
        self._gateway, self._routes = gateway, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        TRACE.set(read_trace(headers))
        if scope["type"] == "websocket":  # its route asks for the key, and counts
            scope["path"] = self._below_root(scope["path"])
            await self._app(scope, receive, send)
            return
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        path = scope["path"] = self._below_root(scope["path"])
        route = path if path in self._routes else "other"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
                audio_format = scope.get("tacoglow.format", "")
                self._gateway.metrics.request(route, audio_format, message["status"])
            await send(message)

        app = self._app
        try:
            check_headers(headers, self._gateway.options)
            self._check_key(scope["method"], path, headers)
        except GatewayError as error:
            is_foreign = error.code == "origin_not_allowed"
            app = error.response() if is_foreign else self._with_cors(error.response())
        await app(scope, receive, send_with_id)

    def _below_root(self, path: str) -> str:
        """The path as the routes have it, whether or not a proxy has removed the root path.

        Clients that join an address and a path make "//v1/models" and "/v1/models/".
        """
        path = "/" + "/".join(filter(None, path.split("/")))
        root = self._gateway.options.root_path
        return path.removeprefix(root) or "/" if (path + "/").startswith(root + "/") else path

    def _check_key(self, method: str, path: str, headers: Headers) -> None:
        """Raises GatewayError unless the request brings the key or needs none."""
        key = self._gateway.options.api_key
        is_open = key is None or method == "OPTIONS" or (method in ("GET", "HEAD") and path in OPEN_PATHS)
        if key is not None and not is_open and not is_key(key, bearer_key(headers)):
            raise GatewayError(
                401,
                "invalid_api_key",
                "Authorization: expected 'Bearer KEY' with this server's key; it is in its TACOGLOW_API_KEY",
                headers={"www-authenticate": "Bearer"},
            )
