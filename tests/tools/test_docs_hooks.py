"""The pages as the site has them; that no link is broken, make docs checks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

from mkdocs.structure.files import Files

from tacoglow.tools.pages.docs_hooks import on_page_markdown

PAGE = """
```sh no-run release
pip install tacoglow
```

## After it, [the server](serve.md#many-clients)
"""


def test_a_block_with_flags_is_a_block() -> None:
    """Its flags are ours; MkDocs takes a fence with them for text, up to the next one."""
    made = on_page_markdown(PAGE, SimpleNamespace(file=SimpleNamespace(src_uri="install.md")), None, Files([]))
    assert "```sh\npip" in made
    assert "(serve.md#many-clients)" in made
