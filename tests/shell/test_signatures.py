"""A registry that asks for signatures takes what its operator signed, as it was signed, and nothing else."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector import registry
from detector.core.views import EMPLOYEE
from detector.errors import ConfigError, ModelError
from detector.registry import Trust, signatures
from detector.registry.artefacts import MANIFEST, SIGNATURE
from tests.models import sound

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
TRUST = Trust((KEY.public_key(),), required=True)
CARD = {"card.md": b"# a model\n"}


def load(root: Path, version: str, trust: Trust = TRUST) -> object:
    return registry.load_model(root, version, EMPLOYEE.name, EMPLOYEE.names, trust)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, str]:
    return tmp_path / "models", registry.save(tmp_path / "models", *sound(), files=CARD, key=KEY)


def test_a_model_that_was_signed_as_it_was_saved_or_later_is_taken(signed: tuple[Path, str], tmp_path: Path) -> None:
    later = tmp_path / "later"
    version = registry.save(later, *sound(), files=CARD)
    with pytest.raises(ModelError, match="is not signed"):
        load(later, version)
    assert registry.sign(later, "champion", KEY, by="ada", why="looked at it").signed_by == signatures.fingerprint(KEY.public_key())
    for root in (signed[0], later):
        load(root, version)
        assert registry.check(root, version, TRUST).signed_by == signatures.fingerprint(KEY.public_key())
    assert (later / version / "signature.json").read_bytes() == (signed[0] / version / "signature.json").read_bytes()
    said = registry.history(later)[-1]
    assert (said.event, said.by, said.why, said.key) == ("signed", "ada", "looked at it", signatures.fingerprint(KEY.public_key()))


def edit(root: Path, version: str, name: str, **changed: Any) -> None:
    said = json.loads((root / version / name).read_text()) | changed
    (root / version / name).write_text(json.dumps(said, sort_keys=True, indent=2, ensure_ascii=False) + "\n")


def ours_in_name(root: Path, version: str) -> None:
    registry.sign(root, version, OTHER)
    edit(root, version, SIGNATURE, key=signatures.fingerprint(KEY.public_key()))


def of_another_version(root: Path, version: str) -> None:
    other = registry.save(root, *sound(1), key=KEY)
    (root / version / SIGNATURE).write_bytes((root / other / SIGNATURE).read_bytes())


def in_its_place(root: Path, version: str) -> None:
    other = registry.save(root, *sound(1), key=KEY)
    (root / version).rename(root / "gone")
    (root / other).rename(root / version)


def shorter(root: Path, version: str) -> None:
    path = root / version / MANIFEST
    os.truncate(path, path.stat().st_size - 1)  # without the end of its last line


def write(root: Path, version: str, data: bytes) -> None:
    (root / version / SIGNATURE).write_bytes(data)


FORGED: dict[str, tuple[Callable[[Path, str], object], str]] = {
    "no signature": (lambda root, v: (root / v / SIGNATURE).unlink(), "is not signed"),
    "an empty signature": (lambda root, v: write(root, v, b""), "is not signed"),
    "another's key": (lambda root, v: registry.sign(root, v, OTHER), "is signed with the key"),
    "another's key under our name": (ours_in_name, "is not of this model"),
    "another manifest": (lambda root, v: edit(root, v, MANIFEST, parent="0" * 12), "is not of this model"),
    "the same manifest set otherwise": (shorter, "is not of this model"),
    "the signature of another version": (of_another_version, "is not of this model"),
    "another signed version in its folder": (in_its_place, "is not of this model"),
    "no base64": (lambda root, v: edit(root, v, SIGNATURE, signature="hello!"), "is not of this model"),
    "a short signature": (lambda root, v: edit(root, v, SIGNATURE, signature="aGVsbG8="), "is not of this model"),
    "another kind": (lambda root, v: edit(root, v, SIGNATURE, algorithm="none"), "is of another kind"),
    "no JSON": (lambda root, v: write(root, v, b"\xff\xfe"), "is damaged"),
    "a deep signature": (lambda root, v: write(root, v, b"[" * 4000), "is damaged"),
    "other arrays": (lambda root, v: (root / v / "arrays.npz").write_bytes(b""), "is not what was stored"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "says"), FORGED.values(), ids=FORGED.keys())
def test_what_was_not_signed_so_is_refused_with_what_to_do(
    forge: Callable[[Path, str], object], says: str, signed: tuple[Path, str]
) -> None:
    root, version = signed
    forge(root, version)
    with pytest.raises(ModelError, match=says) as refused:
        load(root, version)
    assert "\n" in str(refused.value) and version in str(refused.value)


def test_another_card_is_found_though_the_signature_is_right(signed: tuple[Path, str]) -> None:
    root, version = signed
    (root / version / "card.md").write_bytes(b"# finds everything\n")
    with pytest.raises(ModelError, match=r"card\.md"):
        registry.check(root, version, TRUST)


def test_what_is_unsigned_is_neither_promoted_nor_imported_nor_gone_back_to(tmp_path: Path) -> None:
    root = tmp_path / "models"
    unsigned, approved = registry.save(root, *sound()), registry.save(root, *sound(1), key=KEY)
    registry.export_version(root, unsigned, tmp_path / "unsigned.zip")
    registry.promote(root, "champion", approved, TRUST)
    for attempt in (
        lambda: registry.promote(root, "champion", unsigned, TRUST),
        lambda: registry.rollback(root, TRUST),
        lambda: registry.import_version(tmp_path / "there", tmp_path / "unsigned.zip", TRUST),
    ):
        with pytest.raises(ModelError, match="is not signed"):
            attempt()
    assert registry.current(root, "champion") == approved and not (tmp_path / "there").exists()


def test_signatures_travel_with_the_model_and_to_a_copy_that_has_none(signed: tuple[Path, str], tmp_path: Path) -> None:
    root, version = signed
    registry.export_version(root, version, tmp_path / "signed.zip", TRUST)
    registry.import_version(tmp_path / "there", tmp_path / "signed.zip", TRUST)
    registry.save(tmp_path / "trained", *sound(), files=CARD)  # where it was trained, before somebody else signed it
    registry.import_version(tmp_path / "trained", tmp_path / "signed.zip", TRUST)
    registry.save(tmp_path / "again", *sound(), files=CARD)
    registry.save(tmp_path / "again", *sound(), files=CARD, key=KEY)  # trained once more, by a job that has the key
    load(tmp_path / "again", version)
    load(tmp_path / "there", version)
    load(tmp_path / "trained", version)


def test_without_a_key_signatures_are_not_looked_at_and_with_one_wrong_ones_never_pass(signed: tuple[Path, str]) -> None:
    root, version = signed
    registry.sign(root, version, OTHER)
    load(root, version, Trust())
    with pytest.raises(ModelError, match="is signed with the key"):
        load(root, version, Trust((KEY.public_key(),)))
    load(root, version, Trust((KEY.public_key(), OTHER.public_key()), required=True))
    (root / version / "signature.json").unlink()
    load(root, version, Trust((KEY.public_key(),)))


def test_keys_are_made_once_kept_from_others_and_read_again(tmp_path: Path) -> None:
    name = signatures.generate(tmp_path / "key.pem", tmp_path / "key.pem.pub")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert signatures.fingerprint(registry.read_private_key(tmp_path / "key.pem").public_key()) == name
    assert [signatures.fingerprint(key) for key in registry.read_public_keys(tmp_path / "key.pem.pub")] == [name]
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(ConfigError, match="never written over"):
        signatures.generate(tmp_path / "key.pem", tmp_path / "other.pub")
    assert (tmp_path / "key.pem").read_bytes() == before
    both = tmp_path / "both.pub"
    signatures.generate(tmp_path / "next.pem", tmp_path / "next.pem.pub")
    both.write_bytes((tmp_path / "key.pem.pub").read_bytes() + (tmp_path / "next.pem.pub").read_bytes())
    assert len(registry.read_public_keys(both)) == 2


def test_what_is_no_key_is_named_with_what_to_do(tmp_path: Path) -> None:
    signatures.generate(tmp_path / "key.pem", tmp_path / "key.pem.pub")
    subprocess.run(["openssl", "genrsa", "-out", tmp_path / "rsa.pem", "1024"], check=True, capture_output=True)
    (tmp_path / "none.pem").write_text("hello")
    for read, name in (
        (registry.read_private_key, "none.pem"), (registry.read_private_key, "absent.pem"), (registry.read_private_key, "rsa.pem"),
        (registry.read_private_key, "key.pem.pub"), (registry.read_public_keys, "none.pem"), (registry.read_public_keys, "key.pem"),
        (registry.read_public_keys, "absent.pem"), (registry.read_public_keys, "rsa.pem"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=name) as refused:
            read(tmp_path / name)
        assert "models keygen" in str(refused.value)
