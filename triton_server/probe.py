"""Asks a server on this machine for a few spoken frames: a health check that notices a model whose process has died.

    python3 -m tacoglow.triton_server.probe http://127.0.0.1:8000

Triton's own endpoints stay green then. Exits with 0 if both text models speak, otherwise with 1 and the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from functools import cache

from ..runtime.options import SpeechOptions
from . import DEFAULT_MODEL, PROBE_FRAMES
from .client import ServerError, connect
from .contract import SpeechRequest


def probe(url: str, model: str, timeout: float, may_be_slow: bool = False) -> None:
    """Have both models speak a few frames of a letter of the voice. Raises ServerError.

    may_be_slow: a server that does not answer in time passes, because it may only be busy; one that is dead refuses at
    once.
    """
    client = connect(url, timeout, timeout)

    @cache
    def request() -> SpeechRequest:
        return SpeechRequest(client.letter(model), options=SpeechOptions(max_frames=PROBE_FRAMES))

    for ask in (lambda: client.say(request(), model), lambda: deque(client.stream(request(), model), 0)):
        try:
            ask()
        except ServerError as error:
            if not (may_be_slow and isinstance(error.__cause__, TimeoutError)):
                raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of the model that returns complete speech")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for each model")
    parser.add_argument("--may-be-slow", action="store_true", help="pass if there is no answer in time: for liveness")
    arguments = parser.parse_args()
    try:
        probe(arguments.url, arguments.model, arguments.timeout, arguments.may_be_slow)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
