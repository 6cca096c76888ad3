"""W3C trace context: which headers are valid, the log, and what the server behind is told."""

from __future__ import annotations

import logging
import logging.config
import time
from typing import Any

import pytest
from starlette.datastructures import Headers

from tacoglow.gateway.tracing import TRACE, TraceFilter, log_config, read_trace

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{ID}-{SPAN}-01"


def read(*headers: tuple[str, str]) -> dict[str, str] | None:
    return read_trace(Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in headers]))


def test_headers_are_passed_on_unchanged() -> None:
    state = ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert read(("traceparent", PARENT), state) == {"traceparent": PARENT, "tracestate": state[1]}
    assert read(("traceparent", PARENT)) == {"traceparent": PARENT}
    two = read(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2"))
    assert two == {"traceparent": PARENT, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    ("parent", "is_valid"),
    [
        (PARENT, True),
        (f"00-{ID}-{SPAN}-01-more", False),
        (f"cc-{ID}-{SPAN}-01-more", True),  # a later version may have further fields
        (f"ff-{ID}-{SPAN}-01", False),
        (f"00-{ID.upper()}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{ID}-{'0' * 16}-01", False),
        (f"00-{ID}-{SPAN}", False),
        (f"00-{ID}-{SPAN}-01\n", False),
        ("", False),
    ],
)
def test_invalid_contexts_are_left_out(parent: str, is_valid: bool) -> None:
    """https://www.w3.org/TR/trace-context/, sections 3.2 and 4.3."""
    assert read(("traceparent", parent), ("tracestate", "a=1")) == (
        {"traceparent": parent, "tracestate": "a=1"} if is_valid else None
    )


@pytest.mark.parametrize("state", ["a=\x01", "a=ü", "a=" + "b" * 4_000])
def test_a_state_that_grpc_cannot_carry_is_left_out(state: str) -> None:
    assert read(("traceparent", PARENT), ("tracestate", state)) == {"traceparent": PARENT}


def test_the_log_has_the_id() -> None:
    config = log_config()["formatters"]["access"]
    formatter = logging.config.DictConfigurator({"version": 1}).configure_formatter({**config, "use_colors": False})
    arguments = ("127.0.0.1:5", "POST", "/v1/audio/speech", "1.1", 200)
    lines = []
    for trace in (None, {"traceparent": PARENT}):
        token = TRACE.set(trace)
        record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', arguments, None)
        assert TraceFilter().filter(record)
        lines.append(formatter.format(record))
        TRACE.reset(token)
    assert lines[0].endswith('"POST /v1/audio/speech HTTP/1.1" 200 OK')
    assert lines[1] == f"{lines[0]} trace={ID}"


def test_the_server_behind_is_told() -> None:
    pytest.importorskip("tritonclient.grpc")
    from tacoglow.gateway.upstream import Upstream, parse_upstreams

    from .fake_triton import FakeTriton, failure, serving
    from .running import running

    seen: list[dict[str, str]] = []

    class Server(FakeTriton):
        def answer(self, model: str, headers: dict[str, str]) -> Any:
            seen.append(headers)
            return failure("text: enough seen")

    with serving(Server()) as urls, running(Upstream(parse_upstreams(urls)[0]), wait=False) as gateway:
        deadline = time.monotonic() + 30
        while gateway.speech(input="a").status == 503:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        seen.clear()
        headers = {"traceparent": PARENT, "tracestate": "a=1"}
        assert gateway.request("/v1/audio/speech", {"input": "Hi."}, headers).status == 400
        assert gateway.request("/v1/audio/speech", {"input": "Hi."}).status == 400
    with_trace, without = seen
    assert (with_trace["traceparent"], with_trace["tracestate"]) == (PARENT, "a=1")
    assert "traceparent" not in without
