"""Downloads from a real HTTP server on the loopback interface: every file in the cache is complete."""

from __future__ import annotations

import functools
import hashlib
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request

import pytest

from tacoglow.cli.shared.options import Published, find_checkpoints
from tacoglow.models import download, load_tacotron2, load_waveglow
from tacoglow.models.download import fetch_pretrained, published_url
from tacoglow.models.errors import DownloadError

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.models.download.UnverifiedDownloadWarning")


def send_headers(handler: BaseHTTPRequestHandler, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def send_truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send_headers(handler, len(body))
    handler.wfile.write(body[: len(body) // 2])


def send_error(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_error(503)


def send_chunked(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(body), 1 << 16):
        chunk = body[start : start + (1 << 16)]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    handler.wfile.write(b"0\r\n\r\n")


def send_chunked_truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s" % (len(body), body[: len(body) // 2]))


def send_chunked_half(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Ends half a body correctly, like a proxy that lost its source: only the content shows that it is incomplete."""
    send_chunked(handler, body[: len(body) // 2])


def send_without_length(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Sends no length, as in HTTP/1.0: the end of the connection is the end of the body."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body)


def send_without_length_truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send_without_length(handler, body[: len(body) // 2])


def send_login_page(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    page = b"<!DOCTYPE html><html>Please log in</html>"
    send_headers(handler, len(page))
    handler.wfile.write(page)


def redirect_to_a_file(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/hostname")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestComplete:
    def test_every_published_file_is_downloaded(self, registry: Any, tmp_path: Path) -> None:
        paths = [
            fetch_pretrained(model, precision, progress=False)
            for model in ("tacotron2", "waveglow")
            for precision in ("fp32", "fp16")
        ]
        paths.append(fetch_pretrained("hifigan", progress=False))
        assert [path.parent for path in paths] == [tmp_path / "cache" / "tacoglow" / "checkpoints"] * 5
        assert [path.name for path in paths] == [
            "nvidia_tacotron2pyt_fp32_20190427",
            "nvidia_tacotron2pyt_fp16_20190427",
            "nvidia_waveglowpyt_fp32_20190427",
            "nvidia_waveglowpyt_fp16_20190427",
            "hifigan_gen_checkpoint_10000_ft.pt",
        ]
        assert fetch_pretrained("hifigan", "fp16", progress=False) == paths[-1]  # one file for both
        assert [path.read_bytes() for path in paths] == list(registry.files.values())
        assert files_in(tmp_path) == sorted(path.name for path in paths)
        load_tacotron2(paths[1])
        load_waveglow(paths[2])

    @pytest.mark.parametrize("respond", [send_chunked, send_without_length])
    def test_body_without_a_length(self, registry: Any, respond: Any) -> None:
        registry.respond = respond
        assert fetch_pretrained("tacotron2", progress=False).read_bytes() in registry.files.values()

    def test_cached_file_needs_no_request(self, registry: Any) -> None:
        first = fetch_pretrained("tacotron2", progress=False)
        assert fetch_pretrained("tacotron2", progress=False) == first
        assert len(registry.requests) == 1

    def test_force_downloads_again(self, registry: Any) -> None:
        path = fetch_pretrained("tacotron2", progress=False)
        path.write_bytes(b"spoilt")
        fetch_pretrained("tacotron2", force=True, progress=False)
        assert len(registry.requests) == 2
        load_tacotron2(path)

    def test_base_url_and_cache_arguments(self, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TACOGLOW_NGC_URL")
        path = fetch_pretrained("waveglow", base_url=registry.url + "/", cache=tmp_path / "own", progress=False)
        assert path.parent == tmp_path / "own" / "checkpoints"

    @pytest.mark.parametrize("respond", [None, send_chunked])
    def test_progress_goes_to_stderr(self, registry: Any, respond: Any, capfd: pytest.CaptureFixture[str]) -> None:
        if respond:
            registry.respond = respond
        fetch_pretrained("tacotron2")
        captured = capfd.readouterr()
        assert captured.out == ""
        assert "nvidia_tacotron2pyt_fp32_20190427" in captured.err
        fetch_pretrained("tacotron2", force=True, progress=False)
        assert capfd.readouterr() == ("", "")


class TestVerification:
    def test_warning_states_the_digest(self, registry: Any) -> None:
        body = registry.files[f"/v2/models/nvidia/{download.PUBLISHED['waveglow', 'fp32']}"]
        with pytest.warns(download.UnverifiedDownloadWarning, match=hashlib.sha256(body).hexdigest()) as caught:
            fetch_pretrained("waveglow", progress=False)
        assert "nothing shows that this is the file that NVIDIA published" in str(caught[0].message)

    @pytest.mark.parametrize("respond", [None, send_chunked, send_without_length])
    def test_answer_beyond_the_largest_size_is_cut_off(
        self, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respond: Any
    ) -> None:
        monkeypatch.setattr(download, "LARGEST", 1000)
        if respond:
            registry.respond = respond
        with pytest.raises(DownloadError, match="longer than 0 GiB, which no checkpoint is"):
            fetch_pretrained("waveglow", progress=False)
        assert files_in(tmp_path) == []

    def test_voice_does_not_have_the_publisher_s_name(self, registry: Any) -> None:
        assert find_checkpoints(None, None, None, False, Published.nvidia).name == "unverified-download"


class TestFailures:
    @pytest.mark.parametrize(
        ("respond", "message"),
        [
            (send_truncated, r"incomplete download: expected \d+ bytes, got \d+"),
            (send_error, "the server answered 503 Service Unavailable"),
            (send_chunked_truncated, "IncompleteRead"),
            (send_chunked_half, "not a complete checkpoint"),
            (send_without_length_truncated, "not a complete checkpoint"),
            (send_login_page, "not a complete checkpoint"),
            (redirect_to_a_file, "302"),
        ],
    )
    def test_failed_download_leaves_no_file(self, registry: Any, tmp_path: Path, respond: Any, message: str) -> None:
        registry.respond, respond_correctly = respond, registry.respond
        with pytest.raises(DownloadError, match=message) as raised:
            fetch_pretrained("waveglow", progress=False)
        error = str(raised.value)
        assert error.startswith(published_url("waveglow") + ": ")
        assert error.endswith("; download it by hand and pass --waveglow")
        assert "\n" not in error
        assert files_in(tmp_path) == []
        registry.respond = respond_correctly
        load_waveglow(fetch_pretrained("waveglow", progress=False))

    def test_failed_forced_download_keeps_the_old_file(self, registry: Any) -> None:
        path = fetch_pretrained("waveglow", progress=False)
        registry.respond = send_truncated
        with pytest.raises(DownloadError):
            fetch_pretrained("waveglow", force=True, progress=False)
        load_waveglow(path)
        assert files_in(path.parent) == [path.name]

    @pytest.mark.parametrize(
        ("target", "is_followed"),
        [("https://other/file", True), ("http://other/file", False), ("ftp://other/file", False)],
    )
    def test_redirect_from_https_stays_encrypted(self, target: str, is_followed: bool) -> None:
        """Tested without a connection, because a server with a certificate that is trusted needs a real host."""
        request = Request("https://registry/file")
        redirect = functools.partial(download._SecureRedirects().redirect_request, request, None, 302, "Found", {})
        if is_followed:
            assert (redirected := redirect(target)) is not None
            assert redirected.full_url == target
        else:
            with pytest.raises(URLError, match="which is not encrypted"):
                redirect(target)

    def test_connection_refused(self, registry: Any, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(DownloadError, match="Connection refused"):
            fetch_pretrained("tacotron2", base_url=closed, progress=False)
        assert files_in(tmp_path) == []

    def test_unresponsive_server_times_out(
        self, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "TIMEOUT", 0.3)
        done = threading.Event()

        def stall(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            send_truncated(handler, body)
            handler.wfile.flush()
            done.wait(20)

        registry.respond = stall
        with pytest.raises(DownloadError, match="timed out"):
            fetch_pretrained("tacotron2", progress=False)
        done.set()
        assert files_in(tmp_path) == []

    @pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
    def test_keyboard_interrupt_leaves_no_file(self, registry: Any, tmp_path: Path) -> None:
        done, main_thread = threading.Event(), threading.main_thread().ident
        assert main_thread is not None

        def interrupt(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            send_truncated(handler, body)
            while not files_in(tmp_path):  # until the client has created its temporary file
                done.wait(0.01)
            signal.pthread_kill(main_thread, signal.SIGINT)
            done.wait(20)

        registry.respond, respond_correctly = interrupt, registry.respond
        # In a process that was started in the background, SIGINT is ignored by default.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                fetch_pretrained("tacotron2", progress=False)
        finally:
            signal.signal(signal.SIGINT, before)
        done.set()
        assert files_in(tmp_path) == []
        registry.respond = respond_correctly
        load_tacotron2(fetch_pretrained("tacotron2", progress=False))

    def test_cache_that_cannot_be_written(self, registry: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(DownloadError, match="file"):
            fetch_pretrained("tacotron2", cache=tmp_path / "file", progress=False)

    @pytest.mark.parametrize("base", ["file:///etc", "ftp://127.0.0.1", "api.ngc.nvidia.com", "data:,"])
    def test_other_url_schemes_are_rejected(self, tmp_path: Path, base: str) -> None:
        with pytest.raises(DownloadError, match="only http and https"):
            fetch_pretrained("tacotron2", base_url=base, cache=tmp_path, progress=False)

    @pytest.mark.parametrize(("model", "precision"), [("fastpitch", "fp32"), ("tacotron2", "int8")])
    def test_unpublished_model_is_rejected(self, model: Any, precision: Any) -> None:
        with pytest.raises(ValueError, match="tacotron2 fp32, tacotron2 fp16, waveglow fp32"):
            fetch_pretrained(model, precision)


class TestConcurrentDownloads:
    """The server answers neither request before both have arrived, so the downloads overlap."""

    def test_two_threads(self, registry: Any, tmp_path: Path) -> None:
        self.wait_for_both_requests(registry)
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(fetch_pretrained, "waveglow", progress=False) for _ in range(2)]
            paths = {future.result(timeout=30) for future in futures}
        assert len(registry.requests) == 2
        load_waveglow(paths.pop())
        assert not paths
        assert files_in(tmp_path) == ["nvidia_waveglowpyt_fp32_20190427"]

    @pytest.mark.full
    def test_two_processes(self, registry: Any, tmp_path: Path) -> None:
        self.wait_for_both_requests(registry)
        program = (
            "from tacoglow.models import load_waveglow\n"
            "from tacoglow.models.download import fetch_pretrained\n"
            "load_waveglow(fetch_pretrained('waveglow', progress=False))"
        )
        both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
        assert [process.wait(timeout=60) for process in both] == [0, 0]
        assert len(registry.requests) == 2
        assert files_in(tmp_path) == ["nvidia_waveglowpyt_fp32_20190427"]

    @staticmethod
    def wait_for_both_requests(registry: Any) -> None:
        barrier, respond_correctly = threading.Barrier(2), registry.respond

        def wait_for_both(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            barrier.wait(30)
            respond_correctly(handler, body)

        registry.respond = wait_for_both


class TestPlaces:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the place on Linux")
    @pytest.mark.parametrize(("variable", "place"), [("cache", "cache"), ("", "home/.cache")])
    def test_users_cache(
        self, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("XDG_CACHE_HOME", variable and str(tmp_path / variable))  # empty counts as unset
        path = fetch_pretrained("waveglow", progress=False)
        assert path == tmp_path / place / "tacoglow" / "checkpoints" / "nvidia_waveglowpyt_fp32_20190427"

    def test_published_urls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TACOGLOW_NGC_URL", raising=False)
        assert published_url("tacotron2") == (
            "https://api.ngc.nvidia.com/v2/models/nvidia/"
            "tacotron2_pyt_ckpt_fp32/versions/19.09.0/files/nvidia_tacotron2pyt_fp32_20190427"
        )
        assert published_url("waveglow", "fp16") == (
            "https://api.ngc.nvidia.com/v2/models/nvidia/"
            "waveglow_ckpt_amp/versions/19.09.0/files/nvidia_waveglowpyt_fp16_20190427"
        )
