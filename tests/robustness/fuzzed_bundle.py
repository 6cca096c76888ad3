"""The tiny voice's bundle in a folder of this process, for the targets that change bundles or ask a voice to speak."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from tacoglow import Synthesizer
from tacoglow.runtime.errors import BackendError, BundleError, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests.robustness.rejections import rejects_in_one_line
from tacoglow.tests.tiny_voice import export_voice, write_checkpoints

ERRORS = (BundleError, BackendError, RequestError)
FRAMES = 12  # of speech per case
_FOLDER = tempfile.TemporaryDirectory(prefix="tacoglow-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


@functools.cache
def tiny_bundle() -> Path:
    folder = Path(_FOLDER.name)
    return export_voice(write_checkpoints(folder), folder / "voice")


@functools.cache
def changed_bundle() -> Path:
    """A copy whose files the cases replace."""
    return Path(shutil.copytree(tiny_bundle(), Path(_FOLDER.name) / "changed"))


def speak(bundle: Path) -> None:
    """Speak with a bundle: it works, or ends with one of the runtime's errors in one line."""
    with rejects_in_one_line(*ERRORS):
        voice = Synthesizer.load(bundle, "onnxruntime", threads=1)
        voice.say("Hi.", options=SpeechOptions(max_frames=min(FRAMES, voice.manifest.decoder.max_frames)))
