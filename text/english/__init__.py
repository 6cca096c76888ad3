"""English notations as people say them: addresses, dates, times, amounts, measures, numbers and symbols.

The data is in `tables`, the rules are in the other modules. Every rule takes time linear in the text.
"""

from __future__ import annotations

from .spoken import expand_notations

__all__ = ["expand_notations"]
