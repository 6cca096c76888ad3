"""Target: what a server answers to the client, over a real connection."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tacoglow.tests.robustness.fuzz_checkpoints import JSON
from tacoglow.tests.robustness.rejections import rejects_in_one_line
from tacoglow.tests.triton_server.hostile_server import serve
from tacoglow.triton_server.client import ServerError, connect
from tacoglow.triton_server.contract import SpeechRequest

ENCODED = st.binary(max_size=32).map(lambda data: base64.b64encode(data).decode())
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "encoded": st.one_of(ENCODED, JSON),
    "sampling_rate": st.one_of(st.just(16000), JSON, st.integers()),
    "stop_reason": st.one_of(st.sampled_from(["", "gate", "frame_limit"]), JSON),
    "warning": st.one_of(st.just(""), JSON),
}
EVENTS = st.one_of(
    st.fixed_dictionaries({}, optional=FIELDS),
    st.fixed_dictionaries(FIELDS),
    st.fixed_dictionaries({"error": JSON}),
    JSON,
).map(lambda value: json.dumps(value).encode())
DATA = st.one_of(EVENTS, EVENTS, st.binary(max_size=40))
STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n"] * 6 + [b"HTTP/1.1 500 No\r\n", b"HTTP/1.1 999\r\n", b"", b"\0\xff\r\n"]
)
HEADERS = st.lists(
    st.sampled_from(
        [b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"A: b\r\n", b": \r\n"]
    ),
    max_size=2,
).map(b"".join)
CASES = st.tuples(st.booleans(), STATUS, HEADERS, st.lists(DATA, max_size=3), st.sampled_from([b"\r\n", b""]))


def try_one(case: tuple[bool, bytes, bytes, list[bytes], bytes]) -> None:
    """Send a request and read the answer: speech, or ServerError in one line."""
    is_stream, status, headers, data, end = case
    body = b"".join(b"data:" + event + b"\n\n" for event in data) if is_stream else b"".join(data)
    with serve(lambda send: send(status + headers + end + body)) as url, rejects_in_one_line(ServerError, prefix=url):
        client = connect(url, 2.0, 4.0)
        list(client.stream(SpeechRequest("Hi."))) if is_stream else client.say(SpeechRequest("Hi."))
