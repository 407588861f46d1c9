"""`detector topics`: create, check, rights."""

from __future__ import annotations

import argparse

from detector.cli.output import note, say
from detector.cli.settings import Commands, command, kafka_settings, names_of, read, setting, topics_of, verbs
from detector.errors import BrokerError, ConfigError


def add(commands: Commands) -> None:
    family = verbs(commands, "topics", "the topics: make them, and see whether they are as they must be")
    for name, help, run in (
        ("create", "make the topics that are not there, with the settings they need", create),
        ("check", "compare the topics with what they must be", check),
    ):
        verb = command(family, name, help, f"  detector topics {name} --bootstrap-servers kafka-1:9092 --partitions 8 --replication 3")
        setting(verb, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
        setting(verb, "--partitions", "topics.partitions", "N", "partitions of each topic")
        setting(verb, "--replication", "topics.replication", "N", "copies of each topic")
        verb.set_defaults(run=run)
    verb = command(
        family, "rights", "print the commands that grant a role what it needs on Kafka, and no more",
        "  detector topics rights service detector\n  detector topics rights source 'CN=hr-system' | sh",
    )  # fmt: skip
    setting(verb, "--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT,...", "the brokers")
    verb.add_argument("role", metavar="ROLE", help="service, reviews, shadow, source, trainer, investigator, verifier, mender or maker")
    verb.add_argument("principal", metavar="NAME", help="who it is, without 'User:': the SASL user, or the certificate's subject")
    verb.set_defaults(run=rights)


def create(args: argparse.Namespace) -> int:
    from detector.kafka import topics

    config = read(args).config
    made = topics.create(kafka_settings(config), topics_of(config, verdicts=True))
    for topic in topics_of(config, verdicts=True):
        say(f"{topic.name}: {'made' if topic.name in made else 'was there'}")
    return _judge(topics.check(kafka_settings(config), topics_of(config, verdicts=True)))


def check(args: argparse.Namespace) -> int:
    from detector.kafka import topics

    config = read(args).config
    code = _judge(topics.check(kafka_settings(config), topics_of(config, verdicts=True)))
    say("the topics are as they must be")
    return code


def rights(args: argparse.Namespace) -> int:
    from detector.kafka.rights import ROLES, roles

    config = read(args).config
    if args.role not in ROLES:
        raise ConfigError(f"there is no role '{args.role}'\nthere are {', '.join(ROLES)}")
    note(f"# {args.role}: {ROLES[args.role]}")
    for right in roles(names_of(config))[args.role]:
        say(right.command(args.principal, config.kafka.bootstrap_servers))
    return 0


def _judge(problems: list[str]) -> int:
    if problems:
        raise BrokerError("\n".join(problems))
    return 0
