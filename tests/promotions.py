"""Models and contexts that take turns, for the simulated service."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Protocol

import world

from detector.core.context import Context
from detector.core.model import Model
from detector.core.pipeline import InForce

Versions = tuple[str, str]


@cache
def models() -> Mapping[str, Model]:
    """Two that differ in what they alert."""
    one = world.model()
    stricter = replace(one.total_tails, rarity=0.9 * one.total_tails.rarity)
    return {model.version: model for model in (one, one.refreshed(one.baselines, one.joined_tails, stricter))}


@cache
def contexts() -> Mapping[str, Context]:
    """Two that differ in whom one has to look at with care."""
    one = world.context()
    return {context.version: context for context in (one, replace(one, protected={}, links={}, fields={}))}


@cache
def judging(versions: Versions) -> InForce:
    model, context = versions
    return InForce.of(models()[model], contexts()[context])


@cache
def first() -> Versions:
    return judging((world.model().version, world.context().version)).versions


class Named(Protocol):
    """Outlives processes."""

    served: Versions


class Registry:
    """Names what is served; a person promotes another model now and then, or changes the context."""

    def __init__(self, broker: Named, dice: random.Random | None = None) -> None:
        self._broker, self._dice = broker, dice

    @property
    def now(self) -> InForce:
        return judging(self._broker.served)

    def find(self, versions: Versions) -> tuple[InForce, bool]:
        there = versions[0] in models() and versions[1] in contexts()
        return (judging(versions) if there else self.now), there

    def look(self) -> None:
        if self._dice is None or self._dice.random() > 0.03:
            return
        model, context = self._broker.served
        other_model, other_context = (next(v for v in some if v != one) for some, one in ((models(), model), (contexts(), context)))
        self._broker.served = (other_model, context) if self._dice.random() < 0.5 else (model, other_context)
