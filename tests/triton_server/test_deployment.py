"""The files of examples/serving agree with each other and with the commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "serving"
USER = 10001


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def pod_of(name: str) -> dict[str, Any]:
    first = documents(name)[0]["spec"]
    pod: dict[str, Any] = first["predictor"] if "predictor" in first else first["template"]["spec"]
    return pod


@pytest.mark.parametrize("name", ["kubernetes.yaml", "kserve.yaml", "gateway.yaml"])
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    pod = pod_of(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == USER
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]} >= {"tmp"}
    assert pod["terminationGracePeriodSeconds"] > 60 + 10  # what has begun, after the pause before the end
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gateway"])
def test_images_run_as_that_user_and_keep_no_sources(name: str) -> None:
    lines = (EXAMPLES / name).read_text(encoding="utf-8")
    last_stage = lines[lines.rindex("\nFROM ") :]
    assert f"USER {USER}:{USER}" in last_stage
    assert "COPY . " not in last_stage


def test_the_gateway_finds_the_replicas() -> None:
    (container,) = pod_of("gateway.yaml")["containers"]
    public, replicas = (document for document in documents("gateway.yaml") if document["kind"] == "Service")
    host, port = re.findall(r"grpc://([\w-]+):(\d+)", " ".join(container["args"]))[0]
    assert (replicas["metadata"]["name"], replicas["spec"]["ports"][0]["port"]) == (host, int(port))
    assert replicas["spec"]["clusterIP"] == "None"
    served = documents("kubernetes.yaml")[0]["spec"]["template"]["metadata"]["labels"]
    assert replicas["spec"]["selector"] == served
    assert public["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]


def test_compose_builds_both_images() -> None:
    (services,) = (document["services"] for document in documents("compose.yaml"))
    for service in services.values():
        assert (EXAMPLES.parents[1] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    assert "grpc://triton:8001" in services["gateway"]["command"]


@pytest.mark.parametrize("name", ["requirements.txt", "build-requirements.txt"])
def test_every_package_of_the_gateway_has_a_version_and_hashes(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    entries = text.replace("\\\n", " ").splitlines()
    assert all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    names = {entry.partition("==")[0] for entry in entries}
    needed = {"numpy", "onnxruntime", "starlette", "uvicorn", "websockets", "wyoming", "av", "tritonclient"}
    assert (needed if name == "requirements.txt" else {"setuptools"}) <= names
    assert "http" not in text


def test_pip_installs_nothing_for_the_gateway_but_what_is_pinned() -> None:
    """Building a package in isolation would download its build tools, whatever the newest are."""
    lines = (EXAMPLES / "Dockerfile.gateway").read_text().replace("\\\n", " ").splitlines()
    calls = [call for line in lines if line.startswith("RUN ") for call in line.split("&&") if "pip " in call]
    assert len(calls) == 4
    pinned = ({"--require-hashes"}, {"--no-index"}, {"--no-deps", "--no-build-isolation"})
    assert all(any(options <= {*call.split()} for options in pinned) for call in calls)
