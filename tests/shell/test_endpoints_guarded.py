"""Who may read the metrics: TLS, a password, a certificate; and that probes are answered all the same."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from secured import Authority

from detector.endpoints import Access, Endpoints, exposed
from detector.errors import ConfigError


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "strange")


@contextmanager
def served(**access: str) -> Iterator[Endpoints]:
    ill = False, ["2 partitions are being restored"]
    made = Endpoints("127.0.0.1", 0, lambda: b"detector_events_total 3\n", lambda: ill, lambda: ill, Access(**access))
    try:
        yield made
    finally:
        made.close()


def get(at: Endpoints, path: str, trust: Any = None, cert: Path | None = None, login: str = "") -> tuple[int, bytes]:
    """`trust`: who signs servers; None: no TLS. `login`: USER:PASSWORD."""
    context = ssl.create_default_context(cafile=str(trust.file)) if trust else None
    if context and cert:
        context.load_cert_chain(cert)
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    request = urllib.request.Request(f"http{'s' if trust else ''}://127.0.0.1:{at.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def reasons(answer: tuple[int, bytes]) -> list[str]:
    assert answer[0] == 503
    found: list[str] = json.loads(answer[1])["reasons"]
    return found


def test_a_password_is_asked_for_and_probes_are_answered_without_reasons() -> None:
    with served(user="prometheus", password="sésame: open") as at:
        assert get(at, "/metrics", login="prometheus:sésame: open") == (200, b"detector_events_total 3\n")
        for login in ("", "prometheus:", "prometheus:sesame", "Prometheus:sésame: open", ":sésame: open", "prometheus"):
            assert get(at, "/metrics", login=login)[0] == 401, login
        assert reasons(get(at, "/readyz")) == reasons(get(at, "/livez", login="a:b")) == []
        assert reasons(get(at, "/readyz", login="prometheus:sésame: open")) == ["2 partitions are being restored"]


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer cHJvbTpwYXNz", "Basic cHJvbTpwYXNz extra", "Basic /w=="])
def test_nonsense_for_a_password_is_refused(header: str) -> None:
    with served(user="prom", password="pass") as at:
        request = urllib.request.Request(f"http://127.0.0.1:{at.port}/metrics", headers={"Authorization": header})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 401 and refused.value.headers["WWW-Authenticate"].startswith("Basic ")


def test_tls_is_spoken_and_nothing_else(authority: Authority, stranger: Authority) -> None:
    own = str(authority.sign("server"))
    with served(certfile=own, keyfile=own) as at:
        assert get(at, "/metrics", authority)[0] == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            get(at, "/metrics", stranger)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(at, "/metrics")


def test_a_certificate_is_asked_for_and_probes_are_answered_without(authority: Authority, stranger: Authority) -> None:
    own, ours, theirs = str(authority.sign("server")), authority.sign("prometheus"), stranger.sign("prometheus")
    with served(certfile=own, keyfile=own, cafile=str(authority.file)) as at:
        assert get(at, "/metrics", authority, ours)[0] == 200
        assert get(at, "/metrics", authority)[0] == 403
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            get(at, "/metrics", authority, theirs)
        assert reasons(get(at, "/readyz", authority)) == []
        assert reasons(get(at, "/readyz", authority, ours)) == ["2 partitions are being restored"]


def test_where_both_are_asked_for_one_is_not_enough(authority: Authority) -> None:
    own, ours = str(authority.sign("server")), authority.sign("prometheus")
    with served(certfile=own, keyfile=own, cafile=str(authority.file), user="prom", password="pass") as at:
        assert get(at, "/metrics", authority, ours, "prom:pass")[0] == 200
        assert get(at, "/metrics", authority, ours)[0] == get(at, "/metrics", authority, None, "prom:pass")[0] == 401


def test_a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    own = tmp_path / "own.pem"
    shutil.copy(authority.sign("old"), own)
    with served(certfile=str(own), keyfile=str(own)) as at:
        assert get(at, "/metrics", authority)[0] == 200
        own.write_text("half of it")
        assert get(at, "/metrics", authority)[0] == 200
        own.write_bytes(stranger.sign("new").read_bytes())
        assert get(at, "/metrics", stranger)[0] == 200
        own.unlink()
        assert get(at, "/metrics", stranger)[0] == 200


def test_a_client_that_is_silent_before_tls_begins_holds_up_no_other(authority: Authority) -> None:
    own = str(authority.sign("server"))
    with served(certfile=own, keyfile=own) as at, socket.create_connection(("127.0.0.1", at.port)):
        assert get(at, "/metrics", authority)[0] == 200


def test_a_certificate_that_cannot_be_used_is_a_configuration_error(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    own, other = str(authority.sign("server")), str(stranger.sign("server"))
    for certfile, keyfile in ((own, other), (str(tmp_path / "nothing.pem"), own), (str(authority.file), str(authority.file))):
        with pytest.raises(ConfigError, match=r"metrics\.ssl_certfile"):
            Endpoints("127.0.0.1", 0, lambda: b"", lambda: (True, []), lambda: (True, []), Access(certfile, keyfile))


@pytest.mark.parametrize(
    ("host", "access", "lacks"),
    [
        ("127.0.0.1", Access(), ()),
        ("::1", Access(), ()),
        ("localhost", Access(), ()),
        ("0.0.0.0", Access("a", "a", user="u", password="p"), ()),
        ("0.0.0.0", Access("a", "a", "a"), ()),
        ("0.0.0.0", Access(), ("ssl_certfile", "username")),
        ("10.0.0.7", Access("a", "a"), ("username",)),
        ("metrics.example", Access(user="u", password="p"), ("ssl_certfile",)),
    ],
)
def test_what_is_open_beyond_this_machine_is_said(host: str, access: Access, lacks: tuple[str, ...]) -> None:
    said = exposed(host, access)
    assert bool(said) == bool(lacks)
    assert [name for name in ("ssl_certfile", "username") if name in said] == list(lacks)


def test_the_password_does_not_show_itself() -> None:
    assert "sesame" not in repr(Access(user="u", password="sesame"))
