"""Tacotron 2, WaveGlow and HiFi-GAN as PyTorch modules for inference, their configs, and checkpoint loading.

Names are imported on first use, so that importing this package does not import PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_hifigan as load_hifigan
    from .checkpoint import load_tacotron2 as load_tacotron2
    from .checkpoint import load_waveglow as load_waveglow
    from .config import Tacotron2Config as Tacotron2Config
    from .config import WaveGlowConfig as WaveGlowConfig
    from .denoiser import Denoiser as Denoiser
    from .download import fetch_pretrained as fetch_pretrained
    from .errors import CheckpointError as CheckpointError
    from .errors import DownloadError as DownloadError
    from .hifigan import HiFiGAN as HiFiGAN
    from .hifigan_config import HiFiGANConfig as HiFiGANConfig
    from .tacotron2 import Tacotron2 as Tacotron2
    from .vocoder import Vocoder as Vocoder
    from .waveglow import WaveGlow as WaveGlow

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


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
