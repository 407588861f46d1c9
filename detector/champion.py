"""What is served: the champion among the models, and the context. Both are read beside the loop, checked, and taken over between two
batches; what cannot be is refused, and the old one stays.

The registry is looked at every few seconds. The context is read anew only if somebody asks, for its files may be half copied before; then
the registry is looked at, too. Events that were judged with earlier versions are replayed with those: marks name them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from detector.contexts import Contexts, Read
from detector.core.context import OFF_WITHOUT
from detector.core.framing import Framer
from detector.core.model import Model
from detector.core.pipeline import InForce
from detector.errors import ContextError, DetectorError, ModelError
from detector.metrics import Metrics

log = logging.getLogger("detector.champion")

T = TypeVar("T")

EVERY = 5.0
"""Seconds between two looks at the registry."""
REST = 1.0
"""Seconds between two readings of the context, however often somebody asks."""
MODELS, CONTEXTS = 8, 4
"""That are kept in memory for takeovers."""
_PLACE = re.compile(rf"^({'|'.join(map(re.escape, OFF_WITHOUT))}):(\d+):", re.MULTILINE)


class Registry(Protocol):
    """Another thread calls it."""

    def current(self) -> str:
        """The version that is named. Raises ModelError."""

    def load(self, version: str) -> Model:
        """It, checked. Raises ModelError."""


@dataclass
class Wish:
    """Set by the handler of a signal, in which no lock may be taken."""

    open: bool = False


class _Found(NamedTuple):
    """What was read; a sentence where it cannot be served, None where there is nothing new."""

    asked: bool
    model: Model | str | None
    context: tuple[Read, Framer] | str | None


class Champion:
    """`read` is what there was at the start. While a `wish` is open, everything is looked at as soon as may be."""

    def __init__(
        self, model: Model, read: Read, registry: Registry, contexts: Contexts, figures: Metrics, wish: Wish, every: float = EVERY
    ) -> None:  # fmt: skip
        self.now = InForce.of(model, read.context)
        self._registry, self._contexts, self._figures, self._wish, self._every = registry, contexts, figures, wish, every
        self._files = frozenset(read.files)
        self._models, self._framers = {model.version: model}, {read.context.version: self.now.framer}
        self._missing: set[str] = set()
        self._refused = ""
        self._due, self._rested = time.monotonic() + every, 0.0
        self._reader = ThreadPoolExecutor(1, "reader")
        self._coming: Future[_Found] | None = None
        self._tell_model()
        self._tell_context(read)
        self._keep(read)

    def find(self, versions: tuple[str, str]) -> tuple[InForce, bool]:
        """A model and a context that were served before; whether both are to be had. What is not is replaced by that of now."""
        model, framer = self._model(versions[0]), self._framer(versions[1])
        return InForce(model or self.now.model, framer or self.now.framer), model is not None and framer is not None

    def look(self) -> None:
        """Never waits. Afterwards `now` is what is to be served."""
        now = time.monotonic()
        if self._coming is not None:
            if self._coming.done():
                found, self._coming = self._coming.result(), None
                self._due, self._rested = now + self._every, now + REST if found.asked else self._rested
                self._take(found)
        elif (asked := self._wish.open and now >= self._rested) or now >= self._due:
            if asked:
                self._wish.open = False
            self._coming = self._reader.submit(self._look, asked)

    def _look(self, asked: bool) -> _Found:
        return _Found(asked, _tried(self._new_model), _tried(self._new_context) if asked else None)

    def _new_model(self) -> Model | None:
        version = self._registry.current()
        if version == self.now.model.version:
            return None
        model = self._registry.load(version)
        ours, theirs = ([h.name for h in m.hypotheses] for m in (self.now.model, model))
        if ours != theirs:
            raise ModelError(
                f"model {version} has the hypotheses {', '.join(theirs)}, state is kept for {', '.join(ours)}\nrestart to serve it"
            )
        return model

    def _new_context(self) -> tuple[Read, Framer] | None:
        read = self._contexts.read()
        if read.context.version == self.now.context.version:
            return None
        if gone := sorted(self._files - read.files.keys()):  # an export that failed half-way looks like this, and so does an attack
            raise ContextError(f"{', '.join(gone)}: was there, and is gone\nput it back, or restart to serve without it")
        self._keep(read)
        return read, InForce.of(self.now.model, read.context).framer  # large tables: they are made here, not in the loop

    def _take(self, found: _Found) -> None:
        if found.asked:
            self._missing.clear()
            log.info("asked to read the context and the registry anew", extra={"audit": True})
        self._take_model(found.model, found.asked)
        self._take_context(found.context)
        if found.asked and found.model is None and found.context is None:
            log.info("nothing has changed")

    def _take_model(self, model: Model | str | None, asked: bool) -> None:
        if isinstance(model, str):
            if model != self._refused or asked:  # once, not every time
                self._figures.reload("model", "refused")
                log.error(
                    "the new model is refused, the old one stays", extra={"error": model, "model": self.now.model.version, "audit": True}
                )
            self._refused = model
            return
        self._refused = ""
        if model is not None:
            versions = {"model": model.version, "before": self.now.model.version}
            log.info("another model is taken over", extra={**versions, "audit": True})
            self.now = InForce(model, self.now.framer)
            _remember(self._models, model.version, model, MODELS)
            self._figures.reload("model", "taken")
            self._tell_model()

    def _take_context(self, new: tuple[Read, Framer] | str | None) -> None:
        if isinstance(new, str):
            self._figures.reload("context", "refused")
            why = {"error": new, "context": self.now.context.version}
            log.error("the new context is refused, the old one stays", extra={**why, "audit": True})
        elif new is not None:
            read, framer = new
            versions = {"context": read.context.version, "before": self.now.context.version}
            log.info("another context is taken over", extra={**versions, "files": sorted(read.files), "audit": True})
            self.now, self._files = InForce(self.now.model, framer), frozenset(read.files)
            _remember(self._framers, read.context.version, framer, CONTEXTS)
            self._figures.reload("context", "taken")
            self._tell_context(read)

    def _model(self, version: str) -> Model | None:
        if version == self.now.model.version:
            return self.now.model
        if version not in self._models:
            try:
                _remember(self._models, version, self._registry.load(version), MODELS)
            except ModelError as error:
                log.error("a model that was served is missing", extra={"error": str(error), "model": version, "audit": True})
        return self._models.get(version)

    def _framer(self, version: str) -> Framer | None:
        if version == self.now.context.version:
            return self.now.framer
        if version not in self._framers and version not in self._missing:
            if (found := self._contexts.find(version)) is None:
                self._missing.add(version)
                log.error("a context that was served is missing", extra={"context": version, "audit": True})
            else:
                _remember(self._framers, version, InForce.of(self.now.model, found).framer, CONTEXTS)
        return self._framers.get(version)

    def _keep(self, read: Read) -> None:
        try:
            self._contexts.keep(read)
        except OSError as error:
            log.error(
                "the context cannot be kept in context.history", extra={"error": str(error), "context": read.context.version, "audit": True}
            )

    def _tell_model(self) -> None:
        model = self.now.model
        self._figures.model(model.version, model.sha256, model.until, model.stored)

    def _tell_context(self, read: Read) -> None:
        self._figures.context(read.context.hash, time.time(), read.modified)


def _tried(read: Callable[[], T]) -> T | str:
    """What it gives, or why it does not: nothing that is read anew may end the service."""
    try:
        return read()
    except ContextError as error:
        return _without_names(error)
    except DetectorError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__} while it was read"


def _without_names(error: ContextError) -> str:
    """Only where: the problems themselves quote the files, which name people."""
    places = [f"{file}:{line}" for file, line in _PLACE.findall(str(error))]
    return f"{', '.join(places)}\n`detector doctor` says what is wrong there" if places else str(error)


def _remember(known: dict[str, T], version: str, one: T, most: int) -> None:
    known.pop(version, None)
    known[version] = one
    while len(known) > most:
        del known[next(iter(known))]
