"""The application: routes, their errors, and what happens at its start and end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from ..text.errors import quote
from . import speech_route, speech_socket
from .boundary import Boundary
from .bundles import Bundles
from .connections import Connections
from .errors import GatewayError, answer_defect, answer_gateway_error, answer_http_error
from .health import Failures, Health
from .metrics import CONTENT_TYPE
from .openapi import describe
from .state import Gateway, GatewayOptions, gateway_of
from .upkeep import upkeep
from .voices import Voices
from .wyoming_session import serving_wyoming

# The demo page is self-contained, and talks to this server alone.
PAGE_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
HIDDEN_KEY = "<label hidden>Key"  # of the page: a field that is shown if the server needs a key
START_SECONDS = 10.0  # connections wait this long for the voices' first words; then requests are answered with 503
# Headers that a web page of another origin may read.
EXPOSED_HEADERS = (
    "etag",
    "retry-after",
    "www-authenticate",
    "x-request-id",
    "x-should-retry",
    *(f"x-tacoglow-{name}" for name in ("voice", "sample-rate", "seed", "speed", "warning", "quality", "ignored")),
)


def build_app(
    voices: Voices,
    options: GatewayOptions,
    connections: Connections,
    wyoming: socket.socket | None = None,
    on_start: Callable[[Failures], None] = lambda failures: None,
    bundles: Bundles | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ASGIApp:
    """The ASGI application of these voices. Their schedulers are closed when it ends.

    wyoming: where it also takes connections of the Wyoming protocol. on_start: called once every voice was asked to
    speak, with those that do not. bundles: where they come from, to be read again at SIGHUP, of which `report` tells.
    """
    gateway = Gateway(voices, options, connections)
    health = Health(gateway)

    async def start() -> None:
        on_start(await health.start())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        starting = asyncio.create_task(start())
        # The server takes connections once this is over; until then they wait.
        await asyncio.wait([starting], timeout=START_SECONDS)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(upkeep(gateway, health, bundles, report))
            if wyoming is not None:
                await stack.enter_async_context(serving_wyoming(gateway, wyoming))
            yield
        starting.cancel()
        gateway.openers.shutdown(wait=False, cancel_futures=True)  # or the process would open all that waits
        for voice in gateway.voices.voices:
            if voice.scheduler is not None:
                await asyncio.to_thread(voice.scheduler.close)

    routes = _routes()
    app = Starlette(
        routes=routes,
        exception_handlers={
            GatewayError: answer_gateway_error,
            HTTPException: answer_http_error,
            Exception: answer_defect,
        },
        lifespan=lifespan,
    )
    app.state.gateway, app.state.health = gateway, health
    return Boundary(app, gateway, frozenset(_paths(routes)), partial(_with_cors, options.cors))


def _with_cors(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    """The application, whose answers web pages of these origins may read."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=EXPOSED_HEADERS,
    )


def _routes() -> list[BaseRoute]:
    audio = [
        Route("/audio/models", audio_models),
        Route("/audio/voices", audio_voices),
        Route("/audio/speech", speech_route.speech, methods=["POST"]),
        WebSocketRoute("/audio/speech/stream", speech_socket.speech_stream),
    ]
    return [
        Route("/", page),
        Route("/health", ready),
        Route("/readyz", ready),
        Route("/healthz", alive),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/dev/captioned_speech", speech_route.captioned, methods=["POST"]),
        Route("/synthesize", speech_route.synthesize, methods=["POST"]),
        *audio,
        Mount("/v1", routes=[Route("/models", models), Route("/models/{model}", model), *audio]),
    ]


def _paths(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[str]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _paths(route.routes, prefix + route.path)
        elif isinstance(route, (Route, WebSocketRoute)):
            yield prefix + route.path


async def page(request: Request) -> Response:
    content = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    if gateway_of(request).options.api_key is not None:
        content = content.replace(HIDDEN_KEY, HIDDEN_KEY.replace(" hidden", ""))
    return HTMLResponse(content, headers={"content-security-policy": PAGE_POLICY})


async def ready(request: Request) -> Response:
    """200 if every voice speaks."""
    health: Health = request.app.state.health
    problem = await health.problem()
    return JSONResponse({"status": problem or "ok"}, 503 if problem else 200)


async def alive(request: Request) -> Response:
    """200 while the server answers at all."""
    return JSONResponse({"status": "ok"})


async def metrics(request: Request) -> Response:
    gateway = gateway_of(request)
    return PlainTextResponse(gateway.metrics.render(gateway.voices.voices), media_type=CONTENT_TYPE)


async def openapi(request: Request) -> Response:
    return JSONResponse(describe(gateway_of(request).options))


async def models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": _started(request).voices.models()})


async def audio_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "models": _started(request).voices.models()})


async def model(request: Request) -> Response:
    wanted, listed = request.path_params["model"], _started(request).voices.models()
    for entry in listed:
        if entry["id"].lower() == wanted.lower():
            return JSONResponse(entry)
    known = ", ".join(entry["id"] for entry in listed)
    raise GatewayError(404, "model_not_found", f"model: expected one of {known}, got {quote(wanted)}", "model")


async def audio_voices(request: Request) -> Response:
    described = _started(request).voices.describe()
    return JSONResponse({"object": "list", "voices": described, "data": described})


def _started(request: Request) -> Gateway:
    """The server, once its voices have started. Raises GatewayError until then."""
    gateway = gateway_of(request)
    gateway.check_started()
    return gateway
