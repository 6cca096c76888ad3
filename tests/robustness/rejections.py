"""The form of a rejection of bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rejects_in_one_line(*errors: type[Exception], prefix: str = "") -> Iterator[None]:
    """Run a block that works or raises one of the errors, whose one line begins with the prefix."""
    message = prefix
    try:
        yield
    except errors as error:
        message = str(error)
    assert message.startswith(prefix), message
    assert "\n" not in message, message
