"""Load over time: `make soak MINUTES=30`. Sections: faults (H5), backlog (H2), burst (H3); `--only` chooses."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from endurance import soaked
from ground import Ground
from load import backlog, burst


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of load with faults (default 30)")
    parser.add_argument("--every", type=float, default=5.0, metavar="MINUTES", help="between two faults (default 5)")
    parser.add_argument("--rate", type=float, default=300.0, metavar="N", help="events a second (default 300); live for the other sections")
    parser.add_argument("--backlog", type=int, default=1_000_000, metavar="N", help="events (default 1,000,000)")
    parser.add_argument("--only", choices=("faults", "backlog", "burst"), action="append", help="a section; may be given several times")
    args = parser.parse_args()
    sections: dict[str, Callable[[Ground], bool]] = {
        "faults": lambda ground: soaked(ground, args.minutes, args.every, args.rate),
        "backlog": lambda ground: backlog(ground, args.backlog, args.rate),
        "burst": lambda ground: burst(ground, args.rate),
    }
    ok = True
    for name in args.only or sections:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory() as kept:
            ground = Ground(Path(kept), 1)
            ground.prepare()
            with ground.broker:
                ok = sections[name](ground) and ok
    print("ok" if ok else "NOT ok")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
