"""The image and what compose makes of it: linted, and every path, port, setting and command in them is the program's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from files import DEPLOY, DOCKERFILE, ROOT, compose, health_check, instructions, own_services

from detector import __version__
from detector.cli import parser, serve
from detector.config import load
from detector.endpoints import Endpoints
from detector.kafka.topics import design
from detector.sandbox import jars

BIN = Path(sys.executable).parent


def lint(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True)


def test_hadolint_finds_nothing_in_the_dockerfile_and_something_in_a_bad_one(tmp_path: Path) -> None:
    assert (done := lint("hadolint", DOCKERFILE)).returncode == 0, done.stdout
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text("utf-8").replace("--no-cache-dir ", ""))
    assert "DL3042" in lint("hadolint", bad).stdout


def test_compose_is_valid_and_a_misspelt_key_is_not(tmp_path: Path) -> None:
    check = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    assert (done := lint(*check, DEPLOY / "compose.yaml")).returncode == 0, done.stdout
    bad = tmp_path / "compose.yaml"
    bad.write_text((DEPLOY / "compose.yaml").read_text("utf-8").replace("stop_grace_period", "stop_grace_time"))
    assert lint(*check, bad).returncode == 1


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements" / lock).read_text("utf-8"), re.M))


def test_the_image_has_nothing_but_the_program_and_its_build_finds_what_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and not let_in & {"var", "models", "config", "docs", "tests"}
    whole = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text("utf-8"))
    copied = {source for said in re.findall(r"^COPY (?!--from)(?:--chmod=\d+ )?(.*)$", whole, re.M) for source in said.split()[:-1]}
    assert copied == let_in and all((ROOT / source).exists() for source in copied)
    locks = re.findall(r"--require-hashes --requirement requirements/(\w+\.txt)", whole)
    assert locks == ["service.txt", "build.txt"] and len(re.findall("pip [^;]*install ", whole)) == len(locks) + 1, "and the wheel"
    assert pinned("build.txt") <= pinned("dev.txt"), "the wheel is built by what was tested: `make lock` renews both"
    assert all(line.startswith("python:3.") for line in re.findall(r"^ARG BASE=(.*)$", whole, re.M)), "a version, not `latest`"


def test_the_image_runs_the_service_as_nobody_in_particular(tmp_path: Path) -> None:
    assert instructions("USER") == ["10001:10001"] and instructions("EXPOSE") == [str(load().config.metrics.port)]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["detector"]
    args = parser().parse_args(json.loads(instructions("CMD")[0]))
    assert args.run is serve.run and args.config == Path("/etc/detector/detector.toml")
    assert json.loads(instructions("VOLUME")[0]) == ["/var/cache/detector"], "where it writes compiled code"


@pytest.mark.parametrize(("well", "status"), [(True, 0), (False, 1)])
def test_the_image_knows_by_livez_whether_it_is_well(well: bool, status: int) -> None:
    endpoints = Endpoints("127.0.0.1", 0, lambda: b"", lambda: (well, []), lambda: (not well, []))
    python, *words = health_check()
    assert python == "python"
    try:
        environ = {"DETECTOR__METRICS__PORT": str(endpoints.port)}
        assert subprocess.run([sys.executable, *words], env=environ, capture_output=True).returncode == status
    finally:
        endpoints.close()


def test_every_service_of_the_image_has_settings_and_a_command_that_there_are() -> None:
    for name, service in own_services().items():
        config = load(environ=service["environment"]).config
        assert service["image"] == f"detector:{__version__}", name
        parser().parse_args(service["command"])
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        volumes = dict(reversed(volume.removesuffix(":ro").split(":")) for volume in service.get("volumes", []))
        paths = {word.partition("=")[2] or word for word in service["command"] if "/var/lib" in word}
        paths |= {config.context.folder, config.models.registry} if name == "detector" else set()
        assert all(any(Path(path).is_relative_to(mount) for mount in volumes) for path in paths), (name, paths)
        assert set(volumes.values()) <= compose()["volumes"].keys()
        for mount in volumes:  # made in the image, so that a new volume is its user's
            assert mount in DOCKERFILE.read_text("utf-8")
    assert service["environment"]["DETECTOR__ALERTS__START"] in " ".join(own_services()["company"]["command"])


def test_the_service_can_be_scraped_and_seen_from_outside_of_its_container() -> None:
    services = compose()["services"]
    config = load(environ=services["detector"]["environment"]).config
    (job,) = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"detector:{config.metrics.port}"]}] and config.metrics.host == "0.0.0.0"
    assert services["detector"]["ports"] == [f"127.0.0.1:{config.metrics.port}:{config.metrics.port}"]
    assert services["detector"]["healthcheck"] == {"disable": False}
    assert all(said["healthcheck"] == {"disable": True} for name, said in own_services().items() if name != "detector")
    assert int(services["detector"]["stop_grace_period"].removesuffix("s")) >= serve.DRAIN + 10
    ports = [port for said in services.values() for port in said.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports), "nobody else sees the sandbox"


def test_its_kafka_is_the_one_that_is_tested_and_its_topics_can_be_made() -> None:
    kafka, config = compose()["services"]["kafka"], load(environ=own_services()["detector"]["environment"]).config
    assert kafka["image"] == f"apache/kafka:{jars.VERSION}"
    assert f"PLAINTEXT://{config.kafka.bootstrap_servers[0]}" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    (topic,) = design({"alerts": "alerts"}, config.topics.partitions, config.topics.replication)
    assert topic.replication == 1, "there is one broker"


def test_prometheus_and_grafana_find_their_files() -> None:
    def mounts(name: str) -> dict[str, Path]:
        pairs = [volume.split(":")[:2] for volume in services[name]["volumes"]]
        return {place: (DEPLOY / here).resolve() for here, place in pairs if here.startswith(".")}

    services: dict[str, Any] = compose()["services"]
    assert (mounts("prometheus")["/etc/prometheus"] / "prometheus.yml").exists()
    grafana = mounts("grafana")
    provisioning = grafana["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load(next((provisioning / "datasources").glob("*.yaml")).read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services
    (provider,) = yaml.safe_load(next((provisioning / "dashboards").glob("*.yaml")).read_text("utf-8"))["providers"]
    assert list(grafana[provider["options"]["path"]].glob("*.json")), "dashboards lie where they are looked for"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (grafana[str(home.parent)] / home.name).exists()
