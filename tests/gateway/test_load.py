"""The load generator for `tacoglow serve`: its requests, and a small measurement."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.tools.client_result import ClientResult
from tacoglow.tools.gateway import load as gateway_load
from tacoglow.tools.gateway import soak as gateway_soak
from tacoglow.tools.gateway.client import GatewayServer, LockedServer, Server

from .running import RunningGateway

TEXT = "The gate was open."


@pytest.fixture(params=["gateway", "locked"])
def server(request: pytest.FixtureRequest, gateway: RunningGateway, tiny_bundle: Path) -> Server:
    if request.param == "locked":
        return LockedServer(Synthesizer.load(tiny_bundle, "onnxruntime", threads=1))
    return GatewayServer("127.0.0.1", gateway.port, 16_000)


def test_a_client_has_all_of_the_speech(server: Server, tiny_bundle: Path) -> None:
    samples = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 3).samples
    for kind in ("whole", "stream"):
        (result,) = gateway_load.speak_all(server, kind, [(TEXT, 3)])
        assert result.audio_seconds == pytest.approx(len(samples) / 16_000)
        assert 0 < result.arrivals[0][0] <= result.latency


def test_a_client_that_leaves_frees_the_server(server: Server, gateway: RunningGateway) -> None:
    long = server("stream", TEXT * 150, 0)
    long.start()
    while not long.outcome.arrivals:
        time.sleep(0.001)
    long.leave()
    gateway.wait_until_idle(2.0)
    with pytest.raises(RuntimeError, match="The gate was open"):
        long.result()


def test_a_refusal_is_an_error_with_its_reason(server: Server) -> None:
    with pytest.raises(RuntimeError, match="seed"):
        gateway_load.speak_all(server, "whole", [(TEXT, -1)])


def test_the_buffer_that_a_player_needs() -> None:
    """Half a second of audio each: the third is 0.9 s late for a player that started with the first."""
    result = ClientResult(arrivals=[(3.0, 0.5), (3.2, 0.5), (4.9, 0.5)])
    assert result.buffer_needed == pytest.approx(0.9)


@pytest.mark.slow
def test_a_small_measurement(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "load.json"
    monkeypatch.setattr(sys, "argv", f"load {tiny_bundle} --rounds 1 --seconds 1 -o {output}".split())
    gateway_load.main()
    assert output.is_file()


@pytest.mark.slow
def test_a_small_soak(tiny_bundle: Path) -> None:
    report = gateway_soak.soak(tiny_bundle, 1, 64, 10.0)
    assert report["problems"] == []
    assert report["complete"] > report["left"] > 0
    assert report["complete_after_sigterm"] == "4 of 4"
    assert report["abandoned_seconds"]["most"] < 0.3
    _, warm, *later = report["resident_bytes"]["peaks"]
    assert max(later) < 1.05 * warm
