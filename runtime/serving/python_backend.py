"""Triton's Python backend, as far as a served voice needs it: a model's settings, tensors, responses, errors."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Cancelled
from ..synthesizer import Synthesizer
from .contract import Tensors

VOICE_FOLDER = "voice"  # within a model version's folder: the bundle
ENGINES_FOLDER = "engines"  # next to it, with TensorRT: the engines that export-triton built


@dataclass(frozen=True)
class ServedVoice:
    """A voice in a model instance's process, with the limits of the model's configuration."""

    voice: Synthesizer
    max_characters: int  # of a text
    streams: int  # that one instance serves at once

    @classmethod
    def load(cls, arguments: Mapping[str, str]) -> ServedVoice:
        """From what Triton hands to `initialize`."""
        # Requests carry their own warnings; Python's would grow a registry with every text and print it to the log.
        warnings.simplefilter("ignore")
        parameters = json.loads(arguments["model_config"])["parameters"]
        settings = {name: value["string_value"] for name, value in parameters.items()}
        folder = Path(arguments["model_repository"]) / arguments["model_version"]
        engines = folder / ENGINES_FOLDER
        voice = Synthesizer.load(
            folder / VOICE_FOLDER,
            settings["backend"],
            device=int(arguments["model_instance_device_id"]),
            threads=int(settings["threads"]) or None,
            engines=engines if engines.is_dir() else None,
        )
        return cls(voice, int(settings["max_characters"]), int(settings["streams"]))


def read_tensors(request: Any) -> Tensors:
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def respond(tensors: Tensors) -> Any:
    import triton_python_backend_utils as pb_utils

    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])


def refuse(error: Exception) -> Any:
    """The response to a request that failed; what is not the request's own fault is also logged."""
    import triton_python_backend_utils as pb_utils

    if isinstance(error, Cancelled):
        code = pb_utils.TritonError.CANCELLED
    elif isinstance(error, ValueError):
        code = pb_utils.TritonError.INVALID_ARG
    else:
        code = pb_utils.TritonError.INTERNAL
        traceback.print_exception(error, file=sys.stderr)
    message = " ".join(str(error).split()) or type(error).__name__
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def finish(sender: Any, response: Any = None) -> None:
    """End a stream, with a last response or none; Triton frees the request only then, even one that was cancelled."""
    import triton_python_backend_utils as pb_utils

    sender.send(*([] if response is None else [response]), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
