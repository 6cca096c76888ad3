"""Target: what a client of the Wyoming protocol sends to a gateway that speaks."""

from __future__ import annotations

import json
import socket
from typing import Any

from hypothesis import strategies as st

from tacoglow.tests.robustness.fuzz_checkpoints import JSON
from tacoglow.tests.robustness.fuzzed_gateway import DEFECTS, GATEWAY, TEXTS

NAMES = ["describe", "ping", "synthesize", "synthesize-start", "synthesize-chunk", "synthesize-stop", "transcribe"]
VOICES = st.one_of(st.just({"name": "tiny"}), st.just({"language": "en"}), JSON)
DATA = st.one_of(
    st.fixed_dictionaries({}, optional={"text": TEXTS, "voice": VOICES}),
    st.fixed_dictionaries({"text": TEXTS}),
    JSON,
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event as the protocol writes it, or with a wrong length."""
    head: dict[str, Any] = {"type": draw(st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), JSON))}
    data, payload = json.dumps(draw(DATA)).encode(), draw(st.binary(max_size=20))
    if draw(st.booleans()):
        head["data"], data = json.loads(data), b""
    wrong = draw(st.sampled_from([0] * 12 + [-1, 1, 10**6, 10**12]))
    if data:
        head["data_length"] = len(data) + wrong
    if payload:
        head["payload_length"] = draw(st.sampled_from([len(payload)] * 6 + [-1, 2**63]))
    return json.dumps(head).encode() + b"\n" + data + payload


CASES = st.tuples(
    st.lists(st.one_of(events(), events(), events(), st.binary(max_size=40)), max_size=6),
    st.sampled_from(["read", "read", "leave"]),
)
TOLD = {"info", "pong", "audio-start", "audio-chunk", "audio-stop", "synthesize-stopped", "error"}


def try_one(case: tuple[list[bytes], str]) -> None:
    """Every answer is an event of the protocol, and others are served meanwhile."""
    sent, end = case
    with socket.create_connection(("127.0.0.1", GATEWAY.wyoming_port), 60) as client:
        try:
            for event in sent:
                client.sendall(event)
            if end == "read":
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as stream:
                    while line := stream.readline():
                        head = json.loads(line)
                        assert head["type"] in TOLD, head
                        stream.read(head.get("data_length", 0) + head.get("payload_length", 0))
        except OSError:
            pass  # the server has closed the connection
    assert GATEWAY.request("/healthz").status == 200
    assert DEFECTS == []
