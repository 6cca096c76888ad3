"""The release's own rules for images and pods; hadolint and the schemas run in make release-check."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from tacoglow.tests.test_install import ROOT
from tacoglow.tools.release.manifests import SERVING, check_image, check_pod
from tacoglow.tools.release.steps import StepError

IMAGE = 'FROM a AS build\nUSER root\nFROM b\nUSER 10001:10001\nHEALTHCHECK CMD ["x"]\nENTRYPOINT ["y"]\n'
CONTAINER = {
    "name": "a",
    "securityContext": {"readOnlyRootFilesystem": True},
    "startupProbe": {},
    "readinessProbe": {},
    "livenessProbe": {},
}
POD = {"securityContext": {"runAsNonRoot": True}, "containers": [CONTAINER]}


@pytest.mark.parametrize("file", sorted(SERVING.glob("Dockerfile*")), ids=lambda file: file.name)
def test_images_keep_the_rules(file: Path) -> None:
    check_image(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("USER 10001:10001", "USER 0:0", "USER: expected a number other than 0"),
        ("USER 10001:10001\n", "", "USER: expected a number other than 0"),
        ("USER 10001:10001", "USER app", "USER: expected a number other than 0"),
        ('ENTRYPOINT ["y"]', "ENTRYPOINT y", "ENTRYPOINT: expected a list"),
        ('HEALTHCHECK CMD ["x"]\n', "", "HEALTHCHECK: missing"),
    ],
)
def test_an_image_that_breaks_a_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(IMAGE)
    check_image(file)
    file.write_text(IMAGE.replace(old, new))
    with pytest.raises(StepError, match=message):
        check_image(file)


@pytest.mark.parametrize("lost", ["runAsNonRoot", "readOnlyRootFilesystem", "livenessProbe", "startupProbe"])
def test_a_pod_that_breaks_a_rule(lost: str) -> None:
    check_pod("pod", POD)
    pod: dict[str, Any] = copy.deepcopy(POD)
    for place in (pod["securityContext"], pod["containers"][0], pod["containers"][0]["securityContext"]):
        place.pop(lost, None)
    with pytest.raises(StepError, match=lost):
        check_pod("pod", pod)


def test_no_example_writes_a_model_repository_into_a_folder_of_this_project() -> None:
    """Triton ends if a folder beside the models, such as those of the package `models`, is none."""
    pages = [*(ROOT / "docs").glob("*.md"), *SERVING.iterdir()]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.is_file()]
    written = [name for text in texts for name in re.findall(r"export-triton \S+ -o (\S+)/", text)]
    mounted = [name for text in texts for name in re.findall(r"(?:\.\./\.\.|\$PWD)/(\w+):/models\b", text)]
    assert (len(written), len(mounted)) == (3, 2)
    (name,) = {*written, *mounted}
    assert f"/{name}/" in (ROOT / ".gitignore").read_text().splitlines()
