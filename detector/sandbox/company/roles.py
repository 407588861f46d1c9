"""What the company's people do all day, as tables: resources, steps, tasks made of steps, roles made of tasks, teams of a role."""

from __future__ import annotations

from typing import NamedTuple

NOBODY, CUSTOMER, STAFF, OWN = range(4)
"""Whom a task is about."""


class Step(NamedTuple):
    """One access inside a task."""

    resource: str
    action: str
    fields: tuple[str, ...] = ()
    chance: float = 1.0
    gap: float = 40.0
    """Mean seconds since the step before."""
    records: float = 1.0
    """Median; 0: not a matter of records."""
    spread: float = 0.0
    """Sigma of the logarithm of `records`."""
    size: float = 900.0
    """Bytes a record."""
    about: str = "subject"
    """`subject` of the task, `other` (one more customer), `nobody`."""


class Task(NamedTuple):
    about: int
    prefix: str
    """Kind of its tickets; empty: work without a ticket."""
    missing: float
    """Share of the work whose ticket nobody named."""
    steps: tuple[Step, ...]


class Role(NamedTuple):
    tasks: float
    """Tasks a working day."""
    mixture: dict[str, float]


class Team(NamedTuple):
    name: str
    role: str
    region: str
    weight: float
    shifts: tuple[float, ...] = (9.0,)
    """Local hours at which a shift starts; with several, people rotate weekly."""
    weekend: float = 0.02
    mix: tuple[float, float, float] = (0.5, 0.3, 0.2)
    """Of customers worked on: shares by region US, EU, SG."""


_PROFILE = Step("user_profile", "read", ("name", "email", "account_status"), gap=15)
_PLACES = Step("user_profile", "read", ("ip", "last_login"))
_DEVICES = Step("device_registry", "read", ("device_id", "last_login"), size=400)
_MESSAGES = Step("messages", "read", ("messages",), gap=60, records=8, spread=0.8, size=300)
_PAYMENTS = Step("payments", "read", ("amount", "card_last4"), records=4, spread=0.7, size=250)
_QUEUE = Step("case_tool", "list", gap=10, records=25, spread=0.4, size=180, about="nobody")
_LOGS = Step("service_logs", "search", gap=240, records=300, spread=1.0, size=300, about="nobody")
_WIKI = Step("wiki", "read", size=20_000, about="nobody")
_ALERT = Step("siem_alerts", "read", size=2500, about="nobody")
_QUERY = Step("warehouse", "search", gap=200, records=500, spread=1.2, size=90, about="nobody")
_AUDIT_LOG = Step("access_audit_log", "read", gap=120, records=40, spread=0.6, size=220)
_OPEN = Step("case_tool", "search", gap=5, records=2, spread=0.5, size=300)
_CLOSE = Step("case_tool", "write", chance=0.85, gap=120, size=0)


def _ip_log(*fields: str, chance: float = 1.0) -> Step:
    return Step("ip_log", "read", fields, chance, gap=50, records=30, spread=0.6, size=120)


TASKS: dict[str, Task] = {
    "question": Task(CUSTOMER, "SUP", 0.12, (
        _OPEN, _PROFILE, _MESSAGES._replace(chance=0.4), _PAYMENTS._replace(chance=0.3), _PLACES._replace(chance=0.06), _CLOSE)),
    "locked_out": Task(CUSTOMER, "SUP", 0.10, (
        _OPEN, _PROFILE, _PLACES._replace(chance=0.7), _ip_log("ip", chance=0.5), _DEVICES._replace(chance=0.6),
        Step("user_profile", "write", ("password_reset",), 0.4, 60, size=0), _CLOSE)),
    "queue": Task(NOBODY, "", 0, (_QUEUE, _WIKI._replace(chance=0.5))),
    "abuse_report": Task(CUSTOMER, "TNS", 0.10, (
        _QUEUE._replace(chance=0.5), _PROFILE, _MESSAGES, _MESSAGES._replace(chance=0.6), _ip_log("ip", chance=0.3),
        _ip_log("ip", "gps", chance=0.12), _DEVICES._replace(chance=0.3), _PROFILE._replace(chance=0.35, about="other"), _CLOSE)),
    "access_review": Task(STAFF, "AUD", 0.12, (
        Step("access_audit_log", "list", (), 0.7, 30, 200, 0.6, 220, "nobody"), _AUDIT_LOG, _AUDIT_LOG._replace(chance=0.6),
        Step("audit_workbench", "write", (), 0.8, 300, size=0))),
    "sampling": Task(CUSTOMER, "AUD", 0.15, (
        Step("payments", "list", (), 0.5, 30, 120, 0.4, 250, "nobody"), _PAYMENTS, _PROFILE._replace(chance=0.5),
        _PLACES._replace(chance=0.03), Step("audit_workbench", "write", (), 0.8, 300, size=0))),
    "expenses": Task(STAFF, "AUD", 0.2, (Step("expense_report", "read", ("amount",), 1, 60, 6, 0.6, 400),
        Step("expense_report", "read", ("amount",), 0.5, 60, 6, 0.6, 400), Step("audit_workbench", "write", (), 0.6, 200, size=0))),
    "deploy": Task(NOBODY, "CHG", 0.3, (
        Step("deploy_console", "read", gap=20, about="nobody"), Step("deploy_console", "write", (), 0.6, 120, size=0, about="nobody"),
        _LOGS._replace(chance=0.8))),
    "debugging": Task(CUSTOMER, "INC", 0.3, (
        _LOGS._replace(gap=20), Step("user_profile", "read", ("account_status",), 0.4, 120),
        _DEVICES._replace(fields=("device_id",), chance=0.15), _LOGS._replace(chance=0.7))),
    "dogfood": Task(OWN, "", 0, (_PROFILE, _DEVICES._replace(chance=0.3))),
    "reading": Task(NOBODY, "", 0, (_WIKI._replace(gap=10),
        _WIKI._replace(action="search", chance=0.5, records=8, size=400), _WIKI._replace(action="write", chance=0.1, gap=600, size=0))),
    "personnel": Task(STAFF, "HR", 0.15, (
        Step("hr_record", "search", (), 0.6, 15, 3, 0.4, 200, "nobody"),
        Step("hr_record", "read", ("name", "address", "phone"), 1, 20, size=3000),
        Step("hr_record", "read", ("salary",), 0.25, 60, size=800), Step("hr_record", "write", (), 0.4, 240, size=0))),
    "invoice": Task(CUSTOMER, "FIN", 0.4, (Step("payments", "list", (), 0.4, 30, 80, 0.5, 250, "nobody"), _PAYMENTS,
        Step("ledger", "write", (), 0.6, 120, size=0, about="nobody"))),
    "closing": Task(NOBODY, "FIN", 0.5, (
        Step("ledger", "read", gap=20, records=60, spread=0.6, size=150, about="nobody"),
        Step("ledger", "export", (), 0.15, 120, 900, 0.8, 150, "nobody"))),
    "alert_triage": Task(NOBODY, "SEC", 0.3, (
        _ALERT._replace(action="list", gap=10, records=30, spread=0.5, size=600), _ALERT, _ALERT._replace(chance=0.7, gap=90),
        _ALERT._replace(action="write", chance=0.6, gap=200, size=0))),
    "account_takeover": Task(CUSTOMER, "SEC", 0.1, (_PROFILE, _ip_log("ip"), _DEVICES._replace(chance=0.6),
        _ip_log("ip", "gps", chance=0.2), _ALERT._replace(action="write", chance=0.5, gap=200, size=0))),
    "staff_check": Task(STAFF, "SEC", 0.1, (_AUDIT_LOG._replace(gap=60), _AUDIT_LOG._replace(chance=0.4))),
    "dashboard": Task(NOBODY, "", 0, (Step("analytics", "read", gap=15, records=50, spread=0.8, size=60, about="nobody"),
        Step("analytics", "search", (), 0.5, 60, 20, 0.8, 60, "nobody"))),
    "campaign": Task(NOBODY, "MKT", 0.35, (Step("campaign_audience", "list", gap=20, records=60, spread=0.5, size=120, about="nobody"),
        Step("campaign_audience", "export", ("email",), 0.3, 180, 400, 0.8, 120, "nobody"))),
    "query": Task(NOBODY, "DAT", 0.4, (
        _QUERY._replace(gap=30), _QUERY._replace(chance=0.7),
        Step("warehouse", "export", (), 0.12, 300, 800, 1.0, 90, "nobody"))),
    "legal_request": Task(CUSTOMER, "LEG", 0.05, (_PROFILE, _MESSAGES, _ip_log("ip", chance=0.3),
        Step("messages", "export", ("messages",), 0.25, 300, 60, 0.6, 300))),
    "access_request": Task(STAFF, "ITS", 0.1, (Step("iam_console", "list", gap=15, records=20, spread=0.4, size=150, about="nobody"),
        Step("iam:case_tool", "grant", (), 0.5, 60, size=0), Step("iam:warehouse", "grant", (), 0.15, 60, size=0),
        Step("iam:messages", "admin", (), 0.15, 60, size=0))),
    "laptop": Task(STAFF, "ITS", 0.1, (
        Step("asset_inventory", "read", gap=20, size=500), Step("asset_inventory", "write", (), 0.7, 200, size=0))),
    # what nobody's mixture holds: logging in, ticketing, machines, and the incidents that are planted
    "login": Task(NOBODY, "", 0, (Step("sso", "login", size=0, about="nobody"),)),
    "assignment": Task(NOBODY, "", 0, (Step("ticketing", "assign", records=0, size=0), Step("ticketing", "unassign", records=0, size=0))),
    "etl": Task(NOBODY, "", 0, (Step("warehouse", "write", gap=5, records=20_000, spread=0.3, size=0, about="nobody"),)),
    "backup": Task(NOBODY, "", 0, (Step("object_store", "export", gap=5, records=50_000, spread=0.2, size=90, about="nobody"),)),
    "mailing": Task(NOBODY, "", 0, (Step("campaign_audience", "list", gap=5, records=300, spread=0.5, size=120, about="nobody"),)),
    "story": Task(CUSTOMER, "", 0, (_PLACES, _ip_log("ip", "gps"), _DEVICES._replace(fields=("device_id", "ip", "last_login")))),
    "bulk-export": Task(NOBODY, "", 0, (
        Step("user_profile", "export", ("name", "email", "phone", "address"), 1, 60, 9000, 0.5, 350, "nobody"),)),
}  # fmt: skip

ROLES: dict[str, Role] = {
    "support": Role(13, {"question": 0.62, "locked_out": 0.2, "queue": 0.18}),
    "trust_safety": Role(9, {"abuse_report": 0.8, "queue": 0.2}),
    "internal_audit": Role(9, {"access_review": 0.35, "sampling": 0.35, "expenses": 0.15, "reading": 0.15}),
    "engineering": Role(11, {"deploy": 0.4, "debugging": 0.25, "reading": 0.33, "dogfood": 0.02}),
    "hr": Role(11, {"personnel": 0.8, "reading": 0.2}),
    "finance": Role(15, {"invoice": 0.6, "closing": 0.25, "reading": 0.15}),
    "security_ops": Role(10, {"alert_triage": 0.6, "account_takeover": 0.2, "staff_check": 0.12, "reading": 0.08}),
    "growth": Role(17, {"dashboard": 0.65, "campaign": 0.25, "reading": 0.1}),
    "data_science": Role(15, {"query": 0.7, "dashboard": 0.2, "reading": 0.1}),
    "legal": Role(8, {"legal_request": 0.6, "reading": 0.4}),
    "it_admin": Role(13, {"access_request": 0.5, "laptop": 0.4, "reading": 0.1}),
    "service": Role(0, {"etl": 0.6, "backup": 0.2, "mailing": 0.2}),
}

_US, _EU, _SG = (0.9, 0.06, 0.04), (0.06, 0.92, 0.02), (0.1, 0.0, 0.9)
TEAMS: tuple[Team, ...] = (
    Team("support-us-1", "support", "US", 14, (7, 9, 13), 0.3, _US),
    Team("support-us-2", "support", "US", 12, (7, 9, 13), 0.3, _US),
    Team("support-eu-1", "support", "EU", 13, (7, 9, 12), 0.3, _EU),
    Team("support-apac", "support", "SG", 10, (7, 9, 13), 0.3, _SG),
    Team("trust-safety-us", "trust_safety", "US", 6, (8, 14), 0.2, _US),
    Team("trust-safety-eu", "trust_safety", "EU", 6, (8, 14), 0.2, _EU),
    Team("trust-safety-apac", "trust_safety", "SG", 5, (8, 14), 0.2, _SG),
    Team("internal-audit", "internal_audit", "SG", 7), Team("internal-audit-us", "internal_audit", "US", 3),
    Team("eng-core", "engineering", "US", 9, (9.5,), 0.05, _US), Team("eng-feed", "engineering", "EU", 7, (9.5,), 0.05, _EU),
    Team("eng-infra", "engineering", "SG", 6, (9.5,), 0.05, _SG),
    Team("people-us", "hr", "US", 3, mix=_US), Team("people-eu", "hr", "EU", 2, mix=_EU),
    Team("finance-us", "finance", "US", 3, (8.5,), mix=_US), Team("finance-apac", "finance", "SG", 3, (8.5,), mix=_SG),
    Team("security-ops", "security_ops", "US", 3, (8, 15), 0.35), Team("security-ops-eu", "security_ops", "EU", 3, (7, 14), 0.35),
    Team("growth", "growth", "US", 5, mix=_US), Team("growth-apac", "growth", "SG", 3, mix=_SG),
    Team("data-science", "data_science", "EU", 4, mix=_EU),
    Team("legal", "legal", "US", 3), Team("it-admin", "it_admin", "SG", 3, (8.5,)), Team("platform-services", "service", "US", 0),
)  # fmt: skip

SENSITIVITY = {
    "name": "identity", "account_status": "identity", "email": "contact", "phone": "contact", "address": "contact",
    "ip": "location", "gps": "location", "last_login": "location", "device_id": "device", "messages": "content",
    "amount": "financial", "card_last4": "financial", "salary": "financial", "password_reset": "credential",
}  # fmt: skip

RESOURCE_KINDS = {
    "siem_alerts": "watch", "access_audit_log": "watch", "*_alerts": "watch", "iam_console": "iam",
    "iam:*": "iam", "hr_*": "hr", "asset_*": "asset",
}  # fmt: skip

TEAMLESS = frozenset({"ip_log", "ticketing", "service_logs", "warehouse", "object_store"})
"""Sources that know who it was, but no team, role or region."""
RFC3339 = frozenset({"ticketing", "sso", "iam_console", "hr_record"})
"""Sources that write the time as text; the others count milliseconds."""
