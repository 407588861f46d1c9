"""Each column of a frame equals what the slow version says of each event, however batches are cut; small changes are noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from framing_worlds import ZONES, batch_of, world, zones
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutate
from slow_framing import hashed, slow_frame

from detector.core import framing, json_scan, lookups
from detector.core.baselines import Baselines
from detector.core.context import Calendar, Context
from detector.core.events import ACTIONS, Records
from detector.core.formats.native import Limits, decode
from detector.core.frame import Frame
from detector.core.framing import Framer, local_time, staff, walls
from detector.core.lookups import MOST_REMEMBERED, Lookup, Memo, pair_hash


def differing(seed: int, n: int = 120) -> set[str]:
    """Columns that the frame and the slow version see differently."""
    context, baselines, events, rng = world(seed, n)
    expected = [slow_frame(context, baselines, e) for e in events]
    framer, wrong = Framer(context, baselines), set()
    for of_rows in (False, True):
        frame = framer.frame(batch_of(events, rng, of_rows))
        for f in fields(Frame):
            said = np.array([e[f.name] for e in expected], getattr(frame, f.name).dtype)
            if not np.array_equal(getattr(frame, f.name), said, equal_nan=said.dtype == np.float64):
                wrong.add(f.name)
    return wrong


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_a_frame_says_what_the_slow_version_says(seed: int) -> None:
    assert differing(seed) == set()


def test_the_worlds_reach_every_case() -> None:
    seen: dict[str, list[Any]] = {f.name: [] for f in fields(Frame)}
    for seed in range(20):
        context, baselines, events, _ = world(seed)
        for e in events:
            for name, value in slow_frame(context, baselines, e).items():
                seen[name].append(value)
    assert set(seen["hour"]) == set(range(48)) and set(seen["kind"]) == set(range(5)) and set(seen["wall"]) == {0, 0.02, 0.1, 1}
    assert set(seen["special"]) == {0, 0.6, 0.8, 1} and {-1.0, 0.0} < set(seen["revoked"]) and len(set(seen["grants"])) == 2
    assert set(seen["team"]) == {0, 1, 2, 3, 4} and len(set(seen["old_team"])) >= 3 and len(set(seen["transferred"])) > 10
    for name in ("exception", "own", "self", "teammate", "location", "content"):
        assert sum(seen[name]) > 3, name
    for name in ("pair_row", "purpose_row"):
        assert len(set(seen[name])) > 2 and -1 in seen[name], name


def test_columns_are_as_declared_and_contiguous() -> None:
    context, baselines, events, rng = world(3)
    for some in (events, []):
        frame = Framer(context, baselines).frame(batch_of(some, rng))
        for f in fields(Frame):
            column = getattr(frame, f.name)
            assert column.shape == (len(some),) and column.flags["C_CONTIGUOUS"], f.name
            assert f"NDArray[np.{column.dtype.name.replace('bool', 'bool_')}]" == f.type, f.name


def same(one: Frame, other: Frame) -> bool:
    return all(getattr(one, f.name).tobytes() == getattr(other, f.name).tobytes() for f in fields(Frame))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 120))
def test_how_batches_are_cut_and_what_was_framed_before_changes_nothing(seed: int, cut: int) -> None:
    context, baselines, events, rng = world(seed)
    batch, framer = batch_of(events, rng), Framer(context, baselines)
    parts = [slice(cut, None), slice(0, cut)]
    whole = Framer(context, baselines).frame(batch)
    for part in parts:
        assert same(framer.frame(batch.take(part)), whole.take(part))
    backwards = np.arange(len(batch))[::-1].copy()
    assert same(framer.frame(batch.take(backwards)), whole.take(backwards))


def escaped(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"'


@pytest.mark.parametrize("name", ["actor", "resource", "fields", "purpose", "subject"])
def test_a_member_written_with_escapes_is_the_same_member(name: str) -> None:
    context, baselines, events, _ = world(11, 60)
    rows = [e for e in events if name in e]
    plain = [json.dumps(e).encode() for e in rows]
    odd = [escaped(e[name]) if isinstance(e[name], str) else f"[{' , '.join(map(escaped, e[name]))}]" for e in rows]
    written = [json.dumps(e | {name: 0}).replace(f'"{name}": 0', f'"{name}": {o}').encode() for e, o in zip(rows, odd, strict=True)]
    framer = Framer(context, baselines)
    assert same(framer.frame(decode(Records.of(plain), Limits())), framer.frame(decode(Records.of(written), Limits())))


@pytest.mark.parametrize("name", ZONES.values())
def test_local_time_is_zoneinfos_around_every_change_of_clocks(name: str) -> None:
    """Also before 1970 ends and after the last change known."""
    zone = zones()[name]
    around = np.array([at + shift for at in zone.since for shift in (-1, 0, 1, 3_600_000)], np.int64)
    context = Context(calendars={"R": Calendar(name)}, zones={name: zone})
    events = [{"time": max(int(at), 0), "actor": "e", "action": "read", "resource": "r", "actor_region": "R"} for at in around]
    frame = Framer(context, Baselines.blank(3)).frame(batch_of(events, np.random.default_rng(0)))
    assert frame.hour.tolist() == [slow_frame(context, Baselines.blank(3), e)["hour"] for e in events]


def test_the_zones_of_the_shell_agree_with_zoneinfo_every_hour_of_some_years() -> None:
    context = Context(calendars={"R": Calendar("Africa/Casablanca")}, zones=zones())
    clocks, region = local_time.Clocks(context), Lookup.of(["R"])
    assert region.find(np.array([hashed("R"), 5, 0], np.uint64)).tolist() == [0, -1, -1]
    for year in (1984, 2026):
        start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000
        time = start + 3_600_000 * np.arange(24 * 365)
        hour = clocks.hour(time, np.full(len(time), hashed("R"), np.uint64))
        events = [{"time": int(t), "actor": "e", "action": "read", "resource": "r", "actor_region": "R"} for t in time]
        assert hour.tolist() == [slow_frame(context, Baselines.blank(3), e)["hour"] for e in events]


def test_the_name_of_a_team_goes_with_its_hash() -> None:
    for seed in range(6):
        context, baselines, events, rng = world(seed)
        framer = Framer(context, baselines)
        names = [framer.team_name(e.get("actor_team"), e["actor"], e["time"]) for e in events]
        assert framer.frame(batch_of(events, rng)).team_key.tolist() == list(map(hashed, names))


def test_nothing_is_known_without_context_and_baselines() -> None:
    _, _, events, rng = world(5)
    frame = Framer(Context(), Baselines.blank(3)).frame(batch_of(events, rng))
    assert not frame.team.any() and (frame.pair_row == -1).all() and (frame.revoked == -1).all() and not frame.wall.any()
    assert not frame.special.any() and not frame.teammate.any() and (frame.old_team == -1).all() and not frame.transferred.any()


def test_a_memo_asks_once_and_forgets_all_when_it_is_full() -> None:
    asked: list[int] = []

    def ask(row: int) -> int:
        asked.append(row)
        return int(hashes[row] % np.uint64(1000))

    memo, rng = Memo(np.int64), np.random.default_rng(1)
    hashes = np.append(rng.integers(1, 2**63, MOST_REMEMBERED - 1).astype(np.uint64), np.uint64(0))
    for _ in range(2):
        assert memo.of(hashes, ask)[:-1].tolist() == (hashes[:-1] % np.uint64(1000)).tolist()
    assert memo.of(hashes, ask)[-1] == 0 and len(asked) == MOST_REMEMBERED - 1
    some = hashes[:10].copy()
    for size in (1, 2, 100):
        hashes = np.append(some, rng.integers(1, 2**63, size).astype(np.uint64))
        assert memo.of(hashes, ask).tolist() == (hashes % np.uint64(1000)).tolist()
    assert len(memo._known) == 10 + 2 + 100


def test_a_lookup_finds_each_and_nothing_else_however_they_crowd() -> None:
    rng = np.random.default_rng(4)
    for n in (0, 1, 3, 4, 5, 1000):
        crowd = rng.permutation(np.concatenate([np.arange(1, n // 2 + 1) << 12, rng.choice(2**40, n - n // 2, replace=False) << 1 | 1]))
        lookup = Lookup(np.concatenate([crowd, crowd]).astype(np.uint64))
        assert lookup.find(crowd.astype(np.uint64)).tolist() == list(range(n))
        others = np.setdiff1d(np.arange(4 * n), crowd).astype(np.uint64)
        assert (lookup.find(others) == -1).all() and (n == 0 or others[0] == 0)


def test_pair_hashes_tell_actions_apart_and_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = np.repeat(np.arange(1, 2000, dtype=np.uint64), len(ACTIONS))
    made = pair_hash(resource, np.tile(np.arange(len(ACTIONS)), 1999))
    assert made.dtype == np.uint32 and made.all() and len(np.unique(made)) > len(made) - 5
    assert abs(float(np.mean([np.mean(made >> np.uint32(bit) & 1) for bit in range(32)])) - 0.5) < 0.01
    monkeypatch.setattr(lookups, "_joined", lambda one, other: np.zeros(len(one), np.uint64))
    assert pair_hash(resource, resource).tolist() == [1] * len(resource)


SEEDS = range(6)
MUTATIONS: list[tuple[ModuleType, str, str]] = [
    (framing, "SPECIAL_CONTACT = 1.0, 0.8, 0.6", "SPECIAL_CONTACT = 1.0, 0.8, 0.7"),
    (framing, "SPECIAL_COLLEAGUE, SPECIAL_CONTACT = 1.0, 0.8", "SPECIAL_COLLEAGUE, SPECIAL_CONTACT = 1.0, 0.9"),
    (framing, "SPECIAL_CONTACT = 1.0,", "SPECIAL_CONTACT = 0.9,"),
    (framing, 'LOCATION = ("location",)', 'LOCATION = ("contact",)'),
    *((framing, f'"{name}"', '"x"') for name in ("financial", "health", "identity", "credential")),
    (framing, 'CONTENT = ("content",', "CONTENT = ("),
    (framing, "REVOKED_DAYS = 90", "REVOKED_DAYS = 80"), (framing, "HANDOVER_DAYS = 5", "HANDOVER_DAYS = 12"),
    (framing, "(said == 0) | ", ""), (framing, " | self._staff.service[post]", ""),
    (framing, "np.where(region == 0,", "np.where(region == 1,"),
    (framing, "np.where(old_row < 0, -1, old_row + 1)", "old_row"), (framing, "self._teams.find(team) + 1", "self._teams.find(team)"),
    (framing, "SPECIAL_PROTECTED * asked", "0 * asked"), (framing, "& (team != 0)", ""),
    (framing, "same & (employee | (kind != PLAIN))", "same"), (framing, "employee | (kind != PLAIN)", "employee"),
    (framing, "employee & ~same & mates", "employee & mates"), (framing, "employee & ~same & mates", "~same & mates"),
    (framing, "(ago >= 0) & ", ""), (framing, "(ago >= 0) & (ago <= REVOKED_DAYS)", "(ago >= 0)"),
    (framing, "(moved != 0) & (ago >= HANDOVER_DAYS) & (ago <= REVOKED_DAYS)", "(moved != 0) & (ago >= HANDOVER_DAYS)"),
    (framing, "(moved != 0) & (ago >= HANDOVER_DAYS)", "(moved != 0)"), (framing, "formerly & ", ""),
    (framing, " & (self._owners.find(key[left]) < 0)", ""), (framing, "self._use[self._used.find(key)]", "0.0"),
    (framing, 'kind == "own_account"', 'kind == "household"'), (framing, 'kind != "contact"', 'kind == "household"'),
    (framing, "out.setdefault(subject, SPECIAL_CONTACT)", "pass"), (framing, "elif context.protected_class(linked) is not None", "else"),
    (framing, "dict.fromkeys(context.protected, SPECIAL_PROTECTED)", "{}"), (framing, 'IAM_PREFIX = "iam:"', 'IAM_PREFIX = "iam"'),
    (framing, "if granted else 0", "if granted else 1"), (framing, "if said.count(None)", "if not said.count(None)"),
    (framing, "np.flatnonzero(action == _ASSIGN)", "np.flatnonzero(action == 1)"),
    (staff, "name if role == SERVICE else team", "team"), (staff, "role == SERVICE)\n", "False)\n"),
    (staff, "move[0] * DAY if move else 0", "move[0] if move else 0"), (staff, "move[1] if move", "None if move"),
    (staff, "who.listed for", "True for"), (staff, "since[out[i]] > day[i]", "since[out[i]] >= day[i]"),
    (staff, "while out[i] > first[who[i]] and", "while"), (staff, "first[who[i] + 1] - 1", "first[who[i]]"),
    (walls, "CROSSED, BY_EXEMPT_TEAM, WITH_EXCEPTION = 1.0, 0.1, 0.02", "CROSSED, BY_EXEMPT_TEAM, WITH_EXCEPTION = 1.0, 0.1, 0.03"),
    (walls, "WITH_EXCEPTION = 1.0, 0.1", "WITH_EXCEPTION = 1.0, 0.2"), (walls, "WITH_EXCEPTION = 1.0", "WITH_EXCEPTION = 0.9"),
    (walls, " & (region != 0)", ""), (walls, "[allowed, excepted, exempt], [0.0, WITH_EXCEPTION, BY_EXEMPT_TEAM]",
     "[allowed, exempt, excepted], [0.0, BY_EXEMPT_TEAM, WITH_EXCEPTION]"),
    (walls, "not dash or batch.rows[row].purpose.startswith(prefix)", "True"), (walls, "            if dash:", "            if True:"),
    (walls, "if (p := wall.exception_prefix) else len(self._prefixes)", "if (p := wall.exception_prefix) else 0"),
    (local_time, "THURSDAY = 3", "THURSDAY = 4"), (local_time, "time[i] + offset[rule]", "time[i]"),
    (local_time, "% len(self._works)", "* 0"),
    (local_time, 'side="right") - 1', 'side="right")'), (local_time, " or (at < end and holiday[at] == day)", ""),
    (local_time, "24 if free else 0", "0"), (local_time, "sorted(calendar.holidays)", "sorted(calendar.holidays)[1:]"),
    (json_scan, 'data[dash] != ord("-")', 'data[dash] != ord("+")'), (json_scan, "located[_KIND] = (at,", "located[_KIND] = (at + 1,"),
    (lookups, "30))) * np.uint64(0xBF58476D1CE4E5B9)", "29))) * np.uint64(0xBF58476D1CE4E5B9)"),
    (lookups, "_mixed(one[i] + _mixed(", "_mixed(one[i] + ("),
    (lookups, "joined_hash(resource, action) >> np.uint64(32)", "joined_hash(resource, action) >> np.uint64(31)"),
    (lookups, "& (hashes != 0)", ""), (lookups, "at = hashes[i] & last", "at = hashes[i] >> np.uint64(1) & last"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("module", [framing, staff, walls, local_time, lookups], ids=lambda m: m.__name__.rpartition(".")[2])
def test_the_kernels_say_the_same_as_plain_python(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, "", "")
    assert all(differing(seed, 40) == set() for seed in SEEDS)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(("module", "old", "new"), MUTATIONS, ids=lambda x: x if isinstance(x, str) else x.__name__.rpartition(".")[2])
def test_a_small_change_is_noticed(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, module, old, new)

    def fails(test: Callable[[], object]) -> bool:
        try:
            return bool(test())
        except (AssertionError, IndexError, ValueError, TypeError, AttributeError):
            return True

    assert any(fails(lambda seed=seed: differing(seed)) for seed in SEEDS)
