"""Signatures of models: Ed25519 (RFC 8032), with a key of the operator's.

Who may write into the registry decides what is strange. Where a signature is required, that is only who holds the private key. Signed are
the version and manifest.json, which names the sha256 of everything else. A signature says that a model was approved, not that it is the one
in use: aliases are not signed, so who may write into the registry can still go back to a version that was approved once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from detector.errors import ConfigError, ModelError

ALGORITHM = "ed25519"
MAX_KEY_BYTES = 65_536
CONTEXT = b"detector model signature 1\n"
"""Before what is signed, so that no signature made for another purpose is one of a model."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """signature.json"""

    algorithm: str
    key: str
    """Fingerprint of the public key."""
    signature: str
    """Base64."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count, and whether there must be one. With no keys, signatures are not looked at."""

    keys: tuple[Ed25519PublicKey, ...] = ()
    required: bool = False

    def check(self, version: str, manifest: bytes, signature: bytes) -> str:
        """The fingerprint of the key that signed, "" where nobody had to. Raises ModelError."""
        if not signature and self.required:
            raise ModelError(
                f"version {version} is not signed, and models.require_signed is set\n"
                f"let who holds the key look at it and sign it: `detector models sign {version} --key FILE`; or promote a signed version"
            )
        if not signature or not self.keys:
            return ""
        said = _read(signature, version)
        key = next((key for key in self.keys if fingerprint(key) == said.key), None)
        if key is None:
            trusted = ", ".join(map(fingerprint, self.keys))
            raise ModelError(
                f"version {version} is signed with the key {said.key[:64]!r}, and models.public_key holds {trusted}\n"
                "if that key should count, add it to the file of models.public_key; else let the version be signed anew, or promote another"
            )
        try:
            key.verify(base64.b64decode(said.signature, validate=True), _signed(version, manifest))
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise ModelError(
                f"version {version}: the signature is not of this model: it, or the model, was changed after it was signed\n"
                "find out by whom; promote another version, or import the original again"
            ) from error
        return said.key


def sign(key: Ed25519PrivateKey, version: str, manifest: bytes) -> bytes:
    """signature.json. Ed25519 needs no random numbers: the same model and key give the same bytes."""
    made = base64.b64encode(key.sign(_signed(version, manifest))).decode()
    return msgspec.json.format(msgspec.json.encode(Signature(ALGORITHM, fingerprint(key.public_key()), made))) + b"\n"


def signer(signature: bytes, version: str) -> str:
    """The fingerprint that signature.json names, "" for none; whether it is right is not asked. Raises ModelError."""
    return _read(signature, version).key if signature else ""


def fingerprint(key: Ed25519PublicKey) -> str:
    """First 16 hex digits of the sha256 of the 32 bytes of the public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def generate(private: Path, public: Path) -> str:
    """Writes a new pair of keys as PEM, the private one readable by its owner only; gives the fingerprint. Never writes over a file."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, mode, text in (
        (private, 0o600, secret),
        (public, 0o644, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    ):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise ConfigError(f"{path}: is there already; a key is never written over\nname another file, or move it away") from error
        with os.fdopen(file, "wb") as out:
            out.write(text)
    return fingerprint(key.public_key())


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """A PEM file that is not encrypted, as `models keygen` and `openssl genpkey -algorithm ed25519` write it. Raises ConfigError."""
    try:
        key = load_pem_private_key(_bytes(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path}: holds no private key that can be read ({error})\n"
            "give a PEM file without passphrase, as `detector models keygen FILE` writes it"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: is no Ed25519 key\n`detector models keygen FILE` makes one")
    return key


def read_public_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """A PEM file with one public key or several, so that a new one can be brought in before the old one goes. Raises ConfigError."""
    data = _bytes(path)
    blocks = re.findall(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", data, re.S)
    try:
        keys = [load_pem_public_key(block + b"\n") for block in blocks]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: holds no public key ({error})\ngive the .pub file that `detector models keygen FILE` wrote") from error
    found = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not found or len(found) < len(keys):
        raise ConfigError(f"{path}: holds no Ed25519 public key, or one of another kind\ngive what `detector models keygen FILE` wrote")
    return found


def _signed(version: str, manifest: bytes) -> bytes:
    return CONTEXT + version.encode() + b"\n" + manifest


def _read(signature: bytes, version: str) -> Signature:
    try:
        said = msgspec.json.decode(signature, type=Signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"version {version}: signature.json is damaged ({error})\nlet the version be signed again") from error
    if said.algorithm != ALGORITHM:
        raise ModelError(f"version {version}: signature.json is of another kind than {ALGORITHM}\nlet the version be signed again")
    return said


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})\n`detector models keygen FILE` makes a pair of keys") from error
