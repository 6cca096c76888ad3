"""The entity tag of speech, by which a client recognizes speech that it has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import cache

from starlette.datastructures import Headers

from .. import __version__
from ..runtime.installed import installed_versions
from .request import ParsedRequest

# Packages that read texts, compute speech or encode it: another version may do so otherwise.
PACKAGES = (
    *("unidecode", "inflect", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "av"),
    *(f"tensorrt{kind}{cuda}" for kind in ("", "-rtx") for cuda in ("", "-cu12", "-cu13")),
)


def entity_tag(wanted: ParsedRequest, media_type: str | None, attention_window: int | None) -> str:
    """Name the speech by all that it depends on: the bundle's digest, what computes it, and the resolved request; ""
    if the bundle is not known here. Weak, because another processor may round differently.

    media_type: of a body that is not the encoded audio alone. attention_window: the server's own.
    """
    settings, facts = wanted.settings, wanted.settings.voice.facts
    if facts.front_end is None:
        return ""
    options = settings.options
    parts = [
        *(__version__, _versions(), facts.digest, facts.computed_by, facts.front_end.cleaners, attention_window),
        *(wanted.text, settings.seed, asdict(replace(options, lexicon=None)), settings.lexicon_digest, settings.speed),
        *(asdict(settings.encoding), settings.is_heard, wanted.stream, media_type, wanted.timestamps, wanted.analysis),
    ]
    return f'W/"{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]}"'


def is_known(tag: str, headers: Headers) -> bool:
    """True if If-None-Match has the tag. The comparison is weak."""
    known = headers.get("if-none-match", "").split(",")
    return tag.removeprefix("W/") in (each.strip().removeprefix("W/") for each in known)


@cache
def _versions() -> dict[str, str]:
    return installed_versions(*PACKAGES)
