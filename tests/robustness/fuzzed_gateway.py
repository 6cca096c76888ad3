"""A gateway of this process that speaks with the tiny voice, for the targets that talk to it."""

from __future__ import annotations

import atexit
import logging
from contextlib import ExitStack

from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.tests.gateway.running import RunningGateway, running
from tacoglow.tests.robustness.fuzzed_bundle import tiny_bundle

MAX_CHARACTERS = 300
TEXTS = st.one_of(
    st.sampled_from(
        ["Hi. ", "Hello world", ". ", "?!", "{HH AH0} ", "{", "[pause 0.1s]", "<speak>Hi.</speak>", "Dr. "]
    ),
    st.text("ab .,!?[]{}<>&\"'0123456789$%\n", max_size=40),
    st.text(max_size=20),
    st.just("x" * (MAX_CHARACTERS + 1)),
)
DEFECTS: list[str] = []
_STACK = ExitStack()


class _Defects(logging.Handler):
    """Collects what the server logs with a traceback: no client may cause that."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            DEFECTS.append(self.format(record))


def _start() -> RunningGateway:
    for name in ("tacoglow.serve", "uvicorn.error"):
        logging.getLogger(name).addHandler(_Defects())
    scheduler = Scheduler(Synthesizer.load(tiny_bundle(), "onnxruntime", threads=1))
    atexit.register(_STACK.close)
    return _STACK.enter_context(running(scheduler, max_wait=60.0, max_characters=MAX_CHARACTERS))


GATEWAY = _start()
