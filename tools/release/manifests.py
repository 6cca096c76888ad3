"""Checks the examples of serving: Dockerfiles by hadolint, Compose by its specification, Kubernetes by its schemas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .steps import ROOT, Folders, StepError, run

SERVING = ROOT / "examples" / "serving"
KUBERNETES = "1.33"
FOREIGN = ("serving.kserve.io/",)  # kinds of other projects, whose schemas Kubernetes does not have
HADOLINT = Path(sys.executable).parent / "hadolint"


def check_manifests(folders: Folders) -> str:
    dockerfiles = sorted(SERVING.glob("Dockerfile*"))
    for file in dockerfiles:
        run(HADOLINT, "--no-color", file)
        check_image(file)
    compose = sorted(SERVING.glob("compose*.yaml"))
    for file in compose:
        check_compose(file)
    kinds = [
        kind
        for file in sorted(SERVING.glob("*.yaml"))
        if file not in compose
        for kind in check_kubernetes(file.name, file.read_text())
    ]
    return f"{len(dockerfiles)} Dockerfiles, {len(compose)} Compose file, Kubernetes: {', '.join(kinds)}"


def check_image(file: Path) -> None:
    """Raise StepError unless the last stage runs as a numbered user other than root, without a shell, and watched."""
    lines = [line.split() for line in file.read_text().splitlines()]
    stage = lines[max(i for i, words in enumerate(lines) if words[:1] == ["FROM"]) :]
    users = [words[1] for words in stage if words[:1] == ["USER"]]
    if not users or not users[-1].partition(":")[0].isdecimal() or users[-1].startswith("0"):
        raise StepError(f"{file.name}: USER: expected a number other than 0 in the last stage, got {users or 'none'}")
    if not any(words[:1] == ["HEALTHCHECK"] for words in stage):
        raise StepError(f"{file.name}: HEALTHCHECK: missing in the last stage")
    entries = [words[1] for words in stage if words[:1] == ["ENTRYPOINT"]]
    if not entries or not entries[-1].startswith("["):
        raise StepError(f"{file.name}: ENTRYPOINT: expected a list, so that signals reach the server")


def check_compose(file: Path) -> None:
    from compose_spec import PyCompose

    try:
        compose = PyCompose.from_yaml(file.read_text()).to_dict()
    except ValueError as error:
        raise StepError(f"{file.name}: {error}") from error
    for name, service in compose["services"].items():
        if not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
            raise StepError(f"{file.name}: {name}: expected read_only and cap_drop: [ALL]")


def check_kubernetes(name: str, text: str) -> list[str]:
    """Validate every document of a file; return their kinds. Raises StepError."""
    import kubernetes_validate
    import yaml

    kinds = []
    for document in yaml.safe_load_all(text):
        if not str(document["apiVersion"]).startswith(FOREIGN):
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise StepError(f"{name}: {document['kind']}: {error.message}") from error
        for pod in _pods(document):
            check_pod(f"{name}: {document['kind']}", pod)
        kinds.append(str(document["kind"]))
    return kinds


def _pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    if document["kind"] == "InferenceService":
        return [spec["predictor"]]
    return [spec["template"]["spec"]] if "template" in spec else []


def check_pod(where: str, pod: dict[str, Any]) -> None:
    if not pod["securityContext"].get("runAsNonRoot"):
        raise StepError(f"{where}: expected runAsNonRoot")
    for container in pod["containers"]:
        if not container["securityContext"].get("readOnlyRootFilesystem"):
            raise StepError(f"{where}: {container['name']}: expected readOnlyRootFilesystem")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                raise StepError(f"{where}: {container['name']}: expected a {probe}")
