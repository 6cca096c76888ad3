"""Loads checkpoints through a child process with limits on memory and time, for files that may come from anybody.

The child reads the checkpoint and writes it in this project's own format (models/safetensors_format.py); this process
reads that. Whatever a hostile file does to its reader then ends in one line. The child is forked, because importing
PyTorch again would take longer than reading most checkpoints. Elsewhere than on Linux, files are read in this process.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import checkpoint
from .errors import CheckpointError
from .safetensors_format import SUFFIX, encode_model

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from .hifigan import HiFiGAN
    from .tacotron2 import Tacotron2
    from .waveglow import WaveGlow

MEMORY = 2 << 30  # bytes of address space that the child may add, besides MEMORY_PER_BYTE for each of the file
MEMORY_PER_BYTE = 8  # the file's tensors, as float32 and float64 while weight norm is folded, and encoded
CPU_SECONDS = 20  # of the child, besides one for every BYTES_PER_SECOND of the file
WALL_SECONDS = 600  # likewise, for slow disks
BYTES_PER_SECOND = 10_000_000
WAY_OUT = "get it from a source that you trust, or load it in Python, without limits: tacoglow.models.load_"

Model = TypeVar("Model", "Tacotron2", "WaveGlow", "HiFiGAN")


def load_tacotron2(path: str | Path) -> Tacotron2:
    """Load as models.load_tacotron2 does, through a child process with limits. Raises CheckpointError beyond them."""
    return _load(checkpoint.load_tacotron2, Path(path), "tacotron2")


def load_waveglow(path: str | Path, hop_length: int | None = None) -> WaveGlow:
    """Load as models.load_waveglow does, through a child process with limits. Raises CheckpointError beyond them."""
    return _load(checkpoint.load_waveglow, Path(path), "waveglow", hop_length)


def load_hifigan(path: str | Path) -> HiFiGAN:
    """Load as models.load_hifigan does, through a child process with limits. Raises CheckpointError beyond them."""
    return _load(checkpoint.load_hifigan, Path(path), "hifigan")


def check_checkpoint(path: Path, name: str) -> None:
    """Read a checkpoint through a child process with limits, and forget it. Raises CheckpointError if it is invalid.

    name: what to call it in advice, one of the models' names.
    """
    if sys.platform.startswith("linux") and path.is_file():
        _run_child(path, lambda: checkpoint.read_checkpoint(path), name)
    else:
        checkpoint.read_checkpoint(path)


def _load(load: Callable[..., Model], path: Path, name: str, *arguments: Any) -> Model:
    if not sys.platform.startswith("linux") or not path.is_file():
        return load(path, *arguments)
    import safetensors.torch  # noqa: F401  # here, so that its absence is reported as such

    with tempfile.TemporaryDirectory(prefix="tacoglow-") as folder:
        converted = Path(folder) / f"{name}{SUFFIX}"
        _run_child(path, lambda: _convert(load(path, *arguments), name, converted), name)
        return load(converted)


def _convert(model: Model, name: str, path: Path) -> None:
    weights, description = encode_model(model, name)
    try:
        path.write_bytes(weights)
        path.with_suffix(".json").write_bytes(description)
    except OSError as error:
        reason = f"{path.parent}: cannot be written: {error.strerror}; name a folder with more space in TMPDIR"
        raise CheckpointError(reason) from error


def _run_child(path: Path, work: Callable[[], object], name: str) -> None:
    """Fork, limit the child, and wait for its work. Raises CheckpointError with the child's message, or its end."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    size = path.stat().st_size
    child = context.Process(target=_work_within_limits, args=(work, size, sender), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads; the child uses none of them
        # Frozen objects are not collected in the child: ONNX Runtime would wait there for the threads of its sessions.
        gc.freeze()
        child.start()
        gc.unfreeze()
    sender.close()
    try:
        with receiver:
            answered = receiver.poll(WALL_SECONDS + size / BYTES_PER_SECOND)
            problem = receiver.recv_bytes() if answered else b"reading it takes too long"
    except EOFError:  # it ended without an answer
        child.join()
        ended = signal.strsignal(-child.exitcode) if child.exitcode else None
        problem = f"reading it crashed or exceeded its limits ({ended or 'no answer'})".encode()
    finally:
        child.kill()
        child.join()
    if problem.startswith(ANSWER_ERROR):
        raise CheckpointError(problem.removeprefix(ANSWER_ERROR).decode())
    if problem:
        raise CheckpointError(f"{path}: {problem.decode()}; {WAY_OUT}{name}")


ANSWER_ERROR = b"error "  # begins the answer of a child that rejected the file; an empty answer: it has been converted


def _work_within_limits(work: Callable[[], object], size: int, sender: Connection) -> None:
    """Do the work in the child and answer: nothing, or what is wrong with the file."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports it
    _set_limits(size)
    torch.set_num_threads(1)  # the threads of this process were not forked
    answer = b""
    try:
        work()
    except CheckpointError as error:
        answer = ANSWER_ERROR + str(error).encode(errors="replace")
    except OSError as error:
        answer = ANSWER_ERROR + f"{error.filename or 'checkpoint'}: {error.strerror}".encode(errors="replace")
    except MemoryError:
        answer = b"reading it needs more memory than its size explains"
    except Exception as error:  # the parent cannot know what to expect of a hostile file
        answer = f"cannot be read ({type(error).__name__})".encode()
    sender.send_bytes(answer)


def _set_limits(size: int) -> None:
    import resource

    page = resource.getpagesize()
    now = int(Path("/proc/self/statm").read_text().split()[0]) * page
    spent = sum(os.times()[:2])
    for kind, limit in (
        (resource.RLIMIT_AS, now + MEMORY + MEMORY_PER_BYTE * size),
        (resource.RLIMIT_CPU, int(spent + CPU_SECONDS + size / BYTES_PER_SECOND) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        with suppress(ValueError, OSError):  # a limit that is lower already
            resource.setrlimit(kind, (limit, hard) if hard == resource.RLIM_INFINITY or limit < hard else (hard, hard))
