"""The page to try a voice, in a headless Chromium."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer

from .browser import CHROMIUM, Browser, browsing
from .running import RunningGateway

TEXT = "The gate was open. It's shut now."


@pytest.fixture(scope="module")
def browser(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("TACOGLOW_REQUIRE_CHROMIUM") else pytest.skip)("Chromium is not installed")
    with browsing(gateway.url, tmp_path_factory.mktemp("browser")) as browser:
        browser.wait_for("$('voice').value")
        yield browser


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.run(f"$('text').value = {json.dumps(TEXT)}, $('seed').value = 4, $('speed').value = 1")
    return browser


def play(page: Browser) -> str:
    """Press Play and return the last message."""
    page.run("$('play').click()")
    page.wait_for("$('play').dataset.state === 'done'")
    status: str = page.run("$('status').textContent")
    return status


def test_nothing_is_drawn_before_the_first_speech(gateway: RunningGateway, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with browsing(gateway.url, tmp_path) as page:
        page.wait_for("$('voice').value")
        assert page.run("$('figure').offsetHeight + $('key').offsetHeight") == 0
        assert "Play speaks the text" in page.run("$('status').textContent")
        play(page)
        assert page.run("$('gate').offsetHeight") > 0


def test_words_that_collide_get_rows(page: Browser) -> None:
    play(page)
    places = """(() => {
      const words = Array.from({ length: 5 }, (_, i) => ({ word: "wordy", start_time: i / 100, end_time: 1 }));
      const before = heard.words;
      heard.words = words;
      const placed = placeWords($("wave").getContext("2d"), (seconds) => seconds * 100);
      heard.words = before;
      return placed.map(({ left, row }) => [left, row]);
    })()"""
    assert page.run(places) == [[0, 0], [1, 1], [2, 2]]  # the others have no room


def test_what_is_heard_and_drawn_is_the_librarys_speech(page: Browser, tiny_bundle: Path) -> None:
    audio = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 4)
    assert "s of speech in" in play(page)
    assert page.run("heard.seconds") == pytest.approx(audio.seconds, abs=0.002)
    assert page.run("heard.words.map(({ word }) => word)") == [word.text for word in audio.words]
    assert page.run("heard.pieces.length") == len(audio.utterances)
    for i, utterance in enumerate(audio.utterances):
        brightest = page.run(
            f"""(() => {{
              const picture = heard.pieces[{i}].pictures.alignment, {{ width, height }} = picture;
              const {{ data }} = picture.getContext("2d").getImageData(0, 0, width, height);
              const brightness = (x, y) => data[4 * (y * width + x)] + data[4 * (y * width + x) + 1];
              return Array.from({{ length: width }}, (_, x) => {{
                const column = Array.from({{ length: height }}, (_, y) => brightness(x, height - 1 - y));
                return column.indexOf(Math.max(...column));
              }});
            }})()"""
        )
        attended = np.take_along_axis(utterance.alignment, np.array(brightest)[:, None], 1)[:, 0]
        np.testing.assert_allclose(attended, utterance.alignment.max(axis=1), atol=0.02)


@pytest.mark.parametrize("canvas", ["wave", "mel", "alignment", "gate", "axis"])
def test_every_picture_has_something_on_it(page: Browser, canvas: str) -> None:
    play(page)
    pixels = f"$('{canvas}').getContext('2d').getImageData(0, 0, $('{canvas}').width, $('{canvas}').height).data"
    assert page.run(f"new Set({pixels}).size") > 2


def test_nothing_comes_from_elsewhere(page: Browser, gateway: RunningGateway) -> None:
    play(page)
    addresses = page.run("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert addresses
    assert all(address.startswith(gateway.url) for address in addresses)
    assert "default-src 'none'" in gateway.request("/").headers["content-security-policy"]


def test_the_page_fits_a_phone(page: Browser) -> None:
    play(page)
    page.wait_for("$('stop').disabled")  # all has been heard
    page.command("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=2, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360
    page.command("Emulation.clearDeviceMetricsOverride")


def test_dark_mode(page: Browser) -> None:
    play(page)
    pixels = "$('wave').getContext('2d').getImageData(0, 0, $('wave').width, $('wave').height).data"
    red = f"Math.max(...{pixels}.filter((_, i) => i % 4 === 0))"  # of what is drawn; 0 where nothing is
    try:
        for scheme, brightest in (("light", 0), ("dark", 255), ("light", 0)):
            page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            page.wait_for(f"{red} === {brightest}", 5.0)
    finally:
        page.command("Emulation.setEmulatedMedia", features=[])


def test_control_and_enter_play(page: Browser) -> None:
    page.run("$('text').focus(), $('play').dataset.state = ''")
    for kind in ("keyDown", "keyUp"):
        page.command("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", modifiers=2)
    page.wait_for("$('play').dataset.state === 'done'")
    assert page.run("heard.seconds") > 0
    assert page.run("$('text').value") == TEXT


def test_an_error_is_shown(page: Browser) -> None:
    page.run("$('text').value = ' '")
    assert play(page) == "input: expected a text, got a blank one"
    assert page.run("$('status').className") == "failed"


def test_escape_stops_the_speech(page: Browser, gateway: RunningGateway) -> None:
    page.run("$('text').value = 'A long text, to be stopped. '.repeat(90)")
    page.run("$('play').click()")
    page.wait_for("heard.seconds > 0")
    page.run("dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
    page.wait_for("$('status').textContent === 'stopped' && $('stop').disabled")
    gateway.wait_until_idle(2.0)


def test_the_copied_command_writes_the_speech(page: Browser, tiny_bundle: Path, tmp_path: Path) -> None:
    page.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.run(
        "Object.defineProperty(navigator.clipboard, 'writeText', { value: async (text) => { window.copied = text; } })"
    )
    page.run("$('copy').click()")
    page.wait_for("window.copied")
    assert page.run("$('status').textContent") == "copied"
    subprocess.run(page.run("window.copied"), shell=True, check=True, cwd=tmp_path, capture_output=True)
    audio = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 4)
    audio.save(tmp_path / "expected.wav")
    assert (tmp_path / "speech.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()


def test_the_download_is_the_whole(page: Browser, tiny_bundle: Path, tmp_path: Path) -> None:
    page.run("URL.createObjectURL = (blob) => { window.blob = blob; return '#'; }")
    page.run("HTMLAnchorElement.prototype.click = function () { window.link = this; }")
    page.run("$('download').click()")
    page.wait_for("window.link")
    assert page.run("link.download") == "speech.wav"
    content = page.run("blob.bytes().then((bytes) => Array.from(bytes))")
    Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 4).save(tmp_path / "expected.wav")
    assert bytes(content) == (tmp_path / "expected.wav").read_bytes()
