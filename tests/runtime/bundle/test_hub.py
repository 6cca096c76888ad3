"""Bundles from a hub: a local server that speaks the hub's API, and the real client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tacoglow.runtime.bundle.hub import fetch_bundle
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BundleError

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


@dataclass
class Hub:
    """One repository, owner/voice, with the files of each commit."""

    url: str
    commits: dict[str, Path]  # commit -> folder
    branches: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "v1": OLDER})
    asked: list[str] = field(default_factory=list)  # paths of files
    agents: set[str] = field(default_factory=set)


@pytest.fixture
def hub(tiny_bundle: Path, tmp_path: Path) -> Iterator[Hub]:
    older = tmp_path / "older"
    shutil.copytree(tiny_bundle, older)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            served.agents.add(self.headers.get("User-Agent", ""))
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[:2] != ["owner", "voice"] or parts[2] != "resolve":
                return self.refuse("RepoNotFound")
            commit = served.branches.get(parts[3], parts[3])
            if commit not in served.commits:
                return self.refuse("RevisionNotFound")
            path = served.commits[commit].joinpath(*parts[4:])
            served.asked.append(path.name)
            if not path.is_file():
                return self.refuse("EntryNotFound", commit)
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if with_body:
                self.wfile.write(content)
            return None

        def refuse(self, code: str, commit: str = "") -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Hub(f"http://127.0.0.1:{server.server_port}", {COMMIT: tiny_bundle, OLDER: older})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def run(hub: Hub, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `tacoglow` with that hub and a cache of its own; the hub's client reads both when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
    call = [sys.executable, "-m", "tacoglow", *command]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_speaks_a_voice_of_the_hub(hub: Hub, tiny_bundle: Path, tmp_path: Path) -> None:
    fetched = run(hub, tmp_path, "say", "hf://owner/voice", "Hello.", "-o", "hub.wav")
    assert fetched.returncode == 0, fetched.stderr
    assert f"hf://owner/voice@{COMMIT} is this version" in fetched.stderr
    local = run(hub, tmp_path, "say", str(tiny_bundle), "Hello.", "-o", "local.wav")
    assert local.returncode == 0, local.stderr
    assert (tmp_path / "hub.wav").read_bytes() == (tmp_path / "local.wav").read_bytes()
    # With its telemetry, the client would tell the versions of PyTorch and others.
    assert hub.agents
    assert not [agent for agent in hub.agents if "torch" in agent]


@pytest.mark.full
def test_a_pinned_commit_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    command = ("say", f"hf://owner/voice@{COMMIT}", "Hello.", "-o", "out.wav")
    first = run(hub, tmp_path, *command)
    assert first.returncode == 0, first.stderr
    assert "is this version" not in first.stderr
    asked = len(hub.asked)
    again = run(hub, tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert len(hub.asked) == asked


def test_a_revision_is_that_commit(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "say", "hf://owner/voice@v1", "Hello.", "-o", "out.wav")
    assert f"hf://owner/voice@{OLDER} is this version" in done.stderr


def test_a_changed_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    graph = hub.commits[OLDER] / "postnet.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    done = run(hub, tmp_path, "say", f"hf://owner/voice@{OLDER}", "Hello.", "-o", "out.wav")
    assert done.returncode == 2
    assert "SHA-256 is" in done.stderr
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.full
def test_programs_stay_on_the_hub(hub: Hub, hifigan_bundle: Path, tmp_path: Path) -> None:
    assert list(hifigan_bundle.glob("*.ts"))
    hub.commits[COMMIT] = hifigan_bundle
    done = run(hub, tmp_path, "say", "hf://owner/voice", "Hello.", "-o", "out.wav")
    assert done.returncode == 0, done.stderr
    assert not [name for name in hub.asked if name.endswith(".ts")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://owner/other", "hf://owner/other: no such repository, or it is private: set HF_TOKEN"),
        ("hf://owner/voice@v9", "hf://owner/voice@v9: the repository has no revision 'v9'"),
        ("hf://owner", "hf://owner: expected hf://OWNER/VOICE or hf://OWNER/VOICE@REVISION"),
        ("hf://owner/voice@../x?y", "expected hf://OWNER/VOICE"),
    ],
)
def test_errors_are_one_line(hub: Hub, tmp_path: Path, source: str, message: str) -> None:
    done = run(hub, tmp_path, "say", source, "Hello.", "-o", "out.wav")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_errors_of_the_client_s_http_library_are_one_line_too(tmp_path: Path) -> None:
    done = run(Hub("localhost:9", {}), tmp_path, "say", "hf://owner/voice", "Hello.", "-o", "out.wav")  # no http://
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "hf://owner/voice: manifest.json: " in line


def test_a_repository_without_a_bundle(hub: Hub, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    hub.commits[COMMIT] = empty
    done = run(hub, tmp_path, "say", "hf://owner/voice", "Hello.", "-o", "out.wav")
    assert "the repository has no manifest.json, so it is not a complete bundle" in done.stderr


def test_manifest_names_no_other_place(hub: Hub, tmp_path: Path) -> None:
    """A file name that leads out of the folder is refused before it is asked for."""
    manifest = hub.commits[OLDER] / "manifest.json"
    content = json.loads(manifest.read_text())
    content["graphs"]["postnet"]["file"] = "../../x.onnx"
    manifest.write_text(json.dumps(content))
    done = run(hub, tmp_path, "say", f"hf://owner/voice@{OLDER}", "Hello.", "-o", "out.wav")
    assert done.returncode == 2
    assert hub.asked[-1] == "manifest.json"


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacoglow.runtime.bundle.hub.find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"pip install 'tacoglow\[hub\]'"):
        fetch_bundle("hf://owner/voice")


@pytest.mark.parametrize(("source", "fetch"), [("owner/voice", "owner/voice"), ("a/b@v1", "a/b --revision v1")])
def test_other_commands_tell_how_to_fetch(source: str, fetch: str) -> None:
    """They take a folder; a path of the command line has one slash of two."""
    with pytest.raises(BundleError, match=rf"hf:/{source}: only .* other commands: hf download {fetch} --local-dir"):
        load_manifest(Path(f"hf://{source}"))
