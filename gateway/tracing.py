"""W3C trace context, passed on unchanged to upstream servers, and shown in the log. This server makes no spans."""

from __future__ import annotations

import copy
import logging
import re
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers
from uvicorn.config import LOGGING_CONFIG

# Of the request that is being answered in this task: traceparent, and tracestate if there is one.
TRACE: ContextVar[dict[str, str] | None] = ContextVar("trace", default=None)
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,256})?")
_STATE = re.compile("[ -~]{1,2048}")  # what gRPC's metadata can have; the standard asks for 512 characters


def read_trace(headers: Headers) -> dict[str, str] | None:
    """Return a request's trace context as headers; None if it has none, or one that the standard calls invalid."""
    parent, state = headers.get("traceparent", ""), ",".join(headers.getlist("tracestate"))
    match = _PARENT.fullmatch(parent)
    if match is None or (match[1] == "00" and match[2]):  # later versions may add fields
        return None
    return {"traceparent": parent, **({"tracestate": state} if _STATE.fullmatch(state) else {})}


class TraceFilter(logging.Filter):
    """Adds the id of the request's trace to a record, as its `trace`."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = TRACE.get()
        record.trace = f" trace={trace['traceparent'].split('-')[1]}" if trace else ""
        return True


def log_config() -> dict[str, Any]:
    """Uvicorn's log, whose lines of requests end with the id of their trace."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"trace": {"()": TraceFilter}}
    config["handlers"]["access"]["filters"] = ["trace"]
    config["formatters"]["access"]["fmt"] += "%(trace)s"
    return config
