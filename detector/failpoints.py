"""Named places in the service at which a test makes it die, fail, be slow or stand still: what chance would take years to hit.

Armed only by the environment, when a process starts: DETECTOR_FAILPOINT="after_send:3:kill,mid_restore:1:sleep=8". Where nothing is armed,
a place costs a look at an empty dictionary.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from detector.errors import ConfigError

log = logging.getLogger("detector.failpoints")

NAMES = (
    "after_poll", "after_begin", "after_send", "after_flush", "after_offsets", "after_endtxn_sent", "after_commit",
    "mid_snapshot", "mid_restore", "mid_replay", "in_listener",
)  # fmt: skip


class Failure(Exception):  # noqa: N818  it is a failure that was asked for
    """Raised at a place armed with `raise`; no code but a test knows it."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # the signal may take a moment; nothing is done meanwhile


def _raise() -> None:
    raise Failure("asked for by DETECTOR_FAILPOINT")


def _hang() -> None:
    while True:
        time.sleep(3600)


def _action(said: str) -> Callable[[], None]:
    """Raises ValueError for what is no action."""
    what, _, seconds = said.partition("=")
    if what == "sleep":
        return partial(time.sleep, float(seconds))
    found = {"kill": _kill, "raise": _raise, "hang": _hang}.get(said)
    if found is None:
        raise ValueError(said)
    return found


_armed: dict[str, dict[int, Callable[[], None]]] = {}
"""By place: what is to happen there at which time that it is reached."""
_reached: Counter[str] = Counter()


def arm(spec: str) -> None:
    """`name:nth:kill|raise|sleep=SECONDS|hang`, separated by commas: the nth time (from 1) that the place is reached, once. An empty spec
    disarms everything. Raises ConfigError.
    """
    _armed.clear()
    _reached.clear()
    for part in filter(None, spec.split(",")):
        try:
            name, nth, action = part.split(":")
            at_time = int(nth)
            act = _action(action)
        except ValueError as error:
            raise ConfigError(f"DETECTOR_FAILPOINT: {part!r} is not NAME:NTH:kill|raise|sleep=SECONDS|hang") from error
        if name not in NAMES or at_time < 1:
            raise ConfigError(f"DETECTOR_FAILPOINT: {part!r}: the name is one of {', '.join(NAMES)}; NTH counts from 1")
        _armed.setdefault(name, {})[at_time] = act
    if _armed:
        log.warning("failpoints are armed: this process will fail on purpose", extra={"detail": spec})


def at(name: str) -> None:
    """The place `name` is reached."""
    if _armed:
        _reach(name)


def _reach(name: str) -> None:
    if name in _armed:
        _reached[name] += 1
        act = _armed[name].get(_reached[name])
        if act is not None:
            log.warning("failpoint", extra={"place": name})
            act()
