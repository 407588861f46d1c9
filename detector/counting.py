"""What is counted of a transaction once it is certain to have happened."""

from __future__ import annotations

import time

from detector.delivery import Delivery
from detector.metrics import Metrics


def count(figures: Metrics, delivery: Delivery, seconds: float) -> None:
    """`seconds`: what it took to process the batch."""
    now = time.time()
    if delivery.events or delivery.refused:
        figures.batch(seconds, delivery.events, delivery.late, delivery.refused)
        figures.stages(delivery.stages)
        figures.scored(delivery.scored)
    figures.notables(delivery.notables, delivery.dropped)
    figures.suppressed(delivery.suppressed)
    figures.active(delivery.employee_days)
    figures.daily(delivery.blocks)
    figures.beats(delivery.beats, now)
    if delivery.canary >= 0:
        figures.canary(delivery.canary / 1000)
    for severity, happened, arrived in delivery.raised:
        figures.alert(severity, now - happened / 1000, now - arrived / 1000)
