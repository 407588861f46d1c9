"""What the overlays come to is valid, keeps to the restricted profile, and says the same as the program and as itself elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
from custom_resources import SCHEMAS
from files import DEPLOY, KUBERNETES, Resource, built, instructions, of_kind, pods, settings_of
from jsonschema import Draft202012Validator

from detector import __version__
from detector.cli import parser, serve
from detector.config import Config, load

VERSIONS = ("1.29", "1.33", "1.37")
"""Of Kubernetes: pods have known their number since 1.28."""
VOLUMES = {"name", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}


@pytest.fixture(scope="module")
def production() -> list[Resource]:
    return built("production")


@pytest.fixture(scope="module", params=["base", "production", "monitored"])
def resources(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    if request.param != "monitored":
        return built(request.param)
    below = tmp_path_factory.mktemp("overlay")
    (below / "kubernetes").symlink_to(KUBERNETES)
    (below / "kustomization.yaml").write_text("resources: [kubernetes/base]\ncomponents: [kubernetes/service-monitor]\n")
    return built(str(below))


def config_of(resources: list[Resource], folder: Path, **environ: str) -> Config:
    path = folder / "detector.toml"
    path.write_text(settings_of(resources))
    return load(path, environ).config


def one(resources: list[Resource], kind: str) -> Resource:
    (found,) = of_kind(resources, kind)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid(resources: list[Resource], version: str) -> None:
    for resource in resources:
        if schema := SCHEMAS.get(resource["kind"]):
            Draft202012Validator(schema).validate(resource)
        else:
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_name_that_does_not_exist_is_found(production: list[Resource]) -> None:
    for kind in ("StatefulSet", "ScaledObject"):
        spoilt = one(production, kind) | {"sepc": {}}
        with pytest.raises(Exception, match="sepc"):
            if kind in SCHEMAS:
                Draft202012Validator(SCHEMAS[kind]).validate(spoilt)
            else:
                kubernetes_validate.validate(spoilt, VERSIONS[0], strict=True)


def test_pods_keep_to_the_restricted_profile(resources: list[Resource]) -> None:
    found = dict(pods(resources))
    assert found.keys() == {"detector", "detector-retrain-refresh", "detector-retrain-full"}
    for pod in found.values():
        assert pod["securityContext"] | {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} == pod["securityContext"]
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == instructions("USER")[0]
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"} and pod["automountServiceAccountToken"] is False
        assert {kind for volume in pod["volumes"] for kind in volume} <= VOLUMES
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert container["resources"]["limits"]["memory"] and container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["image"].endswith(f"detector:{__version__}")


def test_what_is_mounted_is_there_and_what_the_settings_name_is_mounted(resources: list[Resource], tmp_path: Path) -> None:
    claims = {each["metadata"]["name"] for each in of_kind(resources, "PersistentVolumeClaim")}
    config = config_of(resources, tmp_path)
    named = {
        config.context.folder,
        config.models.registry,
        config.kafka.sasl_password_file,
        config.kafka.ssl_cafile,
        "/etc/detector/detector.toml",
    }
    for name, pod in pods(resources):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == volumes.keys()
        used = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume}
        assert used <= claims
        below = {path for path in named - {""} if any(Path(path).is_relative_to(mount) for mount in mounts)}
        assert below == named - {""}, name
        writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
        own = {config.context.history} if name == "detector" else {config.models.registry}
        assert writable == {"/tmp", "/var/cache/detector"} | own, "the service does not write models"
        assert "NUMBA_CACHE_DIR=/var/cache/detector" in instructions("ENV")[0]


def test_a_pod_is_the_process_of_its_ordinal_and_is_probed_and_scraped_where_it_listens(resources: list[Resource], tmp_path: Path) -> None:
    pod = dict(pods(resources))["detector"]
    (container,) = pod["containers"]
    args = parser().parse_args(container["args"])
    assert args.run is serve.run and args.config == Path("/etc/detector/detector.toml")
    places = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}
    values = {"metadata.labels['apps.kubernetes.io/pod-index']": "3", "metadata.name": "detector-3", "status.podIP": "10.1.2.3"}
    config = config_of(resources, tmp_path, **{name: values[place] for name, place in places.items()})
    assert (config.group.ordinal, config.group.instance_id, config.metrics.host) == (3, "detector-3", "10.1.2.3")
    assert container["ports"] == [{"name": "metrics", "containerPort": config.metrics.port}]
    probes = {name: container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["httpGet"] for name, probe in probes.items()} == {
        "startupProbe": {"path": "/livez", "port": "metrics"}, "livenessProbe": {"path": "/livez", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
    }  # fmt: skip
    patience = config.service.watchdog / 2 + probes["livenessProbe"]["periodSeconds"] * probes["livenessProbe"]["failureThreshold"]
    assert patience > config.service.watchdog, "the process ends a loop that stands still by itself first, and says where it stood"
    assert pod["terminationGracePeriodSeconds"] >= serve.DRAIN + 10
    (port,) = one(resources, "Service")["spec"]["ports"]
    assert port["port"] == config.metrics.port and port["targetPort"] == "metrics"
    let_in = [policy for policy in of_kind(resources, "NetworkPolicy") if policy["spec"].get("ingress")]
    assert [each["port"] for policy in let_in for each in policy["spec"]["ingress"][0]["ports"]] == [config.metrics.port]


def test_every_policy_budget_and_service_finds_the_pods(resources: list[Resource]) -> None:
    labels = one(resources, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    jobs = [job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for job in of_kind(resources, "CronJob")]
    service, budget = (
        one(resources, "Service")["spec"]["selector"],
        one(resources, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    )
    everything, metrics = (policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind(resources, "NetworkPolicy"))
    for selector in (service, budget, metrics, everything):
        assert selector.items() <= labels.items()
    for job in jobs:
        assert everything.items() <= job.items() and not any(each.items() <= job.items() for each in (service, budget, metrics))
    for monitor in of_kind(resources, "ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= one(resources, "Service")["metadata"]["labels"].items()
        assert one(resources, "Service")["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "detector"


def test_brokers_can_be_reached_through_the_policy(resources: list[Resource], tmp_path: Path) -> None:
    (out,) = (policy["spec"]["egress"] for policy in of_kind(resources, "NetworkPolicy") if "egress" in policy["spec"])
    _, brokers = out
    config = config_of(resources, tmp_path)
    for server in config.kafka.bootstrap_servers:
        host, _, port = server.rpartition(":")
        assert int(port) in {each["port"] for each in brokers["ports"]}
        assert host.split(".")[1] == brokers["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]


def test_the_number_of_pods_follows_the_lag_of_this_group(production: list[Resource], tmp_path: Path) -> None:
    config, scaled = config_of(production, tmp_path), one(production, "ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]
    said = trigger["metadata"]
    assert (said["consumerGroup"], said["topic"]) == (config.group.id, config.topics.events)
    assert tuple(said["bootstrapServers"].split(",")) == config.kafka.bootstrap_servers
    assert said["sasl"].replace("_", "") == config.kafka.sasl_mechanism.lower().replace("-", "") and said["tls"] == "enable"
    assert config.kafka.security_protocol == "SASL_SSL"
    assert 2 <= scaled["minReplicaCount"] <= scaled["fallback"]["replicas"] <= scaled["maxReplicaCount"] == config.topics.partitions
    target, pod = scaled["scaleTargetRef"], one(production, "StatefulSet")
    assert (target["kind"], target["name"]) == (pod["kind"], pod["metadata"]["name"])
    assert "replicas" not in pod["spec"], "two would fight over it"
    assert pod["spec"]["podManagementPolicy"] == "Parallel", "with OrderedReady no pod comes to help those that lag behind"
    assert trigger["authenticationRef"]["name"] == one(production, "TriggerAuthentication")["metadata"]["name"]


def test_production_is_in_a_namespace_that_enforces_the_profile_and_every_principal_is_its_own(
    production: list[Resource], tmp_path: Path
) -> None:
    namespace = one(production, "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {resource["metadata"].get("namespace", namespace["name"]) for resource in production} == {namespace["name"]}
    names = {}
    for name, pod in pods(production):
        (secret,) = (volume["secret"] for volume in pod["volumes"] if volume["name"] == "kafka")
        assert secret["optional"] is False
        environ = {each["name"]: each["value"] for each in pod["containers"][0].get("env", []) if "value" in each}
        names[name] = (secret["secretName"], config_of(production, tmp_path, **environ).kafka.sasl_username)
    retrain = ("detector-retrain-kafka", "detector-retrain")
    assert names == {"detector": ("detector-kafka", "detector"), "detector-retrain-refresh": retrain, "detector-retrain-full": retrain}


def test_no_secret_is_in_the_files(production: list[Resource]) -> None:
    assert not of_kind(production, "Secret") + of_kind(built("base"), "Secret")
    assert not [path for path in DEPLOY.rglob("*") if path.suffix in {".pem", ".key", ".env"}]
    settings = tomllib.loads(settings_of(production))["kafka"]
    assert {name for name in settings if "password" in name} == {"sasl_password_file"}
