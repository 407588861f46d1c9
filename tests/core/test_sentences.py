"""What the hypotheses about looking at people say to an investigator."""

from __future__ import annotations

from detector.core.hypotheses import Reading, find


def test_export_speaks_of_records_or_of_megabytes() -> None:
    says = find("export").says
    assert says([Reading("export.16h.own", 3400, 20, 55)]) == (
        "exported records: weight 3,400 in the last day or so (usually 20, the team 55); one without a reason counts 1, with a ticket half "
        "or less"
    )
    assert says([Reading("bytes_out.16h.own", 52_000_000, 300_000, 4_000_000)]) == (
        "exported data: weight 52 MB in the last day or so (usually 0.3, the team 4); with a reason half or less of it counts"
    )


def test_harvest_and_snoop_say_how_many_and_what_is_usual() -> None:
    assert find("harvest").says([Reading("harvest.1.5h.team", 31.2, 0.4, 1)]) == (
        "looked at people never looked at before: weight 31 in the last few hours (usually 0.4, the team 1); one without any reason counts "
        "1, one with a ticket a third or less, one assigned to them hardly"
    )
    snoop = find("snoop").says([Reading("snoop.16h.own", 2.8, 0, 0.2)])
    assert "weight 2.8 in the last day or so (usually under 0.1, the team 0.2)" in snoop


def test_repeat_and_purpose_say_what_is_unusual() -> None:
    assert "weight 4.2" in find("repeat").says([Reading("repeat", 4.2, None, None)])
    assert "more than one person" in find("purpose").says([Reading("purpose", 4.2, None, None)])
