"""The clocks that the kernel records with TRACE: where it writes them, and the tool's buffer for them."""

from __future__ import annotations

import ctypes
import re

import numpy as np

from tacoglow.runtime.backends.cuda.fused.kernel import source
from tacoglow.tools.gpu.fused import EVENTS, trace_shape

from .cases import Case
from .emulated import EmulatedDecoder, build

MARGIN = 4  # rows on either side of the buffer


def test_clocks_fill_the_buffer_and_stay_within_it() -> None:
    case = Case.random()
    plan, steps = case.plan(), len(case.dropout)
    library = build(plan, source="#define TRACE 1\n" + source())
    rows, blocks, events = trace_shape(plan, steps)
    memory = np.zeros((rows + 2 * MARGIN, blocks, events), np.uint32)
    library.trace_into(ctypes.c_void_p(memory[MARGIN:].ctypes.data))
    EmulatedDecoder(library, plan, case.weights, case.encoded, case.state).launch(case.dropout)
    trace = memory[MARGIN:-MARGIN]
    assert trace[:-1].reshape(steps, -1).any(1).all()
    assert trace[-1].any(0).tolist() == [True] + [False] * (events - 1)  # the last turn only projects
    assert not memory[:MARGIN].any()
    assert not memory[-MARGIN:].any()


def test_the_tool_names_the_kernels_events() -> None:
    (listed,) = re.findall(r"enum Event \{[^\n]*\n(.*?)EVENTS\n\}", source(), re.DOTALL)
    names = [name.strip().removesuffix("_SEEN").lower() for name in listed.split(",") if name.strip()]
    assert names == EVENTS
