"""Writes speech while it is being synthesized: a file, which appears when it is complete, or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..files import PartialFile, check_writable, is_replaceable
from .formats import AudioFormat, Encoder, RawEncoder, open_encoder
from .wav_writer import WavFormat

STANDARD_OUTPUT = Path("-")


class SpeechOutput:
    """One audio file that grows: a new file, renamed at the end, or a device, a pipe, or standard output ("-").

    As a context manager it finishes when the block ends, and when it is interrupted; after any other error, the new
    file is removed and an existing one is unchanged.
    """

    def __init__(
        self,
        path: Path,
        sampling_rate: int,
        audio_format: AudioFormat = "wav",
        wav_format: WavFormat = "int16",
        raw: bool = False,
    ) -> None:
        """raw: samples only, in wav_format. Raises RequestError if the path cannot be written."""
        self.path, self.sampling_rate = path, sampling_rate
        self.is_closed = False  # true once it has been finished, discarded, or its reader has closed the pipe
        self._written = 0  # samples
        self._partial: PartialFile | None = None
        self._sink = self._open()
        self._encoder: Encoder | None = None  # opened with the first samples
        self._open_encoder: Callable[[], Encoder] = (
            (lambda: RawEncoder(self._sink, wav_format))
            if raw
            else (lambda: open_encoder(self._sink, sampling_rate, audio_format, wav_format))
        )

    @property
    def seconds(self) -> float:
        return self._written / self.sampling_rate

    def write(self, samples: NDArray[np.float32]) -> None:
        """Encode and write samples. Raises RequestError, e.g. for a full disk, after removing what was written."""
        if not self.is_closed:
            self._guard(lambda: self._write(samples))
            self._written += len(samples)

    def write_all(self, segments: Iterable[NDArray[np.float32]]) -> None:
        """Write segments as they come, until a reader closes the pipe."""
        for samples in segments:
            self.write(samples)
            if self.is_closed:
                return

    def finish(self) -> bool:
        """Complete the file and put it in its place; true if this call did. Raises RequestError."""
        if self.is_closed:
            return False
        self._guard(self._finish)
        self.is_closed = True
        return True

    def discard(self) -> None:
        """Remove the new file; an existing one stays as it was."""
        self.is_closed = True
        if self._partial is not None:
            self._partial.discard()
        elif self.path != STANDARD_OUTPUT:
            with suppress(OSError):  # a full device fails once more when its buffer is flushed
                self._sink.close()

    def __enter__(self) -> SpeechOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, KeyboardInterrupt) and self._written):
            self.finish()
        elif not self.is_closed:
            self.discard()

    def _open(self) -> BinaryIO:
        if self.path == STANDARD_OUTPUT:
            return _standard_output()
        check_writable(self.path, "-o", is_folder=False)
        try:
            if not is_replaceable(self.path):
                return self.path.open("wb")
            self._partial = PartialFile(self.path)
        except OSError as error:
            raise self._cannot_write(error) from error
        return cast(BinaryIO, self._partial.file)

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._encoder = self._encoder or self._open_encoder()
        self._encoder.write(samples)
        self._sink.flush()

    def _finish(self) -> None:
        self._encoder = self._encoder or self._open_encoder()  # without samples: an empty but valid file
        self._encoder.close()
        self._sink.flush()
        if self._partial is not None:
            self._partial.commit()
        elif self.path != STANDARD_OUTPUT:
            self._sink.close()

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BrokenPipeError:
            self.is_closed = True
            # Python flushes standard output at exit, which would report the closed pipe as an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._sink.fileno())
        except OSError as error:
            self.discard()
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> RequestError:
        name = "standard output" if self.path == STANDARD_OUTPUT else self.path
        return RequestError(f"{name}: cannot be written: {error.strerror or error}; choose another place")


def _standard_output() -> BinaryIO:
    if sys.stdout is None:
        raise RequestError("-o -: standard output is closed; open it, or name a file with -o")
    if sys.stdout.isatty():
        raise RequestError("-o -: standard output is a terminal; pipe it into a player, or name a file with -o")
    return sys.stdout.buffer
