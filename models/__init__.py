"""Tacotron 2, WaveGlow and HiFi-GAN as PyTorch modules for inference, their configs, and checkpoint loading.

Names are imported on first use, so that importing this package does not import PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_hifigan, load_tacotron2, load_waveglow
    from .config import Tacotron2Config, WaveGlowConfig
    from .denoiser import Denoiser
    from .download import fetch_pretrained
    from .errors import CheckpointError, DownloadError
    from .hifigan import HiFiGAN
    from .hifigan_config import HiFiGANConfig
    from .tacotron2 import Tacotron2
    from .vocoder import Vocoder
    from .waveglow import WaveGlow

_MODULES = {
    "load_hifigan": "checkpoint",
    "load_tacotron2": "checkpoint",
    "load_waveglow": "checkpoint",
    "Tacotron2Config": "config",
    "WaveGlowConfig": "config",
    "Denoiser": "denoiser",
    "CheckpointError": "errors",
    "DownloadError": "errors",
    "fetch_pretrained": "download",
    "HiFiGAN": "hifigan",
    "HiFiGANConfig": "hifigan_config",
    "Tacotron2": "tacotron2",
    "Vocoder": "vocoder",
    "WaveGlow": "waveglow",
}

__all__ = [
    "CheckpointError",
    "Denoiser",
    "DownloadError",
    "HiFiGAN",
    "HiFiGANConfig",
    "Tacotron2",
    "Tacotron2Config",
    "Vocoder",
    "WaveGlow",
    "WaveGlowConfig",
    "fetch_pretrained",
    "load_hifigan",
    "load_tacotron2",
    "load_waveglow",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
