"""The interface of a served voice: tensors of the two text models, and requests and responses in Python.

Every tensor except `audio` has one value. Inputs other than `text` are optional; options are named as in SpeechOptions.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.manifest import COUNT_MAX, Manifest
from ..runtime.decoder import StopReason
from ..runtime.errors import RequestError, one_line
from ..runtime.noise import Noise
from ..runtime.options import RETRIES, SERVED_RETRIES_MAX, SpeechOptions
from ..runtime.output.wav_writer import encode, wav_header
from ..runtime.pieces import Split, check_silence
from ..runtime.synthesizer import Synthesizer
from ..runtime.vocoder import Samples
from ..text import Lexicon

# Triton's data types. Floats are FP64, as in Python: rounding a gate threshold could move the end of an utterance.
INPUTS = {
    "text": "STRING",
    "seed": "UINT64",
    "denoise": "FP64",
    "sigma": "FP64",
    "gate_threshold": "FP64",
    "max_frames": "INT32",
    "retries": "INT32",
    "attention_stop": "BOOL",
    "attention_window": "INT32",
    "rate": "FP64",
    "volume": "FP64",
    "sentence_silence": "FP64",
    "trim_silence": "BOOL",
    "lexicon": "STRING",  # a JSON object: words, and how they are said
    "ssml": "BOOL",
    "encoding": "STRING",
}
REQUIRED = {"text"}
OUTPUTS = {
    "audio": "FP32",  # samples, nominally in [-1, 1]; empty if the request sets an encoding
    "encoded": "STRING",  # the audio in the requested encoding, as base64; empty without one
    "sampling_rate": "INT32",  # Hz
    "stop_reason": "STRING",  # in a stream empty except in the last response
    "warning": "STRING",  # characters that were dropped, and faults of the speech; empty if there are none
}

# Encodings of the audio for JSON clients: a wav file, or samples without a header; "" leaves float32 in `audio`.
Encoding = Literal["", "wav", "int16", "float32"]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SpeechRequest:
    """One text to synthesize."""

    text: str
    seed: int = 0
    options: SpeechOptions = field(default_factory=SpeechOptions)
    encoding: Encoding = ""

    def tensors(self) -> Tensors:
        """The input tensors that a client sends: the text, the seed, and options that differ from their defaults."""
        values: dict[str, Any] = {"text": self.text.encode(), "seed": self.seed}
        for option in fields(SpeechOptions):
            value = getattr(self.options, option.name)
            if option.name in INPUTS and value != option.default:
                values[option.name] = msgspec.json.encode(value.entries) if isinstance(value, Lexicon) else value
        if self.encoding:
            values["encoding"] = self.encoding.encode()
        return {name: np.array([[value]], numpy_type(INPUTS[name])) for name, value in values.items()}


@dataclass(frozen=True)
class Response:
    """Complete speech, or one segment of a stream."""

    samples: Samples
    sampling_rate: int  # Hz
    stop_reason: str  # empty if more segments follow
    warning: str = ""

    def tensors(self, encoding: Encoding) -> Tensors:
        """The output tensors that a server sends."""
        values = {
            "encoded": _encode_audio(self, encoding),
            "sampling_rate": self.sampling_rate,
            "stop_reason": self.stop_reason.encode(),
            "warning": self.warning.encode(),
        }
        tensors = {name: np.array([[value]], numpy_type(OUTPUTS[name])) for name, value in values.items()}
        audio = np.zeros(0, np.float32) if encoding else self.samples
        return {"audio": np.ascontiguousarray(audio[None], np.float32), **tensors}

    @classmethod
    def read(cls, tensors: Mapping[str, NDArray[Any]]) -> Response:
        """Parse the output tensors of a server; samples are in `audio`, or float32 in `encoded`.

        Raises ValueError, LookupError, TypeError or AttributeError unless they are what the two models send.
        """
        encoded = base64.b64decode(_only("encoded", tensors["encoded"]), validate=True)
        samples = np.frombuffer(encoded, "<f4") if encoded else np.asarray(tensors["audio"], np.float32).ravel()
        stop_reason, warning = (_only(name, tensors[name]).decode() for name in ("stop_reason", "warning"))
        rate = _only("sampling_rate", tensors["sampling_rate"])
        if not np.isfinite(samples).all():
            raise ValueError("its samples contain NaN or Inf")
        if isinstance(rate, bool) or not isinstance(rate, int) or not 1 <= rate <= COUNT_MAX:
            raise ValueError(f"sampling_rate: expected 1 to {COUNT_MAX}, got {rate!r:.20}")
        if stop_reason not in ("", *get_args(StopReason)):
            raise ValueError(
                f"stop_reason: expected one of {', '.join(get_args(StopReason))}, got {stop_reason[:40]!r}"
            )
        return cls(samples, rate, stop_reason, warning)


@dataclass(frozen=True)
class RequestLimits:
    """What one request may ask of a server."""

    max_characters: int = 5_000
    max_retries: int = SERVED_RETRIES_MAX
    max_frames: int = 0  # per utterance; 0: the bundle's limit
    max_seconds: float = 300.0  # from the first computation to the last sample; then the request is abandoned

    def apply(self, options: SpeechOptions, manifest: Manifest) -> SpeechOptions:
        """The options with the limits filled in. Raises RequestError if they exceed one."""
        if options.retries is None and self.max_retries < RETRIES:
            options = replace(options, retries=min(options.resolve(manifest).retries, self.max_retries))
        elif options.retries is not None and options.retries > self.max_retries:
            raise RequestError(f"retries: this server accepts up to {self.max_retries}, got {options.retries}")
        if not self.max_frames:
            return options
        if options.max_frames is None:
            return replace(options, max_frames=min(self.max_frames, manifest.decoder.max_frames))
        if options.max_frames > self.max_frames:
            raise RequestError(f"max frames: this server accepts up to {self.max_frames}, got {options.max_frames}")
        return options

    def deadline(self) -> float:
        """The deadline, in time.monotonic(), of a request that starts now."""
        return time.monotonic() + self.max_seconds


def read_request(
    tensors: Mapping[str, NDArray[Any]], voice: Synthesizer, limits: RequestLimits
) -> tuple[SpeechRequest, Split]:
    """Parse a server's input tensors; returns the request and its text as the voice speaks it.

    Raises ValueError with a one-line message for every request that the voice would reject.
    """
    values = {name: _only(name, array) for name, array in tensors.items()}
    text, encoding = (_decode_utf8(name, values.pop(name, b"")) for name in ("text", "encoding"))
    if len(text) > limits.max_characters:
        raise RequestError(
            f"text: {len(text)} characters, this server accepts up to {limits.max_characters}; send it in parts"
        )
    if encoding not in get_args(Encoding):
        raise RequestError(f"encoding: expected one of {', '.join(get_args(Encoding)[1:])}, got {encoding[:40]!r}")
    if "lexicon" in values:
        values["lexicon"] = _decode_lexicon(values["lexicon"])
    seed = int(values.pop("seed", 0))
    options = limits.apply(SpeechOptions(**values), voice.manifest)
    request = SpeechRequest(text, seed, options, encoding)  # type: ignore[arg-type]
    Noise(seed)
    request.options.resolve(voice.manifest)
    split = voice.split(text, request.options)
    check_silence(split.pieces)
    return request, split


def numpy_type(data_type: str) -> Any:
    """The NumPy type of a Triton data type."""
    names = {"STRING": object, "BOOL": bool, "FP32": np.float32, "FP64": np.float64}
    return names.get(data_type) or np.dtype(data_type.lower())


def _only(name: str, array: NDArray[Any]) -> Any:
    if array.size != 1:
        raise RequestError(
            f"{name}: expected one value, got {array.size}; send one text per request; the server batches"
        )
    return array.reshape(-1)[0] if array.dtype == object else array.item()


def _decode_utf8(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{name}: not valid UTF-8 ({error.reason} at byte {error.start}); encode it as UTF-8"
        ) from error


def _decode_lexicon(value: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(value, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise RequestError(
            f"lexicon: expected a JSON object of words and how they are said: {one_line(error)}"
        ) from error


def _encode_audio(response: Response, encoding: Encoding) -> bytes:
    if not encoding:
        return b""
    if encoding != "wav":
        return base64.b64encode(encode(response.samples, encoding))
    data = encode(response.samples, "int16")
    return base64.b64encode(wav_header(response.sampling_rate, "int16", len(data)) + data)
