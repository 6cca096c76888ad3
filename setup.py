"""Adds to a package where it comes from: the commit, and the repository's address. pyproject.toml has everything else.

The address is known where a release is built (`TACOGLOW_REPOSITORY`, set by .github/workflows/release.yml). With it the
package's page links to the repository; without it, links to files become plain text, because they lead nowhere there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
NAME = "origin.json"  # in a source archive and in the installed package
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def find_origin() -> dict[str, str]:
    """Return the commit and the repository's address, each "" if unknown; a source archive states them."""
    if (ROOT / NAME).is_file():
        return dict(json.loads((ROOT / NAME).read_text(encoding="utf-8")))
    commit = ""
    if (ROOT / ".git").exists():
        try:
            done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
            commit = done.stdout.strip()
        except OSError:  # git is not installed
            pass
    return {"commit": commit, "repository": os.environ.get("TACOGLOW_REPOSITORY", "").rstrip("/")}


ORIGIN = find_origin()


def write_origin(folder: Path) -> None:
    (folder / NAME).write_text(json.dumps(ORIGIN, indent=1) + "\n", encoding="utf-8")


class BuildWithOrigin(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_origin(Path(self.build_lib, "tacoglow"))


class ArchiveWithOrigin(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_origin(Path(base_dir))


def page(text: str, origin: dict[str, str]) -> str:
    """Return README.md as it stands on the package's page: links lead to the repository, or are plain text."""

    def rewrite(link: re.Match[str]) -> str:
        mark, label, target = link.groups()
        if not origin["repository"]:
            return "" if mark else label
        view = "raw" if mark or target.endswith(".mp3") else "blob"
        return f"{mark}[{label}]({origin['repository']}/{view}/{origin['commit'] or 'main'}/{target})"

    return LINK.sub(rewrite, text)


def urls(repository: str) -> dict[str, str]:
    if not repository:
        return {}
    changelog = f"{repository}/blob/main/CHANGELOG.md"
    return {"Source": repository, "Issues": f"{repository}/issues", "Changelog": changelog}


if __name__ == "__main__":
    setup(
        script_name="setup.py",  # so that this file is not taken for a module of the package, whose root is here
        cmdclass={"build_py": BuildWithOrigin, "sdist": ArchiveWithOrigin},
        long_description=page((ROOT / "README.md").read_text(encoding="utf-8"), ORIGIN),
        long_description_content_type="text/markdown",
        project_urls=urls(ORIGIN["repository"]),
    )
