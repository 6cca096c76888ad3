"""Coverage-guided fuzzer of the unpickler and of the search for a model in its result.

    python tests/robustness/fuzz_pickles.py -atheris_runs=100000 CORPUS_FOLDER

A pickle must not cause any audit event of a process, a socket, an import, executed code or an opened file.
"""

from __future__ import annotations

import encodings.raw_unicode_escape  # noqa: F401  # else pickletools imports it at its first use
import io
import sys
from contextlib import suppress

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional

with atheris.instrument_imports(include=["tacoglow.models"]):
    from tacoglow.models.errors import CheckpointError
    from tacoglow.models.families import recognize
    from tacoglow.models.pickles import load_pickle

FORBIDDEN = ("os.", "subprocess.", "socket.", "shutil.", "import", "exec", "compile", "open", "ctypes.")
_watching = False


def watch(event: str, _: object) -> None:
    if _watching and event.startswith(FORBIDDEN):
        raise SystemError(f"a pickle caused {event}")


def try_one(data: bytes) -> None:
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
    with suppress(CheckpointError):
        recognize(content, dict)


if __name__ == "__main__":
    sys.addaudithook(watch)
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
