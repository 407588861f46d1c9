"""What the tests of our Kafka clients share: where the proxy of the integration tests is."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
