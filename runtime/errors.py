"""Exceptions of the runtime. Every message is one line: name, got, expected, way out."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """The message without line breaks; the name of the error's class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def escape_control(text: str) -> str:
    """Return the text with control and other invisible characters as escapes (\\x1b, \\u202e), and spaces as they are.

    What files, servers and callers wrote could otherwise move a terminal's cursor, change colours or hide parts of a
    line.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )


def is_out_of_memory(error: BaseException) -> bool:
    """True for a failed allocation and for a thread that could not be started, whatever library reports it."""
    reasons = ("allocate memory", "out of memory", "can't start new thread", "bad_alloc", "Cannot allocate")
    return isinstance(error, MemoryError) or any(reason in str(error) for reason in reasons)


class BundleError(ValueError):
    """A bundle that is missing, incomplete, damaged, or of an unsupported format."""


class ExportError(ValueError):
    """An impossible export, one that failed its parity check, or a folder that cannot be replaced."""


class BackendError(ValueError):
    """A backend that is unknown, not installed, or cannot run a graph."""


class RequestError(ValueError):
    """An invalid request: an option or a tensor out of range."""


class Cancelled(RuntimeError):  # noqa: N818 - not an error
    """The request's `cancelled` function returned true. The synthesizer remains usable."""


class DeadlineExceeded(RuntimeError):  # noqa: N818 - named as in gRPC
    """The request's deadline has passed. The synthesizer remains usable."""


class Overloaded(RuntimeError):  # noqa: N818 - a state, not a fault
    """Too much waits already; this request was not begun."""

    def __init__(self, message: str, expected_wait: float) -> None:
        super().__init__(message)
        self.expected_wait = expected_wait  # seconds until another try makes sense


class SchedulerClosed(RuntimeError):  # noqa: N818 - a state, not a fault
    """The scheduler is shutting down and accepts no new request."""
