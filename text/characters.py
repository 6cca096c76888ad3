"""Characters that a voice has no symbol for: the equivalents that it may have instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from unicodedata import category, normalize

SILENT_CATEGORIES = ("Mn", "Me", "Cf")  # accents, joiners and similar: dropping them needs no warning
# Tried in this order; Unicode's compatibility and base characters after them.
EQUIVALENTS = {
    "’": ("'",),
    "‘": ("'",),
    "‛": ("'",),
    "‚": ("'",),
    "‹": ("'",),
    "›": ("'",),
    "ʼ": ("'",),
    "`": ("'",),
    "´": ("'",),
    "′": ("'",),
    "'": ("’",),
    "“": ('"',),
    "”": ('"',),
    "„": ('"',),
    "‟": ('"',),
    "«": ('"',),
    "»": ('"',),
    "″": ('"',),
    "‐": ("-",),
    "‑": ("-",),
    "‒": ("–", "-"),
    "–": ("-", "—"),
    "—": ("–", "--", "-"),
    "―": ("—", "–", "--", "-"),
    "−": ("-", "–"),
    "-": ("‐", "–"),
    "…": ("...", "."),
    "ß": ("ss",),
    "ẞ": ("ß", "SS"),
    "æ": ("ae",),
    "Æ": ("Ae",),
    "œ": ("oe",),
    "Œ": ("Oe",),
    "ø": ("o",),
    "Ø": ("O",),
    "ł": ("l",),
    "Ł": ("L",),
    "đ": ("d",),
    "Đ": ("D",),
    "ð": ("d",),
    "Ð": ("D",),
    "þ": ("th",),
    "Þ": ("Th",),
    "ı": ("i",),
    "。": (".",),
    "、": (",",),
    "؟": ("?",),
    "،": (",",),
    "⁄": ("/",),
}


def compose(text: str) -> str:
    """The text with composed characters (Unicode's NFC): an accent after its letter becomes one character with it."""
    return text if text.isascii() else normalize("NFC", text)


def equivalents(character: str) -> Iterator[str]:
    """Yield texts that stand for a character, the best one first."""
    yield from EQUIVALENTS.get(character, ())
    for form in ("NFKC", "NFKD"):
        text = normalize(form, character)
        if text != character:
            yield text
            yield "".join(part for part in text if category(part) not in SILENT_CATEGORIES)


def find_equivalent(character: str, known: Iterable[str]) -> str:
    """The first equivalent whose characters are all `known`; empty if there is none."""
    return next((text for text in equivalents(character) if text and all(part in known for part in text)), "")
