"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --mute-audio "
    "--autoplay-policy=no-user-gesture-required --remote-debugging-port=0 --window-size=1000,1100"
).split()


class Browser:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; waits for it if it is a promise."""
        result = self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str, seconds: float = 30.0) -> None:
        """Return once the expression is true; fails the test after a while."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


@contextmanager
def browsing(url: str, folder: Path) -> Iterator[Browser]:
    """A tab that shows the page. folder: for the browser's profile."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_debugger(folder / "DevToolsActivePort"), max_size=None) as socket:
            browser = Browser(socket)
            browser.command("Page.navigate", url=url)
            browser.wait_for("location.protocol === 'http:' && document.readyState === 'complete'")
            yield browser
    finally:
        process.terminate()
        process.wait(10)


def _debugger(port_file: Path) -> str:
    deadline = time.monotonic() + 60
    while not (port_file.is_file() and port_file.read_text()):
        assert time.monotonic() < deadline, "Chromium does not start"
        time.sleep(0.05)
    port = port_file.read_text().splitlines()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        targets = json.load(answer)
    address: str = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
    return address
