"""Health checks of voices that Triton servers speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tacoglow.gateway import health
from tacoglow.gateway.upstream import Upstream, parse_upstreams

from .fake_triton import TOLD, FakeTriton, LateTriton, failure, serving, speech
from .running import running


class TritonOfAnAlphabet(FakeTriton):
    """Speaks one letter, and nothing else."""

    def __init__(self, told: dict[str, str], letter: str) -> None:
        self.told, self.letter = TOLD | told, letter

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            names = [tensor.name for tensor in request.inputs]
            text = request.raw_input_contents[names.index("text")][4:].decode()  # after its length
            yield speech() if text == self.letter else failure(f"text: nothing of {text!r} can be spoken")


@pytest.mark.parametrize(
    ("told", "letter"),
    [
        ({"letter": "а"}, "а"),  # Cyrillic
        ({"letter": "{AA}"}, "{AA}"),  # of a voice of phones
    ],
)
def test_voices_are_asked_for_a_letter_of_theirs(
    told: dict[str, str], letter: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(TritonOfAnAlphabet(told, letter)) as (url,), running(Upstream(parse_upstreams([url])[0])) as gateway:
        assert gateway.request("/health").status == 200
    assert not caplog.messages  # nor is silence taken for speech


def test_a_check_that_gives_up_cancels_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.3)
    triton = LateTriton()
    triton.seconds = 60.0
    with serving(triton) as (url,), running(Upstream(parse_upstreams([url])[0]), wait=False) as gateway:
        assert gateway.request("/health").json == {"status": "tiny: does not speak"}
        gateway.wait_until_idle(5.0)
        triton.ending.set()
