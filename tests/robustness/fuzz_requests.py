"""Target: the input tensors of a request to a server."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.tests.robustness.fuzzed_bundle import FRAMES, tiny_bundle
from tacoglow.tests.robustness.rejections import rejects_in_one_line
from tacoglow.text import describe_dropped
from tacoglow.triton_server.contract import INPUTS, RequestLimits, numpy_type, read_request

SPEAKER = Synthesizer.load(tiny_bundle(), "onnxruntime", threads=1)
LIMITS = RequestLimits(max_characters=200, max_frames=FRAMES, max_seconds=4.0)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text("abc .,!?[]{}0123456789$%", max_size=60),
    st.sampled_from(["[pause 0.5s] Hi.", "[pause 1e9s]", "[pause", "{HH AH0", "9" * 150, "\0", "a" * 201, "\ud7ff"]),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
BYTES = st.one_of(TEXTS, st.binary(max_size=20), st.sampled_from([b"wav", b"int16", b"float32", b"mp3"]))
FLOATS = st.one_of(st.floats(), st.floats(0.0, 2.0), st.sampled_from([0.5, 1.0, 10.0, 1e308]))


def _values(data_type: str) -> st.SearchStrategy[Any]:
    if data_type == "STRING":
        return BYTES
    if data_type == "BOOL":
        return st.booleans()
    if data_type.startswith("FP"):
        return FLOATS
    limits = np.iinfo(numpy_type(data_type))
    numbers = st.integers(int(limits.min), int(limits.max))
    return st.one_of(numbers, st.integers(0, 4), st.sampled_from([int(limits.max), int(limits.min)]))


def _tensor(name: str) -> st.SearchStrategy[Any]:
    one = _values(INPUTS[name]).map(lambda value: np.array([[value]], numpy_type(INPUTS[name])))
    return st.one_of(*[one] * 9, st.sampled_from([np.zeros(0, numpy_type(INPUTS[name])), np.array([[0, 1]])]))


CASES = st.fixed_dictionaries(
    {"text": _tensor("text")}, optional={name: _tensor(name) for name in INPUTS if name != "text"}
)


def try_one(case: dict[str, Any]) -> None:
    """Read the request and speak it: it works, or is rejected with ValueError in one line."""
    with rejects_in_one_line(ValueError):
        request, split = read_request(case, SPEAKER, LIMITS)
        assert "\n" not in describe_dropped(split.dropped)
        audio = SPEAKER.say(request.text, request.seed, request.options)
        assert np.isfinite(audio.samples).all()
