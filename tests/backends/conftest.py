"""Fixtures shared with tests/runtime."""

from __future__ import annotations

from tacoglow.tests.runtime.conftest import quiet, voice

__all__ = ["quiet", "voice"]
