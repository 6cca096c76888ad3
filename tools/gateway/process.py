"""A `tacoglow serve` in a process of its own."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import GatewayServer

HOST = "127.0.0.1"


@dataclass(frozen=True)
class GatewayProcess:
    server: GatewayServer
    process: subprocess.Popen[bytes]

    def resident_bytes(self) -> int:
        """Memory of the process. Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def speaking(self) -> int:
        """Requests that are being spoken or wait for it, as its metrics tell."""
        with urllib.request.urlopen(f"http://{HOST}:{self.server.port}/metrics") as response:
            gauges = re.findall(
                r"^tacoglow_(?:queue_depth|rows_active)\S* (\d+)$", response.read().decode(), re.MULTILINE
            )
        return sum(map(int, gauges))


@contextmanager
def running_gateway(
    bundle: Path, threads: int, sampling_rate: int, options: Sequence[str] = ("--max-wait", "600")
) -> Iterator[GatewayProcess]:
    """Start it, wait until it is ready, and stop it with SIGTERM at the end. options: of the command."""
    with socket.create_server((HOST, 0)) as chosen:
        port = chosen.getsockname()[1]
    command = [str(Path(sys.executable).with_name("tacoglow")), "serve", str(bundle), "--port", str(port)]
    command += ["--threads", str(threads), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with status {process.returncode}")
                time.sleep(0.1)
            yield GatewayProcess(GatewayServer(HOST, port, sampling_rate), process)
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz") as response:
            return bool(response.status == 200)
    except OSError:  # not listening yet, or not ready
        return False
