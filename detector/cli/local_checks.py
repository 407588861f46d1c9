"""What `detector doctor` looks at on this machine. Each check yields what a person should know but need not mend, among it Cautions, and
raises DetectorError for what must be mended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.settings import context_of, contexts_of, trust_of
from detector.errors import ConfigError, ContextError

if TYPE_CHECKING:
    from detector.config import Config

DAY = 86_400.0


class Caution(str):
    """What is not wrong, but unwise, or soon will be wrong."""

    __slots__ = ()


def client(config: Config) -> Iterator[str]:
    from detector.kafka.inspection import installed

    version, proven = installed()
    if version.split(".")[:2] != proven[-1].split(".")[:2]:
        raise ConfigError(f"kafka-python {version} is installed\ninstall {proven[-1]}: delivery rests on its internals")
    if version not in proven:
        yield Caution(f"kafka-python {version} is not among those that were proven ({', '.join(proven)}): reading is slower")
    else:
        yield f"kafka-python {version}"


def context(config: Config) -> Iterator[str]:
    if config.context.folder:
        yield from context_of(config).missing()
    else:
        yield "context.folder is empty: nothing is known but what events say"


def fresh(config: Config) -> Iterator[str]:
    if (modified := contexts_of(config).read().modified) is None:
        return
    days, most = (time.time() - modified) / DAY, config.context.max_age
    if 0 < most < days:
        raise ContextError(
            f"the newest file in {config.context.folder} was written {days:.0f} days ago\n"
            f"export it again, and see to it that this is done every night; or set context.max_age, which is {most:g} days"
        )
    yield f"its newest file was written {days:.1f} days ago"


def model(config: Config) -> Iterator[str]:
    from detector.core.views import EMPLOYEE
    from detector.registry import load_model

    use, chosen = "challenger" if config.service.shadow else config.models.use, set(config.detection.hypotheses)
    model = load_model(Path(config.models.registry), use, EMPLOYEE.name, EMPLOYEE.names, trust_of(config))
    known = {hypothesis.name for hypothesis in model.hypotheses}
    if chosen and chosen != known:
        raise ConfigError(
            f"detection.hypotheses: model {model.version} is calibrated for {', '.join(sorted(known))}\n"
            "leave the setting empty, or train a model with the chosen ones"
        )
    days = f", which learned from events up to {(time.time() - model.until / 1000) / DAY:.0f} days ago" if model.until > 0 else ""
    yield f"{use} is {model.version}{days}"


def exposed(config: Config) -> Iterator[str]:
    from detector.endpoints import Access, exposed

    said = config.metrics
    if warning := exposed(said.host, Access(said.ssl_certfile, said.ssl_keyfile, said.ssl_cafile, said.username)):
        yield Caution(warning)
