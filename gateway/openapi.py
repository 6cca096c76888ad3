"""The HTTP routes for tools, as OpenAPI 3.1; the WebSocket route is left out, because OpenAPI has none."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import __version__
from .boundary import OPEN_PATHS
from .encoding import CONTENT_TYPES
from .request import BodyKind, CaptionedBody, SpeechBody, SynthesizeBody
from .state import GatewayOptions

SPEECH = {
    **{media: {"schema": {"type": "string", "contentMediaType": media}} for media in CONTENT_TYPES.values()},
    "audio/pcm": {"schema": {"type": "string", "contentMediaType": "audio/pcm"}},
    "text/event-stream": {"schema": {"type": "string"}},
}
WAV = {"audio/wav": SPEECH["audio/wav"]}
JSON = {"application/json": {"schema": {"type": "object"}}}
TEXT = {"text/plain": {"schema": {"type": "string"}}}
# Path -> summary and content of an answer, and for POST the request's body.
GETS: dict[str, tuple[str, dict[str, Any]]] = {
    "/": ("A page to try the voices", {"text/html": {"schema": {"type": "string"}}}),
    "/health": ("200 if every voice speaks", JSON),
    "/readyz": ("200 if every voice speaks", JSON),
    "/healthz": ("200 while the server answers", JSON),
    "/metrics": ("Counters in Prometheus' text format", TEXT),
    "/openapi.json": ("This description", JSON),
    "/audio/models": ("Models", JSON),
    "/audio/voices": ("Voices, with their languages and rates", JSON),
    "/v1/models": ("Models", JSON),
    "/v1/models/{model}": ("One model", JSON),
    "/v1/audio/models": ("Models", JSON),
    "/v1/audio/voices": ("Voices, with their languages and rates", JSON),
}
POSTS: dict[str, tuple[str, dict[str, Any], BodyKind]] = {
    "/audio/speech": ("Speech", SPEECH, SpeechBody),
    "/v1/audio/speech": ("Speech", SPEECH, SpeechBody),
    "/dev/captioned_speech": ("Speech with the times of its words: lines of JSON", JSON, CaptionedBody),
    "/synthesize": ("Speech, as Piper's server has it", WAV, SynthesizeBody),
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def describe(options: GatewayOptions) -> dict[str, Any]:
    """Return the description of a server with these options."""
    bodies = [body for _, _, body in POSTS.values()]
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {path: {"get": _operation(path, *entry)} for path, entry in GETS.items()}
    for (path, (summary, content, _)), schema in zip(POSTS.items(), schemas, strict=True):
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {**_operation(path, summary, content), "requestBody": body}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "tacoglow serve", "version": __version__, "license": {"name": "Apache 2.0"}},
        "servers": [{"url": options.root_path or "/"}],
        "paths": paths,
        "components": {"schemas": {**components, "Error": ERROR}},
    }
    if options.api_key is not None:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
        for path in OPEN_PATHS:
            paths[path]["get"]["security"] = []
    return described


def _operation(path: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": content},
            "default": {"description": "An error", "content": error},
        },
    }
    if "{model}" in path:
        model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [model]
    return operation
