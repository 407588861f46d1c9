"""Models that take turns as champion, for the simulated service."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Protocol

import world

from detector.core.model import Model


@cache
def models() -> Mapping[str, Model]:
    """Two that differ in what they alert."""
    one = world.model()
    stricter = replace(one.total_tails, rarity=0.9 * one.total_tails.rarity)
    return {model.version: model for model in (one, one.refreshed(one.baselines, one.joined_tails, stricter))}


class Named(Protocol):
    """Outlives processes."""

    champion: str


class Registry:
    """Names a champion; a person promotes another one now and then."""

    def __init__(self, broker: Named, dice: random.Random | None = None) -> None:
        self._broker, self._dice = broker, dice

    @property
    def model(self) -> Model:
        return models()[self._broker.champion]

    def find(self, version: str) -> Model | None:
        return models().get(version)

    def look(self) -> bool:
        if self._dice is None or self._dice.random() > 0.02:
            return False
        self._broker.champion = next(version for version in models() if version != self._broker.champion)
        return True
