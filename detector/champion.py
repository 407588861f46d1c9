"""The champion: the model that is served. The registry is watched while serving; a new one is loaded and checked beside the loop, and taken
over between two batches. One that cannot be is refused, and the old one stays.

Events that were scored with an earlier version are replayed with that one: versions stay in the registry, and marks name them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from detector.core.model import Model
from detector.errors import ModelError

log = logging.getLogger("detector.champion")

EVERY = 5.0
"""Seconds between two looks at the registry."""
REMEMBERED = 8
"""Models that are kept in memory for takeovers."""


class Champion:
    """`current` says which version the registry names, `load` gives it, checked. Both raise ModelError; another thread calls them."""

    def __init__(self, model: Model, current: Callable[[], str], load: Callable[[str], Model], every: float = EVERY) -> None:
        self.model = model
        self._current, self._load, self._every = current, load, every
        self._known = {model.version: model}
        self._due = time.monotonic() + every
        self._refused = ""
        self._reader = ThreadPoolExecutor(1, "models")
        self._coming: Future[Model] | None = None

    def find(self, version: str) -> Model | None:
        """A version that was served before; None where it is not to be had any more."""
        if version not in self._known:
            try:
                self._remember(self._load(version))
            except ModelError as error:
                log.error(f"a model that was served is missing: {error}", extra={"model": version, "audit": True})
        return self._known.get(version)

    def look(self) -> bool:
        """Never waits. Whether there is another model now."""
        if self._coming is None:
            if time.monotonic() >= self._due:
                self._coming = self._reader.submit(self._look)
            return False
        if not self._coming.done():
            return False
        coming, self._coming, self._due = self._coming, None, time.monotonic() + self._every
        try:
            model = coming.result()
        except ModelError as error:
            if str(error) != self._refused:  # once, not every time
                self._refused = str(error)
                log.error(f"the new model is refused, the old one stays: {error}", extra={"model": self.model.version, "audit": True})
            return False
        self._refused = ""
        if model.version == self.model.version:
            return False
        log.info("another model is taken over", extra={"model": model.version, "before": self.model.version, "audit": True})
        self.model = model
        self._remember(model)
        return True

    def _look(self) -> Model:
        version = self._current()
        if version == self.model.version:
            return self.model
        model = self._load(version)
        ours, theirs = ([h.name for h in m.hypotheses] for m in (self.model, model))
        if ours != theirs:
            raise ModelError(
                f"model {version} has the hypotheses {', '.join(theirs)}, state is kept for {', '.join(ours)}\nrestart to serve it"
            )
        return model

    def _remember(self, model: Model) -> None:
        self._known[model.version] = model
        while len(self._known) > REMEMBERED:
            oldest = next(version for version in self._known if version not in (self.model.version, model.version))
            del self._known[oldest]
