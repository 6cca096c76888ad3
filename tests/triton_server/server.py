"""Runs the tritonserver of the nvidia-pytriton wheel on the loopback: only its Python backend, without a GPU.

python tests/triton_server/server.py model_repository/     # serves until it is interrupted
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 60
TEXT_MODELS = ("tacoglow", "tacoglow_stream")
# Run in the environment: prints the folder of libpython, the Python version, and site-packages.
FACTS = """
import sysconfig
print(sysconfig.get_config_var("LIBDIR"), sysconfig.get_python_version(), sysconfig.get_path("purelib"), sep="\\n")
"""


class TritonEnvironment:
    """The virtual environment with tritonserver, and with tacoglow for its Python backend."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(os.environ.get("TACOGLOW_TRITON_VENV", ROOT / ".venv-triton"))
        self.python = self.folder / "bin" / "python"

    def unavailable_reason(self) -> str | None:
        """Why a server cannot start, and the command that fixes it; None if it can."""
        if not self.python.exists():
            return f"tritonserver is not installed in {self.folder}: make .venv-triton/ready"
        library, version, packages = self.facts()
        if not (packages / "pytriton" / "tritonserver" / "python_backend_stubs" / version).is_dir():
            return f"nvidia-pytriton in {self.folder} has no stub for Python {version}"
        if not list(Path(library).glob(f"libpython{version}.so*")):
            return f"Python {version} has no shared library in {library}, which Triton's Python backend needs"
        return None

    def facts(self) -> tuple[str, str, Path]:
        """The folder of libpython, the Python version, site-packages."""
        output = subprocess.run([self.python, "-c", FACTS], capture_output=True, text=True, check=True).stdout
        library, version, packages = output.splitlines()
        return library, version, Path(packages)


class TritonServer:
    """A tritonserver process: a context manager that starts it and stops it by its id."""

    def __init__(self, repository: Path, options: Sequence[str] = (), models: Sequence[str] = TEXT_MODELS) -> None:
        self.http_port, self.grpc_port, self.metrics_port = _free_ports(3)
        self.http, self.grpc = f"http://127.0.0.1:{self.http_port}", f"grpc://127.0.0.1:{self.grpc_port}"
        self.metrics = f"http://127.0.0.1:{self.metrics_port}/metrics"
        self._scratch = tempfile.TemporaryDirectory(prefix="tritonserver.")
        self._log_path = Path(self._scratch.name) / "log"
        library, version, packages = TritonEnvironment().facts()
        distribution = packages / "pytriton" / "tritonserver"
        command = [
            str(distribution / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={_backends(Path(self._scratch.name), distribution, version)}",
            *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
            f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            "--model-control-mode=explicit",  # the wheel lacks the backends of the graph models
            *(f"--load-model={model}" for model in models),
            *options,
        ]
        environment = os.environ | {
            "PATH": f"{TritonEnvironment().python.parent}{os.pathsep}{os.environ['PATH']}",
            "LD_LIBRARY_PATH": library,
        }
        environment.pop("PYTHONPATH", None)  # the server must find tacoglow as users have it: installed
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def __enter__(self) -> TritonServer:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.http}/v2/health/ready", timeout=5):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"tritonserver is not ready:\n{self.log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._scratch.cleanup()

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.process.poll() is None:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def processes(self) -> list[int]:
        """The process ids of the server and its model instances."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [self.process.pid, *(int(pid) for listing in children for pid in listing.read_text().split())]


def _backends(scratch: Path, distribution: Path, version: str) -> Path:
    """A backend directory for this Python, made of links: the stub looks for its libraries next to its own path."""
    folder = scratch / "backends" / "python"
    folder.mkdir(parents=True)
    for file in (distribution / "backends" / "python").glob("*python*.*"):
        (folder / file.name).symlink_to(file)
    stub = "triton_python_backend_stub"
    (folder / stub).symlink_to(distribution / "python_backend_stubs" / version / stub)
    return folder.parent


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--models", nargs="+", default=TEXT_MODELS)
    arguments = parser.parse_args()
    reason = TritonEnvironment().unavailable_reason()
    if reason is not None:
        sys.exit(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM and SIGINT both stop the server
    with TritonServer(arguments.repository, models=arguments.models) as server:
        print(f"{server.http}  {server.grpc}  {server.metrics}", flush=True)
        try:
            server.process.wait()
        except KeyboardInterrupt:
            print("stopping after the running streams", flush=True)


if __name__ == "__main__":
    main()
