"""Writes the dashboards as Grafana is given them: `make dashboards`, or `python config/grafana FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import detection
import model
import operations
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).parent / "dashboards"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in (operations, detection, model):
        text = json.dumps(each.dashboard(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / f"{each.__name__}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
