"""What both text models need of Triton's Python backend: settings, tensors, responses, errors."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.decoder import ProfileName
from ..runtime.errors import Cancelled, DeadlineExceeded, one_line
from ..runtime.synthesizer import Synthesizer
from .contract import RequestLimits, Tensors

VOICE_FOLDER = "voice"  # in the folder of a model version: the bundle
PARENT_POLL_SECONDS = 1.0
ENGINES_FOLDER = "engines"  # next to it, with TensorRT: the engines that export-triton copied


@dataclass(frozen=True)
class ServedVoice:
    """The voice of one model instance, and the limits from the model's configuration."""

    voice: Synthesizer
    limits: RequestLimits
    streams: int  # concurrent streams of an instance
    profile: ProfileName = "latency"  # of its scheduler

    @classmethod
    def load(cls, arguments: Mapping[str, str]) -> ServedVoice:
        """Load the voice that Triton's arguments for `initialize` describe."""
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
            decoder=settings["decoder"],
            compute=settings["compute"],
        )
        types = {name: type(value) for name, value in vars(RequestLimits()).items()}
        limits = RequestLimits(**{name: as_number(settings[name]) for name, as_number in types.items()})
        return cls(voice, limits, int(settings["streams"]), settings["profile"])


def exit_with_parent() -> None:
    """End this process soon after its parent, the server, has ended, even if the server was killed.

    A model would otherwise compute on, with nobody to read the result and the GPU's memory in use.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()


def read_tensors(request: Any) -> Tensors:
    """The input tensors of a Triton request."""
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def speech_response(tensors: Tensors) -> Any:
    """A Triton response with these output tensors."""
    import triton_python_backend_utils as pb_utils

    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])


def error_response(error: Exception) -> Any:
    """The Triton response to a request that failed; errors of the server itself are also logged."""
    import triton_python_backend_utils as pb_utils

    if isinstance(error, Cancelled):
        code = pb_utils.TritonError.CANCELLED
    elif isinstance(error, DeadlineExceeded):
        code = pb_utils.TritonError.UNAVAILABLE
    elif isinstance(error, ValueError):
        code = pb_utils.TritonError.INVALID_ARG
    else:
        code = pb_utils.TritonError.INTERNAL
        traceback.print_exception(error, file=sys.stderr)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(one_line(error), code))


def finish(sender: Any, response: Any = None) -> None:
    """End a stream, with or without a last response; Triton frees even a cancelled request only after this call."""
    import triton_python_backend_utils as pb_utils

    sender.send(*([] if response is None else [response]), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
