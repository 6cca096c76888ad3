"""ETag: the same for the same speech, another for any other; a client that has the speech is not sent it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tacoglow.gateway.entity_tag import entity_tag
from tacoglow.gateway.request import SpeechBody, parse_request
from tacoglow.gateway.voices import Voice, Voices
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import RunningGateway

BODY: dict[str, Any] = {"input": "Hi there.", "response_format": "wav"}
# Each has its own speech or its own bytes.
OTHERS: dict[str, dict[str, Any]] = {
    "input": {"input": "Hi there!"},
    "seed": {"seed": 1},
    "format": {"response_format": "pcm"},
    "rate": {"sample_rate": 8_000},
    "whole": {"stream": False},
    "events": {"stream_format": "sse"},
    "times": {"stream_format": "sse", "timestamps": True},
    "speed": {"speed": 1.5},
    "volume": {"volume": 0.5},
    "sigma": {"sigma": 0.3},
    "lexicon": {"lexicon": {"hi": "hay"}},
    "other lexicon": {"lexicon": {"hi": "hoy"}},
    "window": {"attention_window": 4},
    "silence": {"sentence_silence": 1.0},
    "trimmed": {"trim_silence": True},
}


def test_the_same_request_has_the_same_tag_and_the_same_speech(gateway: RunningGateway) -> None:
    first, second = (gateway.speech(**BODY) for _ in range(2))
    named = gateway.speech(**BODY, voice="Anna", seed=0, instructions="x")  # an alias, a default, and what is ignored
    assert first.body == second.body == named.body
    assert first.headers["etag"] == second.headers["etag"] == named.headers["etag"]
    assert first.headers["etag"].startswith('W/"')
    assert first.headers["cache-control"] == "private, no-cache"  # the client may keep it, if it asks before each use


def test_other_requests_have_other_tags(gateway: RunningGateway) -> None:
    tags = [gateway.speech(**{**BODY, **change}).headers["etag"] for change in ({}, *OTHERS.values())]
    tags.append(gateway.request("/dev/captioned_speech", BODY).headers["etag"])
    assert len(set(tags)) == len(OTHERS) + 2


def test_what_computes_the_speech_is_in_its_tag(new_scheduler: Callable[[], Scheduler]) -> None:
    with new_scheduler() as scheduler:
        voice = Voice.embedded("tiny", scheduler)
        wanted = parse_request(json.dumps(BODY).encode(), SpeechBody, Voices([voice]), 1_000)
        assert voice.facts.computed_by == ("onnxruntime", "fp32", "engine")
        others = [("openvino", "fp32", "engine"), ("onnxruntime", "int8", "engine"), ("onnxruntime", "fp32", "fused")]
        tags = {entity_tag(wanted, None, None)}
        for computed_by in others:
            voice.facts = replace(voice.facts, computed_by=computed_by)
            tags.add(entity_tag(wanted, None, None))
    assert len(tags) == 4


@pytest.mark.parametrize("known", ["{}", '"a", {}', '"a",{} ,W/"b"'])
def test_known_speech_is_not_made_again(gateway: RunningGateway, known: str) -> None:
    tag = gateway.speech(**BODY).headers["etag"]
    before = gateway.scheduler.metrics().requests
    for form in (tag, tag.removeprefix("W/")):
        answer = gateway.request("/v1/audio/speech", BODY, {"if-none-match": known.replace("{}", form)})
        assert (answer.status, answer.error["code"], answer.headers["etag"]) == (412, "precondition_failed", tag)
    assert gateway.scheduler.metrics().requests == before


@pytest.mark.parametrize("known", ['"a"', "", "*", "nonsense"])
def test_other_tags_are_not_known(gateway: RunningGateway, known: str) -> None:
    assert gateway.request("/v1/audio/speech", BODY, {"if-none-match": known}).status == 200
