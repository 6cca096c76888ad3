"""Inflect, loaded at the first number."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import typeguard
def fail(function): raise AssertionError(function)
typeguard.typechecked = fail
from tacoglow.text.cleaners import english_cleaners
assert english_cleaners("21,234 pigs") == "twenty-one thousand, two hundred thirty-four pigs"
assert typeguard.typechecked is fail
"""


def test_inflect_is_loaded_without_its_type_checks_and_leaves_typeguard_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
