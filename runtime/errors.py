"""What can go wrong between a bundle and speech. Every message is one line: name, got, expected, way out."""

from __future__ import annotations


class BundleError(ValueError):
    """A bundle that is missing, incomplete, damaged, or of another format."""


class BackendError(ValueError):
    """A backend that is unknown, not installed, or cannot run a graph."""


class RequestError(ValueError):
    """A request that the voice cannot fulfil: an option or a tensor out of its range."""


class Cancelled(RuntimeError):  # noqa: N818 - it is no error
    """The caller's own `cancelled` said so: nothing is wrong, and the synthesizer can be used at once."""
