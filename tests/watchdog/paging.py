"""A small installation whose watchdog pages: its catalogue, and falls of its services made by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

from app import catalog, clock
from app.config import settings
from app.health.core import Decision, Policy, ServiceState, decide
from app.health.results import ProbeError, ProbeResult
from app.health.specs import resolve_all
from app.infra import ids
from app.recovery.core import Run, Runner, Verdict
from app.watchdog.falls import Failure, Fall
from app.watchdog.known import Known
from app.watchdog.planning import Look

RULES = """
[alerts.SMM_ServiceDown]
on = "health.down"
until = "health.up"
severity = "{labels.severity}"
team = "platform"
summary = "{subject} is down: {facts.error.text}"
runbook = "service-down"

[alerts.SMM_RecoveryFailed]
on = "recovery.escalated"
until = ["health.up", "recovery.recovered"]
severity = "{labels.severity}"
team = "platform"
summary = "{subject} could not be repaired: {facts.why}"
runbook = "recovery"

[alerting]
hold_after_start = 0

[teams.platform]

[ladders.critical]
steps = [{after_minutes = 30, notify = ["channel:ops"]}]

[receivers.everybody]
notify = ["channel:ops"]

[routing]
receiver = "everybody"
group_by = ["alertname", "service"]
group_wait = 0
group_interval = 30
repeat_interval = 3600
"""


def service(name: str = "redis", *, port: int = 1, more: str = "") -> str:
    """A service that the watchdog watches."""
    return (
        f"[services.{name}]\nkind = 'tcp'\nhost = '127.0.0.1'\nport = {port}\nwatched_by = 'watchdog'\n"
        f"severity = 'critical'\ninterval = 1\nconfirm_interval = 1\ntimeout = 1\n{more}"
    )


def webhook(base: str = "http://127.0.0.1:9", name: str = "ops", *, more: str = "") -> str:
    """A channel that ends at a server of this host."""
    return f"[channels.{name}]\nkind = 'webhook'\nurl = '{base}/{name}'\nallow = ['127.0.0.0/8']\ntimeout = 2\n{more}"


def fall(name: str = "redis", at: datetime | None = None) -> Fall:
    """A service of the present catalogue has fallen, just now."""
    spec = resolve_all(catalog.current())[name]
    began_at = (at or clock.now()) - timedelta(seconds=10)
    state, policy = ServiceState(), Policy()
    decision: Decision | None = None
    for second in (0, 5, 10):
        result = failed(began_at + timedelta(seconds=second))
        decision = decide(state, result, policy, result.finished_at)
        state = decision.state
    assert decision is not None
    assert decision.announce
    return Fall(spec, result, decision, began_at)


def failure(name: str = "redis", at: datetime | None = None) -> Failure:
    """A repair of a service of the present catalogue has ended in vain, just now."""
    spec, ended_at = resolve_all(catalog.current())[name], at or clock.now()
    run = Run(
        id=ids.uuid7(ended_at),
        playbook="service-restart",
        service=name,
        kind=spec.service.kind,
        severity=spec.service.severity,
        essential=spec.service.essential,
        runner=Runner.WATCHDOG,
        started_by="signal",
        created_at=ended_at - timedelta(seconds=40),
        steps=(),
        verdict=Verdict.ESCALATED,
        why="every step was taken, and it did not help",
        ended_at=ended_at,
    )
    return Failure(spec, run)


def failed(at: datetime) -> ProbeResult:
    return ProbeResult(ok=False, started_at=at, finished_at=at, error=ProbeError("refused", "connection refused"))


def well(at: datetime) -> ProbeResult:
    return ProbeResult(ok=True, started_at=at, finished_at=at, latency_ms=1.0)


def results_of(fallen: Fall) -> list[tuple[str, ProbeResult]]:
    """The results that made it fall."""
    return [(fallen.spec.name, failed(fallen.began_at + timedelta(seconds=second))) for second in (0, 5, 10)]


def look(known: Known | None = None, now: datetime | None = None) -> Look:
    """What a plan is made of, now."""
    return Look(catalog.current(), known or Known(), settings(), now or clock.now())
