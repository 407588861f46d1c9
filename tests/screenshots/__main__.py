"""Draws docs/images: `make screenshots`. RECORDED=FOLDER draws what an earlier run left there, instead of recording anew (5 minutes).

The recording is a folder with Prometheus' data in `data`, and the time to show in `recording.json`: `start` and `end`, seconds since 1970.
The tests of alarms leave such a folder, too: DETECTOR_RECORDING=FOLDER, see tests/prometheus.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / name) for name in ("../config/grafana", "integration", "prometheus")]
from boards import Window, picture
from queries import FOLDER
from recording import record
from server import Prometheus
from tour import outputs

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--recorded", type=Path, help="what an earlier run left")
    recorded: Path | None = asked.parse_args().recorded
    if recorded is None:
        recorded = ROOT / "var/screenshots"
        shutil.rmtree(recorded, ignore_errors=True)
        print(f"recording, for about 6 minutes, into {recorded} ...", flush=True)
        record(recorded)
    IMAGES.mkdir(exist_ok=True)
    boards(recorded)
    with tempfile.TemporaryDirectory() as folder:
        outputs(Path(folder), IMAGES)


def boards(recorded: Path) -> None:
    told = json.loads((recorded / "recording.json").read_text())
    window = Window(told["start"], told["end"])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(recorded / "data", Path(folder) / "data", ignore=shutil.ignore_patterns("lock", "queries.active"))
        with Prometheus(Path(folder), {}, {}) as prometheus:
            for file in sorted(FOLDER.glob("*.json")):
                path = IMAGES / f"{file.stem}.png"
                picture(json.loads(file.read_text("utf-8")), prometheus, window, path)
                print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
