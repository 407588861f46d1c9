"""Everything that can be set: sections as structs, each value with its default, its bounds and a sentence for the commented file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


def about(text: str, **bounds: Any) -> Meta:
    return Meta(description=text, **bounds)


class Kafka(Struct, frozen=True):
    """How Kafka is reached, and how this service proves who it is. Secrets are in files of their own; only their paths are here."""

    bootstrap_servers: Annotated[tuple[str, ...], about("Brokers to start from, HOST:PORT.", min_length=1)] = ("127.0.0.1:9092",)
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], about("PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    ] = "PLAINTEXT"
    ssl_cafile: Annotated[str, about("PEM file of the authorities that sign brokers; empty: those of the system.")] = ""
    ssl_certfile: Annotated[str, about("PEM file of this service's certificate, for mutual TLS; goes with ssl_keyfile.")] = ""
    ssl_keyfile: Annotated[str, about("PEM file of the certificate's private key.")] = ""
    ssl_crlfile: Annotated[str, about("PEM file of revoked certificates.")] = ""
    ssl_password_file: Annotated[str, about("File that holds the private key's passphrase.")] = ""
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        about("PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; used where the protocol is SASL_*."),
    ] = "SCRAM-SHA-512"
    sasl_username: Annotated[str, about("User name for SASL.")] = ""
    sasl_password_file: Annotated[str, about("File that holds the password for SASL.")] = ""


class Topics(Struct, frozen=True):
    """Names of the topics. `detector topics create` makes them with the right settings; `detector serve` never does."""

    events: Annotated[str, about("Access events in, keyed by employee.", min_length=1)] = "access-events"
    alerts: Annotated[str, about("Alerts out.", min_length=1)] = "alerts"
    notables: Annotated[str, about("Near misses out: what was nearly an alert.", min_length=1)] = "notables"
    daily: Annotated[str, about("Daily records out, from which the model is refreshed.", min_length=1)] = "daily"
    state: Annotated[str, about("What partitions' state is restored from. Compacted, and nobody else's.", min_length=1)] = "state-employee"
    dead_letters: Annotated[str, about("Records that were refused, with reason and original bytes.", min_length=1)] = "dead-letters"
    verdicts: Annotated[str, about("What investigators found out about alerts; the service does not use it.", min_length=1)] = "verdicts"
    partitions: Annotated[int, about("Partitions of each topic when it is made; the most processes that can share the work.", ge=1)] = 4
    replication: Annotated[int, about("Copies of each topic when it is made: 3 in production; -1: as the broker is set.", ge=-1)] = -1


class Group(Struct, frozen=True):
    """The processes that share the work."""

    id: Annotated[str, about("Consumer group.", min_length=1)] = "detector"
    instance_id: Annotated[str, about("A name of this process that survives its restart, which is then taken up at once; empty: none.")] = (
        ""
    )
    transactional_id_prefix: Annotated[str, about("Transactional ids are PREFIX-ORDINAL.", min_length=1)] = "detector"
    ordinal: Annotated[int, about("Number of this process in the group; no two processes may have the same.", ge=0)] = 0
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"],
        about("exactly_once, or at_least_once for brokers without transactions: after a fault, alerts may come twice."),
    ] = "exactly_once"
    session_timeout: Annotated[float, about("Seconds without a sign of life after which others take over.", ge=1, le=1800)] = 10.0
    transaction_timeout: Annotated[float, about("Seconds after which the broker ends a transaction nobody ends.", ge=1, le=900)] = 10.0


class Input(Struct, frozen=True):
    """What is taken for an access event."""

    batch_limit: Annotated[int, about("Most events of one micro-batch, that is of one transaction.", ge=1, le=100_000)] = 10_000
    max_event_bytes: Annotated[int, about("Longer records are dead letters.", ge=256, le=8 << 20)] = 65_536
    max_future: Annotated[float, about("Seconds an event may be ahead of the broker's time; beyond, it is a dead letter.", ge=0)] = 300.0
    dead_letter_run: Annotated[int, about("Records refused in a row after which a partition is halted.", ge=1)] = 1000
    dead_letter_share: Annotated[float, about("The same for the share of about the last 10,000; 1: never.", gt=0, le=1)] = 0.5
    max_age: Annotated[float, about("Seconds after which an event is flagged as late; it is scored all the same.", ge=0)] = 86_400.0


class Detection(Struct, frozen=True):
    """What counts as strange."""

    budget: Annotated[float, about("False alerts to aim at, for each 1,000 days of active employees.", gt=0, le=1000)] = 1.0
    hypotheses: Annotated[tuple[str, ...], about("Names of the hypotheses of abuse to use; empty: all that the model has.")] = ()
    max_keys: Annotated[
        int, about("Most employees of one partition kept in memory; the longest unseen make room.", ge=1024, le=2_000_000)
    ] = 100_000


class Alerts(Struct, frozen=True):
    """What is said, and from when on."""

    start: Annotated[
        str, about("Events before this only build state: RFC 3339 or ms since 1970. Empty: the time of the service's first start.")
    ] = ""
    heartbeat: Annotated[float, about("Seconds between two heartbeats of a partition on the alert topic.", ge=1)] = 60.0
    review_days: Annotated[
        int, about("Days for which it is watched whether somebody gives a verdict on an alert, for a metric; 0: not at all.", ge=0, le=3650)
    ] = 30


class Models(Struct, frozen=True):
    """Where the models are."""

    registry: Annotated[str, about("Folder of the registry, as `detector train --out` writes it.", min_length=1)] = "models"
    use: Annotated[str, about("Alias or version to run.", min_length=1)] = "champion"
    require_signed: Annotated[bool, about("Refuse models that are not signed with a key of public_key.")] = False
    public_key: Annotated[
        str, about("PEM file with the Ed25519 public keys whose signatures of models count; empty: signatures are not looked at.")
    ] = ""


class Gate(Struct, frozen=True):
    """What `detector models compare --gate` lets pass. Two standard deviations of what chance makes of a count are granted on top."""

    rate: Annotated[float, about("Alerts at most: so many times the first model's, or the budget's, whichever is more.", gt=0)] = 2.0
    lost: Annotated[
        float, about("Share of the employees alerted by the first model who may be no near miss even by the second.", ge=0, le=1)
    ] = 0.1
    team: Annotated[
        float, about("Share of a team's employees who may be alerted anew; fewer than five may, and twice the company's share.", ge=0, le=1)
    ] = 0.2
    correlation: Annotated[float, about("Least rank correlation between the two models' scores of employee-days.", ge=-1, le=1)] = 0.5


class Knowledge(Struct, frozen=True):
    """What is known besides events. config/context holds an example of each file."""

    folder: Annotated[str, about("Folder with directory.csv and the like. Empty: nothing is known but what events say.")] = ""
    protected_key_file: Annotated[str, about("File with the key, in hex, of the keyed hashes in protected.csv.")] = ""
    max_age: Annotated[
        float, about("Days after which the context counts as stale, where none of its files was written since; 0: never.", ge=0)
    ] = 7.0
    history: Annotated[
        str, about("Folder where each context that is served is kept under its version, for takeovers and replays. Empty: none is.")
    ] = ""


class Resources(Struct, frozen=True):
    """Which resources are what, where the context has no resources.csv. `*` stands for anything."""

    watch: Annotated[tuple[str, ...], about("Alerts, audit logs, the detector itself.")] = ("*_alerts", "*audit_log*")
    iam: Annotated[tuple[str, ...], about("Who may use what.")] = ("iam:*", "iam_console")
    hr: Annotated[tuple[str, ...], about("Files on employees.")] = ("hr_*",)
    asset: Annotated[tuple[str, ...], about("Who has which device.")] = ("asset_*",)


class Metrics(Struct, frozen=True):
    """/metrics, /livez and /readyz over HTTP. Anybody who reaches them may read them, unless the settings below say otherwise."""

    host: Annotated[str, about("Address to listen on. Beyond loopback, set TLS and who may read.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, about("Port to listen on; 0: any that is free.", ge=0, le=65_535)] = 9108
    ssl_certfile: Annotated[str, about("PEM file of the certificate, with those between it and the authority; empty: no TLS.")] = ""
    ssl_keyfile: Annotated[str, about("PEM file of the certificate's private key.")] = ""
    ssl_cafile: Annotated[
        str, about("PEM file of the authorities whose clients may read the metrics; empty: no certificate is asked for.")
    ] = ""
    username: Annotated[str, about("User who may read the metrics, by basic authentication; goes with password_file. Empty: anybody.")] = ""
    password_file: Annotated[str, about("File that holds the user's password.")] = ""


class Logs(Struct, frozen=True):
    """Lines on stderr. What an auditor must know is written whatever the level."""

    level: Annotated[Literal["debug", "info", "warning", "error"], about("debug, info, warning or error.")] = "info"
    format: Annotated[
        Literal["auto", "json", "text"], about("json: a JSON object a line; text: for people; auto: text on a terminal, else json.")
    ] = "auto"
    audit_file: Annotated[str, about("File to which the lines for an auditor are appended, too; it may be moved away at any time.")] = ""


class Service(Struct, frozen=True):
    """How the process behaves."""

    watchdog: Annotated[float, about("Seconds without progress after which the process dumps its stacks and exits with 70.", ge=10)] = 120.0
    snapshot_interval: Annotated[float, about("Seconds between two snapshots of a partition's state, at least.", ge=1)] = 60.0
    rebuild: Annotated[bool, about("Believe the committed offsets, not the state topic: state is built anew from the events.")] = False
    shadow: Annotated[bool, about("Score with the challenger, in a group of its own: metrics only, nothing is written.")] = False
    ready_lag: Annotated[float, about("Seconds behind the newest event up to which the service calls itself ready.", gt=0)] = 60.0


class Config(Struct, frozen=True):
    """The whole of it. A value is taken from a flag, else from DETECTOR__SECTION__KEY, else from the file, else it is the default."""

    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    group: Group = Group()
    input: Input = Input()
    detection: Detection = Detection()
    alerts: Alerts = Alerts()
    models: Models = Models()
    gate: Gate = Gate()
    context: Knowledge = Knowledge()
    resources: Resources = Resources()
    metrics: Metrics = Metrics()
    logs: Logs = Logs()
    service: Service = Service()
