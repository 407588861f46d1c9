"""Errors, named by who must act. Each message says what, where, and what to do next.

DetectorError
├── ConfigError    the operator mends detector.toml, a flag or the environment   exit 3
├── ContextError   the owner of the context folder mends a file                  exit 3
├── ModelError     the model's trainer retrains, promotes or rolls back          exit 4
├── StateError     the operator decides whether to rebuild a task's state        exit 5
└── BrokerError    the Kafka operator: reachability, rights, topics              exit 6
    ├── NoTopicError     a topic is not there, or may not be seen
    └── IdentityError    two processes with one identity
"""

from __future__ import annotations


class DetectorError(Exception):
    """Anything a person can mend. `exit_code` is what the process ends with."""

    exit_code = 70


class ConfigError(DetectorError):
    exit_code = 3


class ContextError(DetectorError):
    exit_code = 3


class ModelError(DetectorError):
    exit_code = 4


class StateError(DetectorError):
    exit_code = 5


class BrokerError(DetectorError):
    exit_code = 6


class NoTopicError(BrokerError):
    """`detector topics create` makes it, or the operator of Kafka grants a right."""


class IdentityError(BrokerError):
    """Somebody else claims to be this process; waiting does not help."""
