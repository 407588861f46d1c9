"""Evidence, slow and obvious: one event at a time."""

from __future__ import annotations

from histories import Event

from detector.core.baselines import Baselines


class Evidence:
    def observe(self, e: Event, baselines: Baselines, said: dict[str, float]) -> None:
        if not e.is_access:
            return
        w, new, first = said["w"], said["new"], said["first"]
        said["harvest"], said["breadth"] = w * new, new
        if first and not e.own:
            said["snoop"] = w * e.special * (2 if e.location else 1) * (1 if new else 0.4)
        if e.action == "export":
            said["export"] = e.records * (0.2 + 0.8 * w)
            said["bytes_out"] = e.bytes * (0.2 + 0.8 * w)
        said["activity"] = float(e.action != "login")
        if first:
            said["sensitive"] = w * (e.location + e.content / 2)
        elif e.on_person and e.location:
            said["sensitive"] = w / 5
        if e.action != "login" and (first or not e.on_person):
            said["work"] = 1 - w
        if e.outcome == "denied":
            said["denied"] = w
