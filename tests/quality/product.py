"""The product as it is measured: trained by its own command, and replayed by the code that `detector replay` runs."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from detector.cli import main
from detector.core.context import Context
from detector.core.events import EventBatch
from detector.core.formats.native import Limits, decode
from detector.core.model import Model
from detector.core.pipeline import Pipeline, Policy
from detector.core.views import EMPLOYEE
from detector.files import read_events
from detector.registry import load_model
from detector.replay import Replayed, replay

TOPIC, MAX_KEYS = "access-events", 1_000_000


def trained(events: Path, context: Path, until: int | None = None, seed: int = 0) -> Model:
    """The champion that `detector train` makes. until: ms. Raises RuntimeError with what the command said where it fails."""
    with tempfile.TemporaryDirectory() as registry:
        command = ["train", "--events", str(events), "--context", str(context), "--out", registry, "--seed", str(seed)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main([*command, "--until", str(until)] if until is not None else command)
        if code:
            raise RuntimeError(f"detector {' '.join(command)}: {code}\n{said.getvalue()}")
        return load_model(Path(registry), "champion", EMPLOYEE.name, EMPLOYEE.names)


def recorded(*paths: Path) -> Iterator[EventBatch]:
    """Files of native events as one log."""
    limits = Limits()
    for records in read_events(paths):
        yield decode(records, limits)


def played(
    batches: Iterable[EventBatch], model: Model, context: Context, policy: Policy, made: Callable[[Pipeline], None] = lambda task: None
) -> Iterator[Replayed]:
    """The batches through one task, as `detector replay` with its defaults plays them; `made` is told of the pipeline."""

    def task() -> Pipeline:
        pipeline = Pipeline(EMPLOYEE, model, context, policy, MAX_KEYS)
        made(pipeline)
        return pipeline

    yield from replay(batches, task, TOPIC, 1)


def twin(pipeline: Pipeline) -> Pipeline:
    """Another task under the model in force, which has seen nothing."""
    return Pipeline(pipeline.view, pipeline.model, pipeline.context, pipeline.policy, MAX_KEYS)
