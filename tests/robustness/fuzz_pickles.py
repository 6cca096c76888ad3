"""Target: the unpickler, and the search for a model in its result.

A pickle must not cause any audit event of a process, a socket, an import, executed code or an opened file. With
atheris, inputs are the pickles themselves; the folder hostile_pickles has some to begin with.
"""

from __future__ import annotations

import encodings.raw_unicode_escape  # noqa: F401  # else the unpickler imports it at its first use
import io
import sys
from contextlib import suppress

from tacoglow.models.families import recognize
from tacoglow.models.pickles import load_pickle
from tacoglow.tests.robustness.pickle_strategies import PICKLES

CASES = PICKLES
FORBIDDEN = ("os.", "subprocess.", "socket.", "shutil.", "import", "exec", "compile", "open", "ctypes.")
_watching = False


def watch(event: str, _: object) -> None:
    if _watching and event.startswith(FORBIDDEN):
        raise SystemError(f"a pickle caused {event}")


sys.addaudithook(watch)


def try_one(data: bytes) -> None:
    """Unpickle and search: any error will do, but no forbidden event."""
    global _watching
    _watching = True
    try:
        content = load_pickle(io.BytesIO(data))
    except SystemError:
        raise
    except Exception:  # damaged pickles raise any exception; models/archives.py turns all into CheckpointError
        return
    finally:
        _watching = False
    with suppress(Exception):  # models/checkpoint.py turns these into CheckpointError too
        recognize(content, dict)


try_bytes = try_one
