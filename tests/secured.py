"""One real Apache Kafka with a listener for every way in, right and wrong; who may do what is for ACLs to say (StandardAuthorizer)."""

from __future__ import annotations

import datetime
import ipaddress
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from detector.cli.settings import names_of, roles_of_topics
from detector.config import Config, load
from detector.kafka.rights import Right, roles
from detector.sandbox.broker import Broker

NOW = datetime.datetime.now(datetime.UTC)
PASSWORD = "a password of tests"
SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # who comes in by the plain listener: the broker itself, and these tests
    "transaction.partition.verification.enable": "false",  # so that a transaction can be left hanging, as before Kafka 3.6
}

Section = dict[str, Any]
"""`[kafka]`."""
TOPICS = roles_of_topics(Config())
RIGHTS = roles(names_of(Config()))


class Authority:
    """Signs certificates, and keeps them as PEM files in its folder: `ca.pem`, and `NAME.pem` with the key before the certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"authority {folder.name}")
        self.file = folder / "ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key, 1).add_extension(constraints, critical=True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, host: str = "127.0.0.1", days: int = 1) -> Path:
        """A certificate and its key in one file, for this host (an address or a name); `days` < 0: it expired so long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        where: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        made = self._builder(_named(name), key, days).add_extension(x509.SubjectAlternativeName([where]), critical=False)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"{name}.pem"
        path.write_bytes(secret + made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=30)).not_valid_after(NOW + datetime.timedelta(days=days))
        )  # fmt: skip


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Secured:
    """`with Secured(folder) as kafka:`; its addresses by what they are, and its administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ours, self.strangers = folder, Authority(folder / "ours"), Authority(folder / "strangers")
        self.broker = Broker(folder / "broker", settings=SETTINGS)
        self.plain = self.broker.bootstrap
        certificate = self.ours.sign("broker")
        self.tls = self._tls("TLS", certificate)
        self.expired = self._tls("EXPIRED", self.ours.sign("expired", days=-1))
        self.elsewhere = self._tls("ELSEWHERE", self.ours.sign("elsewhere", host="kafka.example"))
        self.mutual = self._tls("MUTUAL", certificate, **{"ssl.client.auth": "required"})
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        scram = {"sasl.enabled.mechanisms": "SCRAM-SHA-512", "scram-sha-512.sasl.jaas.config": login}
        self.sasl = self.broker.listen("SASLED", "SASL_PLAINTEXT", scram)
        self.sasl_tls = self._tls("SASLTLS", certificate, "SASL_SSL", **scram)
        self.astray = self.broker.listen("ASTRAY", "PLAINTEXT", advertised="127.0.0.1:1")
        self.password = folder / "password"
        self.password.write_text(PASSWORD)

    def __enter__(self) -> Secured:
        self.broker.start()
        self.admin = KafkaAdminClient(bootstrap_servers=self.plain)
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()
        self.broker.stop()

    def user(self, name: str) -> dict[str, Any]:
        """The `[kafka]` section of somebody new who comes in by SASL_SSL, as most will."""
        self.admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, "SCRAM-SHA-512", PASSWORD.encode(), 4096)])
        return {
            "bootstrap_servers": [self.sasl_tls], "security_protocol": "SASL_SSL", "ssl_cafile": str(self.ours.file),
            "sasl_username": name, "sasl_password_file": str(self.password),
        }  # fmt: skip

    def grant(self, name: str, rights: Iterable[Right]) -> None:
        self.admin.create_acls([entry(name, right) for right in rights])

    def revoke(self, name: str, right: Right) -> None:
        acl = entry(name, right)
        on = acl.resource_pattern
        pattern = ResourcePatternFilter(on.resource_type, on.resource_name, on.pattern_type)
        self.admin.delete_acls([ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, pattern)])

    def _tls(self, name: str, certificate: Path, protocol: str = "SSL", **more: str) -> str:
        return self.broker.listen(name, protocol, {
            "ssl.keystore.type": "PEM", "ssl.keystore.location": str(certificate), "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ours.file), **more,
        })  # fmt: skip


def entry(name: str, right: Right) -> ACL:
    """A right as an ACL: DescribeConfigs is DESCRIBE_CONFIGS there."""
    kind, operation = (re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", word).upper() for word in (right.kind, right.operation))
    pattern = ACLResourcePatternType.PREFIXED if right.prefixed else ACLResourcePatternType.LITERAL
    resource = ResourcePattern(ResourceType[kind], right.name, pattern)
    return ACL(f"User:{name}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, resource)


def configured(section: Section, **more: str) -> Config:
    said = {f"kafka.{name}": ",".join(value) if isinstance(value, list) else value for name, value in section.items()}
    return load(flags={"topics.partitions": "2", "topics.replication": "1", "models.registry": "/nowhere", **said, **more}).config


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Rights take a moment to arrive."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
