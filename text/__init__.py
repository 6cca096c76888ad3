"""Converts text to token ids: symbols, cleaners, ARPAbet in braces, and splitting of long texts."""

from __future__ import annotations

from .cleaners import DEFAULT_CLEANERS
from .errors import (
    DroppedSymbolWarning,
    MarkupError,
    RemarkWarning,
    TextError,
    describe_dropped,
    warn_dropped,
    warn_of_remarks,
)
from .frontend import FrontEnd, silent_text
from .lexicon import Lexicon, parse_lexicon
from .normalizers import Normalizer, find_normalizer
from .pauses import PausedText, split_at_pauses
from .sequence import sequence_to_text, text_to_sequence
from .split import split_text
from .ssml import is_ssml, parse_ssml
from .symbols import NVIDIA_SYMBOLS

__all__ = [
    "DEFAULT_CLEANERS",
    "NVIDIA_SYMBOLS",
    "DroppedSymbolWarning",
    "FrontEnd",
    "Lexicon",
    "MarkupError",
    "Normalizer",
    "PausedText",
    "RemarkWarning",
    "TextError",
    "describe_dropped",
    "find_normalizer",
    "is_ssml",
    "parse_lexicon",
    "parse_ssml",
    "sequence_to_text",
    "silent_text",
    "split_at_pauses",
    "split_text",
    "text_to_sequence",
    "warn_dropped",
    "warn_of_remarks",
]
