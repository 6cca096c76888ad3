"""Fixtures of the model tests: the golden models as checkpoints, and a registry that serves them."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tacoglow.models import Tacotron2, WaveGlow, load_tacotron2, load_waveglow
from tacoglow.models.download import PUBLISHED
from tacoglow.tests.models import torchaudio_peer
from tacoglow.tests.models.hifigan_layouts import TINY, nvidia_content, weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "models.npz"

Content = Callable[..., dict[str, Any]]
Save = Callable[[Any], Path]


@pytest.fixture(scope="session")
def arrays() -> dict[str, Any]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="session")
def golden(arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Inputs and outputs of NVIDIA's modules; see golden/make_models.py for the names."""
    return {name: torch.from_numpy(value) for name, value in arrays.items() if not name.endswith("/config")}


@pytest.fixture(scope="session")
def content(arrays: dict[str, Any], golden: dict[str, Tensor]) -> Content:
    """content(model, **changes to the config): the content of a DeepLearningExamples checkpoint of the model."""

    def build(model: str, **changes: Any) -> dict[str, Any]:
        prefix = f"{model}/state/"
        state = {key.removeprefix(prefix): t.clone() for key, t in golden.items() if key.startswith(prefix)}
        return {"config": json.loads(str(arrays[f"{model}/config"])) | changes, "state_dict": state}

    return build


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    def write(content: Any) -> Path:
        path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
        torch.save(content, path)
        return path

    return write


@pytest.fixture(scope="session")
def tacotron2(content: Content, save: Save) -> Tacotron2:
    return load_tacotron2(save(content("tacotron2")))


@pytest.fixture(scope="session")
def waveglow(content: Content, save: Save) -> WaveGlow:
    return load_waveglow(save(content("waveglow")))


@pytest.fixture(scope="session")
def torchaudio_tacotron2() -> Callable[[Tacotron2], Any]:
    """Returns torchaudio's model with the weights of one of this package's models."""
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed")
    return torchaudio_peer.torchaudio_tacotron2


class Registry(ThreadingHTTPServer):
    """Serves the published checkpoints' paths; tests replace `respond(handler, body)` to simulate faults."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), RegistryHandler)
        self.files = files
        self.requests: list[str] = []
        self.respond: Callable[[RegistryHandler, bytes], None] = send_complete

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: the tests disconnect clients on purpose."""


class RegistryHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.close_connection = True
        self.server.respond(self, self.server.files[self.path])

    def log_message(self, *args: Any) -> None:
        """Prints nothing."""


def send_complete(handler: RegistryHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def registry(content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry on the loopback interface and an empty cache; environment variables point to both."""
    files = {}
    for (model, _), path in PUBLISHED.items():
        buffer = io.BytesIO()
        torch.save(nvidia_content(TINY, weights(TINY)) if model == "hifigan" else content(model), buffer)
        files[f"/v2/models/nvidia/{path}"] = buffer.getvalue()
    server = Registry(files)
    monkeypatch.setenv("TACOGLOW_NGC_URL", server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
