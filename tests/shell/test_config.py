"""The configuration: where a value comes from, and every problem at once with file, key and what was probably meant."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from detector.config import Config, defaults_text, load, moment, schema, shown
from detector.errors import ConfigError

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    (folder / "detector.toml").write_text(text)
    return folder / "detector.toml"


def problems(folder: Path, text: str = "", environ: dict[str, str] | None = None, flags: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(written(folder, text), environ or {}, flags or {})
    return str(refused.value).replace(str(folder / "detector.toml"), "FILE").split("\n")


def test_the_file_in_the_repository_is_what_init_writes() -> None:
    assert (ROOT / "config" / "detector.toml").read_text() == defaults_text()


def test_the_complete_file_holds_every_key_with_its_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, defaults_text())).config == Config()
    told = {f"{section}.{key}" for section, keys in tomllib.loads(defaults_text()).items() for key in keys}
    assert told == {entry["key"] for entry in shown(load(written(tmp_path, "")))}


def test_flags_win_over_the_environment_and_that_over_the_file_and_that_over_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, "[metrics]\nport = 1\nhost = '127.0.0.2'\n[group]\nid = 'file'\nordinal = 1\n")
    loaded = load(file, {"DETECTOR__METRICS__PORT": "2", "DETECTOR__GROUP__ID": "env", "PATH": "/bin"}, {"metrics.port": "3"})
    config = loaded.config
    assert (config.metrics.port, config.group.id, config.metrics.host, config.detection.budget) == (3, "env", "127.0.0.2", 1.0)
    origins = [loaded.origins[key] for key in ("metrics.port", "group.id", "metrics.host", "detection.budget")]
    assert origins == ["command line", "DETECTOR__GROUP__ID", str(file), "default"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("kafka.bootstrap_servers", "a:1, b:2", ("a:1", "b:2")),
        ("detection.hypotheses", "", ()),
        ("detection.budget", "0.3", 0.3),
        ("group.session_timeout", "6", 6.0),
        ("input.batch_limit", "500", 500),
        ("logs.level", "debug", "debug"),
        ("group.id", "7", "7"),
    ],
)
def test_text_is_understood_as_the_key_asks(key: str, text: str, value: object, tmp_path: Path) -> None:
    section, _, name = key.partition(".")
    for loaded in (
        load(written(tmp_path, ""), {}, {key: text}),
        load(written(tmp_path, ""), {f"DETECTOR__{section.upper()}__{name.upper()}": text}),
    ):
        assert getattr(getattr(loaded.config, section), name) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[kafka]\nbootstrap_server = ['a:1']", "FILE: kafka.bootstrap_server: there is no such key; did you mean 'bootstrap_servers'?"),
        ("[topcis]", "FILE: [topcis]: there is no such section; did you mean 'topics'?"),
        ("[topcis]\nevents = 'a'", "FILE: [topcis]: there is no such section; did you mean 'topics'?"),
        ("port = 1", "FILE: port: every key belongs into a section; put it under [SECTION]"),
        ("[metrics]\nport = '1'", "FILE: metrics.port: expected int, got str"),
        ("[metrics]\nport = 65536", "FILE: metrics.port: expected int <= 65535"),
        ("[metrics]\nport = true", "FILE: metrics.port: expected int, got bool"),
        ("[input]\nmax_future = nan", "FILE: input.max_future: expected float >= 0.0"),
        ("[input]\nmax_future = inf", "FILE: input.max_future: expected a finite number"),
        ("[kafka]\nsecurity_protocol = 'TLS'", "FILE: kafka.security_protocol: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("[kafka]\nsecurity_protocol = ['SSL']", "FILE: kafka.security_protocol: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("[kafka]\nbootstrap_servers = []", "FILE: kafka.bootstrap_servers: expected array of length >= 1"),
        ("[kafka]\nbootstrap_servers = ['a']", "FILE: kafka.bootstrap_servers: 'a' is not HOST:PORT"),
        ("[alerts]\nstart = '2026-03-02T09:00:00'", "FILE: alerts.start: '2026-03-02T09:00:00' is not a time; write"),
        ("[topics]\nalerts = 'access-events'", "topics: events, alerts, notables, daily, dead_letters must be different topics"),
        ("[kafka\n", "FILE: is not TOML: "),
    ],
)
def test_a_mistake_is_named_with_file_and_key(text: str, says: str, tmp_path: Path) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1 and says in found[0]


def test_all_mistakes_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "[metrics]\nport = 'x'\nprot = 1\n[kafka]\nsasl_password = 'hunter2'",
        {"DETECTOR__METRICS__HOSTS": "a", "DETECTOR__KAFKA": "a"},
        {"logs.level": "loud"},
    )
    assert len(found) == 6 and [line.split(":")[0] for line in found].count("FILE") == 3
    assert not [line for line in found if "hunter2" in line], "a secret in the wrong place is not repeated"


def test_a_file_that_was_named_must_be_there_and_the_usual_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load().config == Config()
    with pytest.raises(ConfigError, match="config init"):
        load(tmp_path / "other.toml")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "detector.toml").write_text("[metrics]\nport = 5\n")
    assert load().config.metrics.port == 5


def test_every_key_is_read_by_some_command(tmp_path: Path) -> None:
    source = "".join(path.read_text() for path in (ROOT / "detector" / "cli").glob("*.py"))
    for entry in shown(load(written(tmp_path, ""))):
        section, _, key = entry["key"].partition(".")
        whole = f"config.{section})" in source  # handed over as a whole
        assert whole or re.search(rf"config\.{section}\.{key}\b", source), entry["key"]


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    loaded = load(written(tmp_path, f"[kafka]\nsasl_password_file = '{tmp_path / 'secret'}'"))
    assert "hunter2" not in str(shown(loaded)) and "hunter2" not in repr(loaded.config)


def test_the_schema_describes_every_key() -> None:
    definitions = schema()["$defs"]
    for section in tomllib.loads(defaults_text()):
        reference = definitions["Config"]["properties"][section]
        name = (reference.get("$ref") or reference["allOf"][0]["$ref"]).rpartition("/")[2]
        assert all(value.get("description") for value in definitions[name]["properties"].values())
    assert msgspec.json.encode(schema())


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1772442847123", 1772442847123),
        ("2026-03-02T09:14:07.123Z", 1772442847123),
        ("2026-03-02T10:14:07.123+01:00", 1772442847123),
        ("-5", -5),
    ],
)
def test_a_moment_is_rfc_3339_or_milliseconds(text: str, ms: int) -> None:
    assert moment(text) == ms
