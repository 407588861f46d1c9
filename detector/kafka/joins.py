"""A join of a group that outlasts a poll, and what kafka-python forgets of it."""

from __future__ import annotations

from typing import Any

from kafka.structs import MemberState


class _Join:
    """A join under way, for kafka-python to wait for, also where it has ended since.

    One that has ended between two polls it takes for used up, and joins anew. A member that does much between its polls would do so again
    and again, and all others of its group with it.
    """

    def __init__(self, coordinator: Any, task: Any) -> None:
        self.add_callback, self.add_errback = task.add_callback, task.add_errback
        self._coordinator, self._task = coordinator, task

    @property
    def is_done(self) -> bool:
        """Of no use: it has ended, and the member has no place in the group, or none any more."""
        return self._task.is_done and self._coordinator.state is not MemberState.REBALANCING


def keep_join(coordinator: Any) -> None:
    """To be called before each poll. `coordinator`: a KafkaConsumer's."""
    task = coordinator._join_task
    if task is None:
        return
    if not isinstance(task, _Join):
        coordinator._join_task = _Join(coordinator, task)
    coordinator.request_rejoin()  # a rebalance that new metadata began is forgotten otherwise: no member any more, and never again
