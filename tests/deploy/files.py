"""The files of config/deploy as what they mean."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "config" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = DEPLOY / "Dockerfile"
Resource = dict[str, Any]


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of the Dockerfile's last stage, lines joined."""
    whole = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text("utf-8"))
    return re.findall(rf"^{name} (.*)$", whole[whole.rindex("\nFROM ") :], re.M)


def health_check() -> list[str]:
    """What the image runs to know whether it is well."""
    (said,) = instructions("HEALTHCHECK")
    return list(json.loads(said[said.index("CMD ") + 4 :]))


def compose() -> dict[str, Any]:
    """compose.yaml; anchors and merges resolved."""
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8")))


def own_services() -> dict[str, dict[str, Any]]:
    """Those of our image."""
    return {name: service for name, service in compose()["services"].items() if service["image"].startswith("detector:")}


def built(folder: str) -> list[Resource]:
    """What `kubectl apply --kustomize` would send."""
    try:
        done = subprocess.run(["kubectl", "kustomize", KUBERNETES / folder], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise AssertionError("kubectl is not there, which puts the overlays together: install it (no cluster is needed)") from error
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def of_kind(resources: list[Resource], kind: str) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] == kind]


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """Name and pod's spec of whatever makes pods."""
    for resource in resources:
        spec = resource.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield resource["metadata"]["name"], spec["template"]["spec"]


def settings_of(resources: list[Resource]) -> str:
    """The one detector.toml."""
    (found,) = (resource["data"]["detector.toml"] for resource in of_kind(resources, "ConfigMap"))
    return str(found)


def unit(name: str) -> configparser.ConfigParser:
    """A unit of systemd; of a key that comes again, the last."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / name).read_text("utf-8"))
    return parser


def unit_environment(name: str, instance: str) -> dict[str, str]:
    """What the unit's Environment= lines set."""
    lines = re.findall(r"^Environment=(.*)$", (DEPLOY / "systemd" / name).read_text("utf-8"), re.M)
    pairs = (pair.partition("=") for line in lines for pair in line.replace("%i", instance).split())
    return {key: value for key, _, value in pairs}
