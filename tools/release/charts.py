"""Checks the Helm chart with Helm's own library: what it renders, and what it refuses."""

from __future__ import annotations

from typing import Any

from .manifests import SERVING, check_kubernetes
from .steps import Folders, StepError

CHART = SERVING / "chart"
PLAIN = SERVING / "gateway.yaml"  # what the chart renders with PLAIN_VALUES, and the service of the Triton servers
PLAIN_VALUES = {
    "upstream": ["grpc://tacoglow-replicas:8001"],
    "keySecret": "tacoglow-gateway",
    "autoscaling": {"enabled": True},
}
VOICES = {"voices": "voices", "options": ["--threads=1", "--idle-unload=15m"], "hosts": ["tts.example.com"]}
# What is wrong -> values, and what the message must name.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody speaks": ({}, "who speaks?"),
    "an unknown value": ({"voices": "voices", "replica": 3}, "replica"),
    "not a server": ({"upstream": ["http://triton:8000"]}, "upstream"),
}


def check_chart(folders: Folders) -> str:
    import helm_python
    import yaml

    report = helm_python.lint(CHART, VOICES)
    found = [f"{message['path']}: {message['error']}" for message in report["messages"] if message["severity"] >= 2]
    if found:
        raise StepError(f"chart: {'; '.join(found)}")
    kinds = [kind for file, text in render(VOICES).items() for kind in check_kubernetes(f"chart: {file}", text)]
    rendered = [yaml.safe_load(text) for text in render(PLAIN_VALUES).values()]
    plain = list(yaml.safe_load_all(PLAIN.read_text()))
    for document in rendered:
        if document not in plain:
            raise StepError(f"{PLAIN.name}: its {document['kind']} is not what the chart renders; make them the same")
    for what, (values, named) in WRONG.items():
        check_refused(what, values, named)
    return f"Helm {helm_python.helm_sdk_version()}: {', '.join(kinds)}; {PLAIN.name} is rendered too"


def render(values: dict[str, Any]) -> dict[str, str]:
    """Return file -> manifest, without the empty ones. Raises HelmError."""
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        rendered = chart.render(values, name="tacoglow-gateway", namespace="default")
    return {file: text for file, text in rendered.items() if text.strip()}


def check_refused(what: str, values: dict[str, Any], named: str) -> None:
    """Raise StepError unless the chart refuses the values with a message that names their fault."""
    import helm_python

    try:
        render(values)
    except helm_python.HelmError as error:
        if named in str(error):
            return
        raise StepError(f"chart: {what}: expected a message with {named!r}, got {error}") from error
    raise StepError(f"chart: {what}: expected an error, got manifests")
