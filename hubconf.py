"""Entry points for torch.hub, with the names and keywords of NVIDIA's entry points.

    tacotron2 = torch.hub.load("path/to/this/repository", "nvidia_tacotron2", source="local")

torch.hub offers every public callable of this module as an entry point, so the names of all others begin with an
underscore. Their documentation and keywords are in models/hub.py.
"""

from __future__ import annotations

import functools as _functools
import importlib.util as _util
import pathlib as _pathlib
import sys as _sys
import typing as _typing

if _typing.TYPE_CHECKING:
    from tacoglow.models import Tacotron2

dependencies = ["torch", "unidecode", "inflect", "rich", "platformdirs"]


def _make_importable() -> None:
    """Import this folder as the package tacoglow, unless one is installed.

    torch.hub puts this folder on sys.path, but this folder is itself the package: its modules import each other
    relatively, and a clone's folder may have any name.
    """
    found = _util.find_spec("tacoglow")
    if found is not None and found.origin is not None:  # without an origin, it is an unrelated folder of that name
        return
    root = _pathlib.Path(__file__).resolve().parent
    spec = _util.spec_from_file_location("tacoglow", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None, "a path that ends in .py always has a spec"
    assert spec.loader is not None
    _sys.modules["tacoglow"] = module = _util.module_from_spec(spec)
    spec.loader.exec_module(module)


_make_importable()

from tacoglow.models import hub as _hub  # noqa: E402 - after the package can be imported
from tacoglow.models.hub import nvidia_hifigan as nvidia_hifigan  # noqa: E402
from tacoglow.models.hub import nvidia_waveglow as nvidia_waveglow  # noqa: E402
from tacoglow.text import text_to_sequence as _text_to_sequence  # noqa: E402


@_functools.wraps(_hub.nvidia_tacotron2)
def nvidia_tacotron2(*arguments: _typing.Any, **keywords: _typing.Any) -> Tacotron2:
    model = _hub.nvidia_tacotron2(*arguments, **keywords)
    model.text_to_sequence = _text_to_sequence  # type: ignore[assignment]  # mypy expects a Tensor or Module
    return model


def nvidia_tts_utils() -> _hub.TTSUtils:
    """Return the helpers that turn texts into a batch of token ids for Tacotron 2."""
    return _hub.TTSUtils(_text_to_sequence)
