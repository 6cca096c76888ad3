"""tacoglow: deploys a trained Tacotron 2 + WaveGlow voice.

`Synthesizer` synthesizes speech from an exported bundle, `Scheduler` the requests of many threads at once; import
`tacoglow.text`, `tacoglow.models` and `tacoglow.export` by name. NumPy and everything larger is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime.options import SpeechOptions, StreamOptions
    from .runtime.output.audio import Audio
    from .runtime.scheduling.handle import SpeechHandle
    from .runtime.scheduling.scheduler import Scheduler, SchedulerLimits
    from .runtime.synthesizer import Synthesizer

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "Scheduler",
    "SchedulerLimits",
    "SpeechHandle",
    "SpeechOptions",
    "StreamOptions",
    "Synthesizer",
    "__version__",
]
_MODULES = {
    "Audio": "runtime.output.audio",
    "Scheduler": "runtime.scheduling.scheduler",
    "SchedulerLimits": "runtime.scheduling.scheduler",
    "SpeechHandle": "runtime.scheduling.handle",
    "SpeechOptions": "runtime.options",
    "StreamOptions": "runtime.options",
    "Synthesizer": "runtime.synthesizer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
