"""Schemas of the kinds that are not Kubernetes' own, as far as our files use them: a name they do not have is refused."""

from __future__ import annotations

from typing import Any


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
SECONDS = {"type": "string", "pattern": "^[0-9]+(s|m)$"}
WORDS = {"type": "object", "additionalProperties": TEXT}


def _resource(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = _object("name", name=TEXT, namespace=TEXT, labels=WORDS, annotations=WORDS)
    return _object("apiVersion kind metadata spec", apiVersion={"const": api}, kind={"const": kind}, metadata=metadata, spec=spec)


def _scaling() -> dict[str, Any]:
    policy = _object("type value periodSeconds", type={"enum": ["Pods", "Percent"]}, value=COUNT, periodSeconds=COUNT)
    return _object(
        stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600}, selectPolicy={"enum": ["Max", "Min", "Disabled"]},
        policies={"type": "array", "minItems": 1, "items": policy},
    )  # fmt: skip


def _kafka_trigger() -> dict[str, Any]:
    """All its values are strings."""
    return _object(
        "bootstrapServers consumerGroup topic lagThreshold",
        bootstrapServers=TEXT, consumerGroup=TEXT, topic=TEXT, lagThreshold={"type": "string", "pattern": "^[1-9][0-9]*$"},
        activationLagThreshold=TEXT, offsetResetPolicy={"enum": ["latest", "earliest"]},
        sasl={"enum": ["none", "plaintext", "scram_sha256", "scram_sha512"]}, tls={"enum": ["enable", "disable"]},
    )  # fmt: skip


def _scaled_object() -> dict[str, Any]:
    trigger = _object("type metadata", type={"const": "kafka"}, metadata=_kafka_trigger(), authenticationRef=_object("name", name=TEXT))
    behavior = _object(scaleUp=_scaling(), scaleDown=_scaling())
    return _object(
        "scaleTargetRef triggers",
        scaleTargetRef=_object("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
        minReplicaCount=COUNT, maxReplicaCount=COUNT, pollingInterval=COUNT, cooldownPeriod=COUNT,
        fallback=_object("failureThreshold replicas", failureThreshold=COUNT, replicas=COUNT),
        advanced=_object(horizontalPodAutoscalerConfig=_object(behavior=behavior)),
        triggers={"type": "array", "minItems": 1, "items": trigger},
    )  # fmt: skip


def _trigger_authentication() -> dict[str, Any]:
    parameter = {"enum": ["sasl", "username", "password", "tls", "ca", "cert", "key", "keyPassword"]}
    reference = _object("parameter name key", parameter=parameter, name=TEXT, key=TEXT)
    return _object("secretTargetRef", secretTargetRef={"type": "array", "minItems": 1, "items": reference})


def _service_monitor() -> dict[str, Any]:
    endpoint = _object("port", port=TEXT, path=TEXT, scheme={"enum": ["http", "https"]}, interval=SECONDS, scrapeTimeout=SECONDS)
    return _object(
        "selector endpoints", jobLabel=TEXT, selector=_object("matchLabels", matchLabels=WORDS),
        endpoints={"type": "array", "minItems": 1, "items": endpoint},
    )  # fmt: skip


SCHEMAS = {
    "ScaledObject": _resource("keda.sh/v1alpha1", "ScaledObject", _scaled_object()),
    "TriggerAuthentication": _resource("keda.sh/v1alpha1", "TriggerAuthentication", _trigger_authentication()),
    "ServiceMonitor": _resource("monitoring.coreos.com/v1", "ServiceMonitor", _service_monitor()),
}
"""Kind -> JSON Schema, 2020-12."""
