"""How commands take their settings: `--config`, `--set`, flags of their own, environment, file; and what they make of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from detector.config import Config, Loaded
    from detector.contexts import Contexts
    from detector.core.context import Context
    from detector.core.formats.native import Limits
    from detector.kafka.rights import Names
    from detector.kafka.topics import Topic
    from detector.registry import Trust

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(commands: Commands, name: str, help: str, examples: str = "", configured: bool = True) -> argparse.ArgumentParser:
    """A parser for one command; `configured`: it takes --config and --set."""
    made = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    if configured:
        made.add_argument("--config", type=Path, metavar="FILE", help="settings; default: config/detector.toml where it is there")
        made.add_argument(
            "--set", action="append", default=[], type=_assignment, metavar="SECTION.KEY=VALUE", help="any setting, over everything else"
        )
    return made


def verbs(commands: Commands, name: str, help: str) -> Commands:
    """A command that is a family of commands, each to be added to what this returns."""
    return command(commands, name, help, configured=False).add_subparsers(title="verbs", metavar="VERB", required=True)


def setting(parser: argparse.ArgumentParser, flag: str, key: str, metavar: str, help: str) -> None:
    """A flag that stands for a key (`section.key`) of the configuration."""
    parser.add_argument(flag, dest=key, metavar=metavar, help=f"{help} ({key})")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise argparse.ArgumentTypeError(f"'{text}' is not SECTION.KEY=VALUE")
    return name.strip(), value.strip()


def moment(text: str) -> int:
    """For argparse: RFC 3339 or ms since 1970 -> ms."""
    from detector.config import moment

    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read(args: argparse.Namespace) -> Loaded:
    """The configuration that the command line, the environment and the file make. Raises ConfigError."""
    from detector.config import load

    flags = {key: value for key, value in vars(args).items() if "." in key and value is not None}
    return load(args.config, os.environ, {**flags, **dict(args.set)})


def kafka_settings(config: Config) -> dict[str, Any]:
    """Arguments for every Kafka client. Raises ConfigError."""
    import msgspec

    from detector.kafka.security import client_settings

    return client_settings(msgspec.to_builtins(config.kafka))


def contexts_of(config: Config) -> Contexts:
    """Where the context is, and where those before it are."""
    import msgspec

    from detector.contexts import Contexts

    resources = msgspec.structs.asdict(config.resources)
    return Contexts(config.context.folder, resources, config.context.protected_key_file, config.context.history)


def context_of(config: Config) -> Context:
    """The context that is configured; an empty one where there is none. Raises ContextError, and ConfigError for the key's file."""
    return contexts_of(config).read().context


def trust_of(config: Config) -> Trust:
    """Whose signatures of models count, and whether one must be there. Raises ConfigError."""
    from detector.registry import Trust, read_public_keys

    keys = read_public_keys(Path(config.models.public_key)) if config.models.public_key else ()
    return Trust(keys, config.models.require_signed)


def limits_of(config: Config) -> Limits:
    """What is taken for an event."""
    from detector.core.formats.native import Limits

    return Limits(config.input.max_event_bytes, round(config.input.max_future * 1000))


def topics_of(config: Config, verdicts: bool = False) -> list[Topic]:
    """The topics that the service uses, as they must be; and with `verdicts` the one of those, which people write."""
    from detector.kafka.topics import design

    names = roles_of_topics(config)
    if not verdicts:
        del names["verdicts"]
    return design(names, config.topics.partitions, config.topics.replication)


def roles_of_topics(config: Config) -> dict[str, str]:
    """Role of each topic (the keys of detector.kafka.topics.DESIGN) -> its name."""
    return {
        "access-events": config.topics.events, "alerts": config.topics.alerts, "notables": config.topics.notables,
        "daily": config.topics.daily, "state-employee": config.topics.state, "dead-letters": config.topics.dead_letters,
        "verdicts": config.topics.verdicts,
    }  # fmt: skip


def names_of(config: Config) -> Names:
    """What rights are needed on."""
    from detector.kafka.rights import Names

    return Names(roles_of_topics(config), config.group.id, f"{config.group.transactional_id_prefix}-")
