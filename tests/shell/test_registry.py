"""The registry keeps models as data: the same bytes for the same arrays, aliases move atomically, and what was done is written down."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detector import registry
from detector.core.views import EMPLOYEE
from detector.errors import ModelError
from detector.registry.arrays import pack
from detector.registry.history import HISTORY
from tests.models import sound

ARRAYS = {
    "employee.forest.threshold": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "employee.tails": np.arange(5, dtype=np.int64),
    "vocabulary": np.array(["read", "größe"]),
    "flag": np.array(True),
}
MANIFEST = {"format": 1, "seed": 7, "thresholds": {"general": 2.5}}
CARD = {"card.md": b"# a model\n", "recall.png": b"\x89PNG"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def several(folder: Path, count: int) -> list[str]:
    """Sound models; the first is the champion."""
    return [registry.save(folder, *sound(n)) for n in range(count)]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    version = registry.save(tmp_path, ARRAYS, MANIFEST)
    arrays, manifest = registry.load(tmp_path, version)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)
    sha256 = hashlib.sha256((tmp_path / version / "arrays.npz").read_bytes()).hexdigest()
    assert manifest == {**MANIFEST, "sha256": sha256, "version": version}
    assert version == sha256[:12] == registry.version_of(ARRAYS)


def test_the_same_arrays_are_the_same_bytes_whatever_their_order_layout_and_byte_order() -> None:
    other = {name: np.asarray(array, array.dtype.newbyteorder(">"), order="F") for name, array in reversed(ARRAYS.items())}
    assert pack(other) == pack(ARRAYS)
    assert pack({**ARRAYS, "flag": np.array(False)}) != pack(ARRAYS)


def test_the_first_model_becomes_the_champion_and_the_second_does_not(tmp_path: Path) -> None:
    first, second = several(tmp_path, 2)
    assert registry.load(tmp_path, "champion")[1]["version"] == first
    assert {(v.version, v.aliases) for v in registry.list_versions(tmp_path)} == {(first, ("champion",)), (second, ())}


def test_saving_the_same_model_again_changes_nothing(tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, MANIFEST, CARD)
    before = files(tmp_path)
    registry.save(tmp_path, ARRAYS, MANIFEST, CARD)
    assert files(tmp_path) == before


def test_a_version_is_immutable(tmp_path: Path) -> None:
    registry.save(tmp_path, ARRAYS, MANIFEST, CARD)
    for manifest, beside in (({**MANIFEST, "seed": 8}, CARD), (MANIFEST, {"card.md": b"# another\n"})):
        with pytest.raises(ModelError, match="another manifest"):
            registry.save(tmp_path, ARRAYS, manifest, beside)


def test_the_card_and_its_pictures_appear_with_the_model_and_are_checked_with_it(tmp_path: Path) -> None:
    version = registry.save(tmp_path, *sound(), files=CARD)
    assert (tmp_path / version / "recall.png").read_bytes() == CARD["recall.png"]
    assert registry.check(tmp_path, version).files == ("card.md", "recall.png")
    (tmp_path / version / "card.md").write_bytes(b"# finds everything\n")
    with pytest.raises(ModelError, match=r"card.md: is not what was stored"):
        registry.check(tmp_path, version)
    registry.load_model(tmp_path, version, EMPLOYEE.name, EMPLOYEE.names)  # what people read does not stop the service


def test_promotion_and_rollback_move_the_alias_and_are_in_the_history(tmp_path: Path) -> None:
    first, second = several(tmp_path, 2)
    registry.promote(tmp_path, "champion", second, by="ada", why="new teams")
    assert registry.current(tmp_path, "champion") == second
    assert registry.rollback(tmp_path, by="bob", why="too many alerts") == first == registry.current(tmp_path, "champion")
    said = registry.history(tmp_path)
    assert [(entry.event, entry.version) for entry in said] == [
        ("saved", first), ("champion", first), ("saved", second), ("champion", second), ("champion", first),
    ]  # fmt: skip
    assert [(entry.by, entry.why, entry.undoes) for entry in said[-2:]] == [("ada", "new teams", ""), ("bob", "too many alerts", second)]
    assert all(entry.by and entry.time for entry in said)


def test_a_second_rollback_goes_one_step_further_back(tmp_path: Path) -> None:
    first, second, third = several(tmp_path, 3)
    for version in (second, third, third):  # to promote what stands already is no step
        registry.promote(tmp_path, "champion", version)
    assert [registry.rollback(tmp_path), registry.rollback(tmp_path)] == [second, first]
    with pytest.raises(ModelError, match="no champion before"):
        registry.rollback(tmp_path)
    registry.promote(tmp_path, "champion", third)
    assert registry.rollback(tmp_path) == first, "what was gone back from is no step either"


def test_a_rollback_finds_its_way_without_the_last_line_of_the_history(tmp_path: Path) -> None:
    first, second = several(tmp_path, 2)
    registry.promote(tmp_path, "champion", second)
    whole = (tmp_path / HISTORY).read_bytes()
    (tmp_path / HISTORY).write_bytes(whole[: whole.rindex(b"{") + 20])  # the machine died in the middle of it
    assert registry.rollback(tmp_path, why="it was no good") == first
    assert registry.history(tmp_path)[-1].why == "it was no good", "nothing is written into a line that was cut short"


def test_a_challenger_is_beside_the_champion(tmp_path: Path) -> None:
    first, second = several(tmp_path, 2)
    registry.promote(tmp_path, "challenger", second)
    assert (registry.current(tmp_path, "champion"), registry.current(tmp_path, "challenger")) == (first, second)
    with pytest.raises(ModelError, match="no champion before"):
        registry.rollback(tmp_path)


def test_a_damaged_model_cannot_be_promoted_nor_rolled_back_to(tmp_path: Path) -> None:
    first, second = several(tmp_path, 2)
    original = (tmp_path / second / "arrays.npz").read_bytes()
    (tmp_path / second / "arrays.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="is not what was stored"):
        registry.promote(tmp_path, "champion", second)
    assert registry.current(tmp_path, "champion") == first
    (tmp_path / second / "arrays.npz").write_bytes(original)
    registry.promote(tmp_path, "champion", second)
    (tmp_path / first / "arrays.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="is not what was stored"):
        registry.rollback(tmp_path)
    assert registry.current(tmp_path, "champion") == second


def test_what_is_no_model_is_stored_but_not_promoted(tmp_path: Path) -> None:
    registry.save(tmp_path, *sound())
    other = registry.save(tmp_path, ARRAYS, MANIFEST)
    with pytest.raises(ModelError, match="has no model"):
        registry.promote(tmp_path, "champion", other)


def test_an_exported_version_is_imported_as_it_was(tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "model.zip"
    version = registry.save(here, *sound(), files=CARD)
    _, sha256 = registry.export_version(here, "champion", file)
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert registry.import_version(there, file, by="ada", why="from the lab").version == version
    assert files(there / version) == files(here / version)
    assert [(entry.event, entry.by, entry.why) for entry in registry.history(there)] == [("imported", "ada", "from the lab")]
    with pytest.raises(ModelError, match="has no champion"):
        registry.current(there, "champion")
    registry.import_version(there, file)  # again: nothing
    assert len(registry.history(there)) == 1


def test_the_same_version_is_exported_as_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "other"):
        registry.save(tmp_path / place, *sound(), files=dict(reversed(CARD.items())) if place == "other" else CARD)
        registry.export_version(tmp_path / place, "champion", tmp_path / f"{place}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_a_save_that_was_cut_short_leaves_no_version(tmp_path: Path) -> None:
    (tmp_path / ".0123456789ab.xyz").mkdir(parents=True)
    assert registry.list_versions(tmp_path) == []
    with pytest.raises(ModelError, match="has no champion"):
        registry.load(tmp_path, "champion")


def test_several_may_save_and_promote_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = set(pool.map(lambda n: registry.save(tmp_path, *sound(n % 2)), range(16)))
        list(pool.map(lambda version: registry.promote(tmp_path, "champion", version), sorted(versions) * 4))
    champions = [entry.version for entry in registry.history(tmp_path) if entry.event == "champion"]
    assert len(versions) == 2 and len(champions) == 9
    assert registry.current(tmp_path, "champion") == champions[-1], "the history's order is that in which the alias moved"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert all(json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines())


def test_a_registry_may_lie_behind_a_link(tmp_path: Path) -> None:
    version = registry.save(tmp_path / "real", *sound())
    (tmp_path / "models").symlink_to("real")
    assert registry.check(tmp_path / "models", "champion").version == version
    assert registry.promote(tmp_path / "models", "challenger", version) == registry.current(tmp_path / "real", "challenger")
