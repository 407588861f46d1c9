"""Kill services and broker at random while events are fed, then compare with an offline replay: `make torture KILLS=300 SEED=1`.

FOLDER holds the run: seed, counts and the broker's data; the same command goes on with a run that was interrupted. The last line says
`events N, kills K, broker kills B, lost 0, duplicated 0, chain ok, state ok`, counted, and the exit code is 0 only if all of it is so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from ground import STARTS, Feeder, Gauge, Ground
from harness import Stand
from oracle import Truth, all_delivered, truth
from torment import Torment
from verdict import outputs, verdict

RATE, AHEAD = 250.0, 5000
"""Events a second; and how many may wait to be worked off."""
MANY: dict[str, dict[str, Any]] = {"input": {"batch_limit": 10}, "service": {"snapshot_interval": 2.0}}
"""Small transactions and frequent snapshots, so that a fault meets one."""
DRAIN = 300.0
"""Seconds to work off what is left when the faults are over."""
TOLD = 10.0
KINDS = ("alerts", "notables", "dead letters", "daily blocks")


class Run:
    """A run's own book-keeping, in its folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path, self.seed = folder / "run.json", seed
        self.counts: Counter[str] = Counter()
        said = json.loads(self.path.read_text()) if self.path.exists() else {}
        if said.get("finished"):
            shutil.rmtree(folder)
        elif said:
            if said["seed"] != seed:
                sys.exit(f"{folder} holds a run of SEED={said['seed']} that was interrupted: go on with it, or delete the folder")
            self.counts.update(said["counts"])
            end_left_over(folder)
        elif folder.exists() and any(folder.iterdir()):
            sys.exit(f"{folder} holds something else than a run")
        folder.mkdir(parents=True, exist_ok=True)
        self.save()

    def save(self, finished: bool = False) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"seed": self.seed, "counts": self.counts, "finished": finished}))
        part.replace(self.path)


def end_left_over(folder: Path) -> None:
    """Services of a run that was itself killed; its broker ended with it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and any(word.startswith(bytes(folder / "detector-")) for word in words):
                os.kill(int(process.name), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/torture", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=300, metavar="N", help="SIGKILLs of services (default 300)")
    parser.add_argument("--broker-kills", type=int, metavar="N", help="SIGKILLs of the broker (default: a tenth of --kills)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of events and faults (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("var/torture"), metavar="DIR", help="the run (default var/torture)")
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help=f"events a second (default {RATE:g})")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    run = Run(args.folder.absolute(), args.seed)
    ground = Ground(run.path.parent, args.seed)
    ground.prepare()
    with ground.broker:
        return tormented(run, ground, args.kills, args.kills // 10 if args.broker_kills is None else args.broker_kills, args.rate)


def tormented(run: Run, ground: Ground, kills: int, broker_kills: int, rate: float) -> int:
    stand = ground.stand(**MANY)
    gauge = Gauge(stand)
    feeder = Feeder(stand, ground.records, rate, AHEAD, gauge)
    begun, told = time.monotonic(), [0.0]

    def tell() -> None:
        run.save()
        pace = 0.2 if sys.stderr.isatty() else TOLD
        if time.monotonic() - told[0] > pace:
            told[0] = time.monotonic()
            done = f"kills {run.counts['kills']}/{kills}, broker kills {run.counts['broker kills']}/{broker_kills}"
            say(f"{told[0] - begun:.0f} s, {done}, events {feeder.sent:,} ({gauge.events:,} done), alerts {gauge.alerts:,}")

    # what a run that was interrupted would have done next is not what this one does, but the same command does the same again
    dice = random.Random(f"{run.seed} {run.counts.total()}")
    for thread in (gauge, feeder):
        thread.start()
    torment = Torment(stand, ground.broker, dice, run.counts)
    try:
        torment.run(kills, broker_kills, tell)
        feeder.stop()
        torment.calm(tell)
        expected = truth(stand, STARTS)
        end = time.monotonic() + DRAIN
        while time.monotonic() < end and not all_delivered(stand, expected):
            torment.mind()
            tell()
            time.sleep(0.5)
        torment.stop()
    finally:
        torment.end()
        run.save()
    return report(run, stand, expected, torment.surprises)


def say(line: str) -> None:
    """In place on a terminal."""
    at, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(at + line, end=end, file=sys.stderr, flush=True)


def report(run: Run, stand: Stand, expected: Truth, surprises: list[str]) -> int:
    found = verdict(stand, expected)
    run.save(finished=True)
    counts = run.counts
    for line in (*surprises, found.wrong):
        if line:
            print(line)
    every: Any = outputs(expected)
    kinds = ", ".join(f"{sum(map(len, kind.values())):,} {name}" for name, kind in zip(KINDS, every, strict=True))
    print(f"compared: {kinds}; outputs of aborted transactions: {found.aborted:,}")
    others = ("failpoints", "freezes", "gave up", "unexpected exits")
    print("of the kills by failpoints {}; freezes {}; starts given up while the broker was away {}; unexpected exits {}".format(
        *(counts[name] for name in others)
    ))  # fmt: skip
    print(f"events {expected.records}, kills {counts['kills']}, broker kills {counts['broker kills']}, {found}")
    return 0 if found.exact and not counts["unexpected exits"] else 1


if __name__ == "__main__":
    sys.exit(main())
