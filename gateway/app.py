"""The application: routes, their errors, and what happens at its start and end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from . import speech_route, speech_socket
from .boundary import Boundary
from .errors import GatewayError, answer_defect, answer_gateway_error, answer_http_error
from .health import Health
from .metrics import CONTENT_TYPE
from .state import Gateway, GatewayOptions, gateway_of
from .voices import Voices
from .wyoming_session import serving_wyoming

# The page to try a voice has all that it needs in itself, and talks to this server alone.
PAGE_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
# What a web page of another origin may read.
EXPOSED_HEADERS = ("x-request-id", "x-tacoglow-voice", "x-tacoglow-sample-rate", "x-tacoglow-seed")


def build_app(voices: Voices, options: GatewayOptions, wyoming: socket.socket | None = None) -> ASGIApp:
    """The ASGI application of these voices. Their schedulers are closed when it ends.

    wyoming: where it also takes connections of the Wyoming protocol.
    """
    gateway = Gateway(voices, options)
    health = Health(gateway)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        starting = asyncio.create_task(health.start())
        async with AsyncExitStack() as stack:
            if wyoming is not None:
                await stack.enter_async_context(serving_wyoming(gateway, wyoming))
            yield
        starting.cancel()
        for voice in voices.voices:
            await asyncio.to_thread(voice.scheduler.close)

    cors = Middleware(
        CORSMiddleware,
        allow_origins=options.cors,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=EXPOSED_HEADERS,
    )
    app = Starlette(
        routes=_routes(),
        middleware=[cors] if options.cors else [],
        exception_handlers={
            GatewayError: answer_gateway_error,
            HTTPException: answer_http_error,
            Exception: answer_defect,
        },
        lifespan=lifespan,
    )
    app.state.gateway, app.state.health = gateway, health
    return Boundary(app, gateway, frozenset(route.path for route in _routes()))


def _routes() -> list[Route | WebSocketRoute]:
    return [
        Route("/", page),
        Route("/health", ready),
        Route("/readyz", ready),
        Route("/healthz", alive),
        Route("/metrics", metrics),
        Route("/v1/models", models),
        Route("/v1/models/{model}", model),
        *(Route(f"{prefix}/audio/models", audio_models) for prefix in ("", "/v1")),
        *(Route(f"{prefix}/audio/voices", audio_voices) for prefix in ("", "/v1")),
        *(Route(f"{prefix}/audio/speech", speech_route.speech, methods=["POST"]) for prefix in ("", "/v1")),
        *(WebSocketRoute(f"{prefix}/audio/speech/stream", speech_socket.speech_stream) for prefix in ("", "/v1")),
        Route("/dev/captioned_speech", speech_route.captioned, methods=["POST"]),
        Route("/synthesize", speech_route.synthesize, methods=["POST"]),
    ]


async def page(request: Request) -> Response:
    content = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
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


async def models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": gateway_of(request).voices.models()})


async def audio_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "models": gateway_of(request).voices.models()})


async def model(request: Request) -> Response:
    wanted, listed = request.path_params["model"], gateway_of(request).voices.models()
    for entry in listed:
        if entry["id"].lower() == wanted.lower():
            return JSONResponse(entry)
    known = ", ".join(entry["id"] for entry in listed)
    raise GatewayError(404, "model_not_found", f"model: expected one of {known}, got {wanted!r}", "model")


async def audio_voices(request: Request) -> Response:
    described = [voice.describe() for voice in gateway_of(request).voices.voices]
    return JSONResponse({"object": "list", "voices": described, "data": described})
