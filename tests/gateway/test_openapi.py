"""GET /openapi.json: every route, and bodies as the server reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tacoglow.gateway import app
from tacoglow.gateway.openapi import describe
from tacoglow.gateway.state import GatewayOptions
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import RunningGateway, running

WEBSOCKETS = {"/audio/speech/stream", "/v1/audio/speech/stream"}


def test_every_route_is_described(gateway: RunningGateway) -> None:
    described = gateway.request("/openapi.json").json
    assert set(described["paths"]) == set(app._paths(app._routes())) - WEBSOCKETS
    for path, operations in described["paths"].items():
        (method,) = operations
        assert gateway.request(path, {} if method == "get" else None).status == 405


def test_bodies_are_what_the_server_reads(gateway: RunningGateway) -> None:
    described = gateway.request("/openapi.json").json
    body = described["components"]["schemas"]["SpeechBody"]
    assert body["required"] == ["input"]
    assert {"mp3", "ulaw", "g711_alaw"} <= set(body["properties"]["response_format"]["enum"])
    speed = body["properties"]["speed"]
    assert (speed["minimum"], speed["maximum"], speed["default"]) == (0.25, 4.0, 1.0)
    assert gateway.speech(input="Hi.", speed=speed["maximum"] + 0.1).error["param"] == "speed"
    assert described["components"]["schemas"]["SynthesizeBody"]["required"] == ["text"]


def test_it_is_openapi(gateway: RunningGateway) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.validate(gateway.request("/openapi.json").json)


def test_key_and_root_are_stated() -> None:
    described = describe(GatewayOptions(api_key="secret", root_path="/voice"))
    assert described["servers"] == [{"url": "/voice"}]
    assert described["security"] == [{"key": []}]
    assert "secret" not in str(described)
    assert "security" not in describe(GatewayOptions())


def test_routes_that_need_no_key_are_stated(new_scheduler: Callable[[], Scheduler]) -> None:
    with running(new_scheduler(), api_key="secret") as gateway:
        for path, operations in gateway.request("/openapi.json").json["paths"].items():
            ((method, operation),) = operations.items()
            is_closed = gateway.request(path, None if method == "get" else {}).status == 401
            assert operation.get("security") == (None if is_closed else [])
