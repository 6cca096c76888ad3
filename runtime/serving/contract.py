"""What a served voice takes and gives: the tensors of both text models, and requests and responses made of them.

Every tensor but `audio` holds one value. Inputs besides `text` are optional and named as in SpeechOptions.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..noise import Noise
from ..options import SpeechOptions
from ..synthesizer import Synthesizer
from ..vocoder import Samples
from ..wav_writer import encode, wav_header

# Triton's data types. Floats have Python's width: a threshold that the decoder compares with must not be rounded.
INPUTS = {
    "text": "STRING",
    "seed": "UINT64",
    "denoise": "FP64",
    "sigma": "FP64",
    "gate_threshold": "FP64",
    "max_frames": "INT32",
    "retries": "INT32",
    "attention_stop": "BOOL",
    "encoding": "STRING",
}
REQUIRED = {"text"}
OUTPUTS = {
    "audio": "FP32",  # any number of samples, nominally in -1..1; none where an encoding was asked for
    "encoded": "STRING",
    "sampling_rate": "INT32",  # Hz
    "stop_reason": "STRING",  # empty in a stream's responses but the last
    "warning": "STRING",  # what of the text was not spoken; empty if nothing
}

# Base64 for those who speak JSON: a wav file, or bare samples.
Encoding = Literal["", "wav", "int16", "float32"]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SpeechRequest:
    text: str
    seed: int = 0
    options: SpeechOptions = field(default_factory=SpeechOptions)
    encoding: Encoding = ""  # the empty one leaves samples in `audio`

    def tensors(self) -> Tensors:
        """What a client sends: the text, the seed, and what is not at its default."""
        values: dict[str, Any] = {"text": self.text.encode(), "seed": self.seed}
        for option in fields(SpeechOptions):
            value = getattr(self.options, option.name)
            if option.name in INPUTS and value != option.default:
                values[option.name] = value
        if self.encoding:
            values["encoding"] = self.encoding.encode()
        return {name: np.array([[value]], numpy_type(INPUTS[name])) for name, value in values.items()}


@dataclass(frozen=True)
class Response:
    """The whole speech, or a chunk of it."""

    samples: Samples
    sampling_rate: int  # Hz
    stop_reason: str  # empty where more is to come
    warning: str = ""

    def tensors(self, encoding: Encoding) -> Tensors:
        values = {
            "encoded": _encoded(self, encoding),
            "sampling_rate": self.sampling_rate,
            "stop_reason": self.stop_reason.encode(),
            "warning": self.warning.encode(),
        }
        tensors = {name: np.array([[value]], numpy_type(OUTPUTS[name])) for name, value in values.items()}
        audio = np.zeros(0, np.float32) if encoding else self.samples
        return {"audio": np.ascontiguousarray(audio[None], np.float32), **tensors}

    @classmethod
    def read(cls, tensors: Mapping[str, NDArray[Any]]) -> Response:
        """From what the server sent, float32 samples base64-encoded or not."""
        encoded = base64.b64decode(_only("encoded", tensors["encoded"]))
        samples = np.frombuffer(encoded, "<f4") if encoded else np.asarray(tensors["audio"], np.float32).ravel()
        words = (_only(name, tensors[name]).decode() for name in ("stop_reason", "warning"))
        return cls(samples, int(_only("sampling_rate", tensors["sampling_rate"])), *words)


def read_request(
    tensors: Mapping[str, NDArray[Any]], voice: Synthesizer, max_characters: int
) -> tuple[SpeechRequest, str]:
    """The request in a server's input tensors, and a warning about what of it will not be spoken ("" if nothing).

    Raises ValueError, in one line, for whatever the voice would refuse.
    """
    values = {name: _only(name, array) for name, array in tensors.items()}
    text, encoding = (_decoded(name, values.pop(name, b"")) for name in ("text", "encoding"))
    if len(text) > max_characters:
        raise RequestError(f"text: {len(text)} characters, this server takes up to {max_characters}; send it in parts")
    if encoding not in get_args(Encoding):
        raise RequestError(f"encoding: expected one of {', '.join(get_args(Encoding)[1:])}, got {encoding[:40]!r}")
    seed = int(values.pop("seed", 0))
    request = SpeechRequest(text, seed, SpeechOptions(**values), encoding)  # type: ignore[arg-type]
    Noise(seed)
    request.options.resolve(voice.manifest)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        voice.front_end.encode(text)
    return request, "; ".join(str(warning.message) for warning in caught)


def numpy_type(data_type: str) -> Any:
    """The NumPy type of one of Triton's data types."""
    names = {"STRING": object, "BOOL": bool, "FP32": np.float32, "FP64": np.float64}
    return names.get(data_type) or np.dtype(data_type.lower())


def _only(name: str, array: NDArray[Any]) -> Any:
    if array.size != 1:
        raise RequestError(f"{name}: expected one value, got {array.size}; send one text a request, the server batches")
    return array.reshape(-1)[0] if array.dtype == object else array.item()


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: is not UTF-8 ({error.reason} at byte {error.start})") from error


def _encoded(response: Response, encoding: Encoding) -> bytes:
    if not encoding:
        return b""
    if encoding != "wav":
        return base64.b64encode(encode(response.samples, encoding))
    data = encode(response.samples, "int16")
    return base64.b64encode(wav_header(response.sampling_rate, "int16", len(data)) + data)
