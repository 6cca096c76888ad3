"""`tacoglow serve`: bundles in, a speech server out."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Optional

import typer

from .shared.options import (
    COMPUTE_HELP,
    ComputeChoice,
    DecoderChoice,
    DecoderOption,
    Engines,
    ProfileChoice,
    ProfileOption,
    print_status,
)
from .shared.voice import find_bundle

CACHE_SIZE = "1GB"
TIMES = {"s": 1, "m": 60, "h": 3600}  # units, in seconds
SIZES = {"MB": 10**6, "GB": 10**9}  # units, in bytes
SWITCH_SECONDS = 0.0005  # after which a thread that splits a text lets the decoder go on, which asks thousands of times
DEMO = "--demo"  # as a bundle's name, beside those of the command line
LOOPBACK = ("127.0.0.1", "::1", "localhost")
NEEDED = ("starlette", "uvicorn", "websockets", "wyoming", "av")  # modules of the extra `serve`


def serve(
    bundle: Annotated[
        Optional[list[str]],
        typer.Argument(
            help="Folders written by export-onnx, folders of such, or hf://OWNER/VOICE[@REVISION]; the first is the "
            "default. They are read again at SIGHUP.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the demo voice of the extra `demo`.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one, :: with IPv6.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: a free one.")] = 8880,
    api_key: Annotated[
        Optional[str],
        typer.Option(
            envvar="TACOGLOW_API_KEY", help="Key that clients must send for speech.", show_default="none is needed"
        ),
    ] = None,
    alias: Annotated[
        Optional[list[str]], typer.Option(help="NAME=VOICE: another name of a voice; repeatable.", show_default=False)
    ] = None,
    cors: Annotated[
        Optional[list[str]],
        typer.Option(help="Origin of web pages that may call it; repeatable.", show_default="none"),
    ] = None,
    allowed_host: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME",
            help="Name that clients or a proxy call it by; repeatable; * for any.",
            show_default="localhost and --host",
        ),
    ] = None,
    root_path: Annotated[str, typer.Option(help="Path below which a proxy shows the server.")] = "",
    wyoming: Annotated[
        Optional[str],
        typer.Option(metavar="[HOST:]PORT", help="Also speak Wyoming, Home Assistant's protocol.", show_default="off"),
    ] = None,
    upstream: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="URL",
            help="grpc://HOST:PORT of a Triton server, then /NAME of its voice unless it is tacoglow; repeatable.",
            show_default="none",
        ),
    ] = None,
    max_wait: Annotated[
        float, typer.Option(min=0.1, help="Refuse a request whose first audio would come later, in seconds.")
    ] = 5.0,
    max_input_chars: Annotated[int, typer.Option(min=1, help="Longest accepted text, in characters.")] = 50_000,
    nvidia_text: Annotated[
        bool,
        typer.Option(
            "--nvidia-text",
            help="Keep english_cleaners as NVIDIA's; otherwise numbers, dates and units are read as people say them.",
        ),
    ] = False,
    attention_window: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="--attention-window of requests that do not say, such as Home Assistant's.", show_default="all"
        ),
    ] = None,
    idle_unload: Annotated[
        Optional[str],
        typer.Option(
            metavar="TIME",
            help="Close a voice that nobody uses for so long, such as 15m; the next request opens it again.",
            show_default="never",
        ),
    ] = None,
    cache: Annotated[
        Optional[Path],
        typer.Option(
            metavar="DIR",
            help="Keep answers in this folder; a request that comes again is answered from there. See docs/serve.md.",
            show_default="none is kept",
        ),
    ] = None,
    cache_size: Annotated[
        Optional[str],
        typer.Option(metavar="SIZE", help="Most that --cache keeps, such as 500MB.", show_default=CACHE_SIZE),
    ] = None,
    max_backlog: Annotated[
        int,
        typer.Option(
            min=1, help="Letters and other tokens, per voice, that may wait to be spoken; half for one client."
        ),
    ] = 420_000,
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda, onnxruntime, openvino, torchscript")
    ] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Index of the GPU.")] = 0,
    engines: Engines = None,
    threads: Annotated[
        Optional[int], typer.Option(min=1, help="CPU threads per voice.", show_default="all usable cores")
    ] = None,
    compute: Annotated[ComputeChoice, typer.Option(help=COMPUTE_HELP)] = ComputeChoice.fp32,
    decoder: DecoderOption = DecoderChoice.engine,
    profile: ProfileOption = ProfileChoice.latency,
) -> None:
    """Serve speech over HTTP, for clients of OpenAI's speech route; docs/serve.md has its routes."""
    _ignore_hangups()
    _check_installed()
    from ..gateway.bundles import Bundles
    from ..gateway.cache import Cache
    from ..gateway.health import Failures
    from ..gateway.server import build_server, listen
    from ..gateway.state import GatewayOptions
    from ..gateway.upstream import Upstream, parse_upstreams
    from ..gateway.voices import Voice
    from ..runtime.errors import BackendError, RequestError
    from ..runtime.scheduling.scheduler import Scheduler, SchedulerLimits
    from ..runtime.synthesizer import Synthesizer

    if cache_size is not None and cache is None:
        raise RequestError("--cache-size: needs --cache DIR, a folder for the answers")
    options = GatewayOptions(
        os.environ.get("TACOGLOW_API_KEY") if api_key is None else api_key,  # also if it is empty, which is refused
        tuple(cors or ()),
        (host, *(allowed_host or ())),
        root_path,
        max_wait,
        max_input_chars,
        attention_window=attention_window,
        idle_unload=None if idle_unload is None else parse_amount("--idle-unload", idle_unload, TIMES),
        cache=None if cache is None else Cache(cache, parse_amount("--cache-size", cache_size or CACHE_SIZE, SIZES)),
    )
    aliases = parse_aliases(alias or [])
    if not (bundle or demo or upstream):
        raise RequestError(
            "serve: expected a bundle, --demo or --upstream grpc://HOST:PORT; write a bundle with export-onnx"
        )

    def open_scheduler(folder: Path) -> Scheduler:
        synthesizer = Synthesizer.load(
            folder, backend, device, threads, engines, decoder=decoder.value, compute=compute.value
        )
        if not nvidia_text:
            synthesizer.read_notations()
        return Scheduler(synthesizer, SchedulerLimits(max_backlog, profile.value))

    with ExitStack() as stack:
        listening = stack.enter_context(listen(host, port))
        door = None if wyoming is None else stack.enter_context(listen(*parse_address(wyoming, host), "--wyoming"))
        remotes = [Upstream(remote) for remote in parse_upstreams(upstream or [])]
        bundles = Bundles(
            [*(bundle or ()), *([DEMO] if demo else ())],
            lambda name: find_bundle(name, name == DEMO),
            open_scheduler,
            [Voice(remote.voice_id, remote, remote.facts) for remote in remotes],
            aliases,
            closes=idle_unload is not None,
        )
        voices, problems = bundles.open_all()
        for line in problems:
            print_status(line)
        ids = voices.ids
        ended: list[str] = []

        def tell(failures: Failures) -> None:
            if failures and all(isinstance(failures.get(name), BackendError) for name in ids):
                ended.extend(f"{voice_id}: {error}" for voice_id, error in failures.items())
                server.should_exit = True
                return
            url = f"http://{_address(listening)}{options.root_path}/"
            print_status(f"{url}: {', '.join(ids)}")
            if host not in LOOPBACK and api_key is None:
                warning = "anybody who reaches this address may use it; set TACOGLOW_API_KEY to ask for a key"
                print_status(f"warning: {warning}")
            if door is not None:
                print_status(f"wyoming: tcp://{_address(door)} (without keys: anybody who reaches it may use it)")

        server = build_server(voices, options, door, tell, bundles, print_status)
        del voices  # the server's are all: one that it replaces is freed
        sys.setswitchinterval(SWITCH_SECONDS)
        server.run(sockets=[listening])
    if ended:
        raise BackendError(f"no voice can speak: {'; '.join(ended)}")


def _ignore_hangups() -> None:
    """Ignore SIGHUP, which would end the process, until the server takes it as the order to read its bundles again."""
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _check_installed() -> None:
    """Raise RequestError unless the packages of the extra are installed."""
    from ..runtime.errors import RequestError

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RequestError(f"tacoglow serve needs {', '.join(missing)}; install it with: pip install 'tacoglow[serve]'")


def _address(listening: socket.socket) -> str:
    from ..triton_server.client import bracket_ipv6

    host, port = listening.getsockname()[:2]
    return f"{bracket_ipv6(host)}:{port}"


def parse_address(address: str, default_host: str) -> tuple[str, int]:
    """[HOST:]PORT. Raises RequestError."""
    from ..runtime.errors import RequestError

    host, _, port = address.rpartition(":")
    if not (port.isdecimal() and int(port) <= 65535):
        raise RequestError(f"--wyoming: expected [HOST:]PORT, such as 10200, got {address!r}")
    return host.strip("[]") or default_host, int(port)


def parse_amount(option: str, text: str, units: Mapping[str, int]) -> int:
    """A whole number and its unit, such as 15m. units: name -> value. Raises RequestError."""
    from ..runtime.errors import RequestError

    match = re.fullmatch(r"(\d{1,6})([a-zA-Z]+)", text)
    if match is None or not int(match[1]) or match[2] not in units:
        examples = ", ".join(f"15{unit}" for unit in units)
        raise RequestError(f"{option}: expected a number and a unit, such as {examples}, got {text!r}")
    return int(match[1]) * units[match[2]]


def parse_aliases(aliases: list[str]) -> dict[str, str]:
    """NAME=VOICE options. Raises RequestError."""
    from ..runtime.errors import RequestError

    parsed = {}
    for alias in aliases:
        name, separator, voice = alias.partition("=")
        if not (name and separator and voice):
            raise RequestError(f"--alias: expected NAME=VOICE, got {alias!r}")
        parsed[name] = voice
    return parsed
