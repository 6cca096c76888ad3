"""Target: what a client sends over a WebSocket to a gateway that speaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tacoglow.tests.robustness.fuzz_checkpoints import JSON
from tacoglow.tests.robustness.fuzzed_gateway import DEFECTS, GATEWAY, TEXTS

TYPES = st.sampled_from(["session.config", "input.text", "input.flush", "input.cancel", "input.done"])
CONFIG: dict[str, st.SearchStrategy[Any]] = {
    "response_format": st.one_of(st.sampled_from(["wav", "pcm", "mp3", "opus", "flac"]), JSON),
    "sample_rate": st.one_of(st.sampled_from([8_000, 16_000, 48_000]), JSON),
    "stream_audio": st.one_of(st.booleans(), JSON),
    "speed": st.one_of(st.floats(0.25, 4.0), JSON),
    "seed": st.one_of(st.integers(0, 2**64), JSON),
    "voice": st.one_of(st.just("tiny"), JSON),
    "lexicon": st.one_of(st.dictionaries(TEXTS, TEXTS, max_size=2), JSON),
}
VALID = st.fixed_dictionaries({"type": st.just("session.config")}, optional=CONFIG)
TEXT = st.fixed_dictionaries({"type": st.just("input.text")}, optional={"text": st.one_of(TEXTS, JSON)})
MESSAGES = st.one_of(
    TEXT.map(json.dumps),
    TEXT.map(json.dumps),
    st.fixed_dictionaries({"type": TYPES}).map(json.dumps),
    st.fixed_dictionaries({"type": st.one_of(TYPES, JSON)}, optional={"text": JSON}).map(json.dumps),
    JSON.map(json.dumps),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.just(None),  # a ping
)
ENDS = st.sampled_from(["done", "done", "leave", "close"])
CASES = st.tuples(st.one_of(VALID.map(json.dumps), MESSAGES), st.lists(MESSAGES, max_size=8), ENDS)
TOLD = {"audio.start", "audio.done", "session.done", "error"}
CODES = {1000, 1007, 1008, 1009, 1011}


def try_one(case: tuple[str | bytes | None, list[str | bytes | None], str]) -> None:
    """Every answer is a message of the protocol, the end has one of its codes, and others are served meanwhile."""
    first, messages, end = case
    with connect(f"ws://127.0.0.1:{GATEWAY.port}/v1/audio/speech/stream", close_timeout=5) as client:
        try:
            for message in (first, *messages):
                client.ping() if message is None else client.send(message)
            if end == "leave":
                client.socket.close()
            elif end == "done":
                client.send(json.dumps({"type": "input.done"}))
                _read(client)
        except (ConnectionClosed, OSError):
            code = client.protocol.close_rcvd.code if client.protocol.close_rcvd else None
            assert code is None or code in CODES, code
    assert GATEWAY.request("/healthz").status == 200
    assert DEFECTS == []


def _read(client: Any) -> None:
    """Read until the session is done, or refused. Raises ConnectionClosed at its end, and AssertionError."""
    while True:
        message = client.recv(60)
        if isinstance(message, bytes):
            continue
        told = json.loads(message)
        assert told["type"] in TOLD, told
        assert told.get("code") not in ("internal_error", "synthesis_failed"), told
