"""Text for the terminal: what files, servers and callers wrote is shown, never obeyed."""

from __future__ import annotations


def escape_control(text: str) -> str:
    """Return the text with control and other invisible characters as escapes (\\x1b, \\u202e), and spaces as they are.

    Names, keys and messages from outside could otherwise move the cursor, change colours or hide parts of a line.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )
