"""Prints the shell and Python blocks of a page as one bash script.

    python tools/pages/blocks.py README.md              # those that run anywhere
    python tools/pages/blocks.py README.md install      # those marked ```sh no-run install too

The blocks of a page are one session: files, variables and the working directory persist from block to block.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    line: int  # line number in the page of the content's first line
    language: str
    flags: frozenset[str]  # `no-run`, and a name to run it by
    content: str

    def is_run(self, names: frozenset[str] = frozenset()) -> bool:
        return "no-run" not in self.flags or bool(self.flags & names)


def parse_blocks(page: Path) -> list[Block]:
    """Return the page's fenced blocks. Raises ValueError if one is not closed."""
    text = page.read_text(encoding="utf-8")
    if len(re.findall(r"^```", text, re.MULTILINE)) % 2:
        raise ValueError(f"{page.name}: a block is not closed")
    blocks = []
    for match in FENCE.finditer(text):
        language, *flags = match[1].split() or [""]
        line = text.count("\n", 0, match.start(2)) + 1
        blocks.append(Block(line, language, frozenset(flags), match[2]))
    return blocks


def session_script(page: Path, names: frozenset[str] = frozenset()) -> str:
    """Return a bash script that runs the page's blocks and prints each block's position on stderr."""
    parts = ["set -euo pipefail"]
    for block in parse_blocks(page):
        if block.is_run(names) and block.language in ("sh", "python"):
            parts.append(f"echo '### {page.name}:{block.line}' >&2")
            end = f"END_OF_BLOCK_{block.line}"
            is_shell = block.language == "sh"
            parts.append(block.content if is_shell else f"python - <<'{end}'\n{block.content}{end}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(session_script(Path(sys.argv[1]), frozenset(sys.argv[2:])), end="")
