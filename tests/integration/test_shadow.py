"""A challenger in the shadow of the champion: it sees the same events, its alerts are counted, and nothing of it is written anywhere."""

from __future__ import annotations

import shutil

import pytest
from harness import Serving, detector, wait
from oracle import all_delivered, assert_exact, truth

pytestmark = pytest.mark.broker


def test_a_shadow_counts_what_the_challenger_would_alert_and_tells_nobody(office, broker, tmp_path, unique):
    models = shutil.copytree(office.folder / "models", tmp_path / "models")
    detector("models", "promote", "champion", "--as", "challenger", "--models", str(models))
    stand = office.stand(broker, tmp_path, unique, models={"registry": str(models)})
    stand.feed(office.live)
    expected = truth(stand, office.starts)
    alerts = sum(map(len, expected.alerts.values()))
    with Serving(stand, 0) as champion:
        wait(lambda: all_delivered(stand, expected), 60, "the champion has delivered all")
        stand.sections["service"] = {"shadow": True}
        with Serving(stand, 1) as shadow:
            wait(lambda: shadow.metric("detector_events_total") == expected.events, 180, "the shadow has seen all events")
            assert shadow.metric("detector_alerts_total") == alerts > 0
            assert shadow.stop() == 0
        with Serving(stand, 1) as shadow:  # its state is built anew from the events, and what it counted is not counted again
            shadow.until_ready(60)
            assert shadow.metric("detector_alerts_total") == 0
            assert champion.metric("detector_alerts_total") == alerts
            assert shadow.stop() == champion.stop() == 0
    assert_exact(stand, expected)
