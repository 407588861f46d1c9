"""Mutations: a module of the product with one text replaced. A test that such a change does not make fail protects nothing."""

from __future__ import annotations

import re
from inspect import isclass, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

CONSTANT = (int, float, str, bytes, tuple, np.ndarray)


def twin(module: ModuleType, old: str, new: str) -> ModuleType:
    """The module executed anew with `old`, which occurs once, replaced; its compiled kernels are plain Python."""
    assert module.__file__
    source = Path(module.__file__).read_text()
    assert not old or source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {module.__name__}"
    source = source.replace(old, new) if old else source
    made = ModuleType(module.__name__)
    made.__dict__.update({name: vars(module)[name] for name in ("__file__", "__path__") if name in vars(module)})
    exec(compile(re.sub(r"^@nb\.njit.*$", "#", source, flags=re.MULTILINE), f"<{module.__name__} mutated>", "exec"), made.__dict__)
    return made


def mutate(patch: pytest.MonkeyPatch, module: ModuleType, old: str, new: str) -> None:
    """Puts the mutation in force for whoever imported the module or anything of it, until `patch` is undone."""
    made = twin(module, old, new)
    for name, now in list(vars(module).items()):
        other = vars(made).get(name)
        if hasattr(now, "py_func") and now.__module__ == module.__name__:
            patch.setattr(module, name, other)  # a compiled kernel has its constants frozen in
        elif isfunction(now) and now.__module__ == module.__name__:
            patch.setattr(now, "__code__", other.__code__)  # type: ignore[union-attr]
        elif isclass(now) and now.__module__ == module.__name__:
            _mutate_class(patch, now, other)
        elif isinstance(now, CONSTANT) and name.strip("_").isupper() and repr(now) != repr(other):
            patch.setattr(module, name, other)


def _mutate_class(patch: pytest.MonkeyPatch, now: type, other: Any) -> None:
    for name, member in vars(other).items():
        mine, theirs = _function(vars(now).get(name)), _function(member)
        if isfunction(mine) and isfunction(theirs) and mine.__code__.co_freevars == theirs.__code__.co_freevars:
            patch.setattr(mine, "__code__", theirs.__code__)


def _function(member: Any) -> Any:
    """What a method, static method or property is made of."""
    return getattr(member, "__func__", None) or getattr(member, "fget", None) or getattr(member, "func", None) or member
