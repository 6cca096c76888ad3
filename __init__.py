"""tacoglow: deploys a trained Tacotron 2 + WaveGlow voice.

`Synthesizer` synthesizes speech from an exported bundle; import `tacoglow.text`, `tacoglow.models` and
`tacoglow.export` by name. NumPy and everything larger is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime.options import SpeechOptions
    from .runtime.output.audio import Audio
    from .runtime.synthesizer import Synthesizer

__version__ = "0.1.0"
__all__ = ["Audio", "SpeechOptions", "Synthesizer", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Audio":
        from .runtime.output.audio import Audio

        return Audio
    if name == "SpeechOptions":
        from .runtime.options import SpeechOptions

        return SpeechOptions
    if name == "Synthesizer":
        from .runtime.synthesizer import Synthesizer

        return Synthesizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
