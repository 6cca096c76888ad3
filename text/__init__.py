"""Converts text to token ids: symbols, cleaners, ARPAbet in braces, and splitting of long texts."""

from __future__ import annotations

from .errors import DroppedSymbolWarning, TextError
from .frontend import FrontEnd
from .pauses import PausedText, split_at_pauses
from .sequence import sequence_to_text, text_to_sequence
from .split import split_text
from .symbols import NVIDIA_SYMBOLS

__all__ = [
    "NVIDIA_SYMBOLS",
    "DroppedSymbolWarning",
    "FrontEnd",
    "PausedText",
    "TextError",
    "sequence_to_text",
    "split_at_pauses",
    "split_text",
    "text_to_sequence",
]
