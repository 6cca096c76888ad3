"""Hooks for MkDocs: the root's pages become pages of the site, and links are what they are in the repository.

Loaded by mkdocs.yml. A link to a page stays one; one to another file of the repository becomes its path, because the
site does not contain it. Everything else that does not exist fails the strict build.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
FENCE = re.compile(r"^(```\w+) [\w -]+$", re.MULTILINE)  # with flags, such as no-run, for which it would be no fence
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    for source, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    root_pages = {target: source for source, target in ROOT_PAGES.items()}
    source = root_pages.get(page.file.src_uri) or f"docs/{page.file.src_uri}"
    folder = str(PurePosixPath(page.file.src_uri).parent)
    markdown = FENCE.sub(r"\1", markdown)
    return LINK.sub(lambda link: _rewrite(link, PurePosixPath(source), folder), markdown)


def _rewrite(link: re.Match[str], source: PurePosixPath, folder: str) -> str:
    """Return the link as it stands in a page of the site's `folder`, made from the repository's file `source`."""
    mark, text, target, anchor = link.groups(default="")
    if ":" in target:
        return link[0]
    path = normpath(str(source.parent / target))  # in the repository
    if path in ROOT_PAGES:
        return f"{mark}[{text}]({relpath(ROOT_PAGES[path], folder)}{anchor})"
    if path.startswith("docs/"):
        return f"{mark}[{text}]({relpath(path.removeprefix('docs/'), folder)}{anchor})"
    if (ROOT / path).exists():
        return f"{text} (`{path}`)"
    return link[0]
