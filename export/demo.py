"""Finds the demo voice: its checkpoints in a clone, or those and its bundle in the package tacoglow-demo-voice.

Imports neither torch nor onnx, because a machine that only speaks has neither.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..runtime.errors import BundleError, ExportError

CLONE = Path(__file__).parents[1] / "models" / "demo"
PACKAGE = "tacoglow_demo_voice"
INSTALL = "pip install 'tacoglow[demo]', or in a clone of the repository: pip install ./models/demo"


def demo_folder() -> Path:
    """Find the demo voice's checkpoints and voice file. Raises ExportError if they are not installed."""
    if (CLONE / "tacotron2.pt").is_file():
        return CLONE
    package = _package()
    if package is None:
        raise ExportError(f"demo: the demo voice's checkpoints are a package of their own (90 MB): {INSTALL}")
    return package


def demo_bundle() -> Path:
    """Find the demo voice's bundle. Raises BundleError if it is not installed: only a release's package has it."""
    package = _package()
    if package is None or not (package / "bundle").is_dir():
        raise BundleError(
            "--demo: the demo voice's bundle is not installed: pip install 'tacoglow[demo]'; or write it with "
            "export-onnx --demo -o voice/, and name that folder"
        )
    return package / "bundle"


def _package() -> Path | None:
    package = find_spec(PACKAGE)
    return Path(package.submodule_search_locations[0]) if package and package.submodule_search_locations else None
