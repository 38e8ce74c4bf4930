"""Storing results: load the state under its lock, decide, save; with it the log, the incident and the signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import clock, signals
from app.health import store, warning
from app.health.announcing import facts_of, labels_of
from app.health.availability.rollup import note_late
from app.health.core import Decision, Flip, Policy, ServiceState, State, decide, without_future
from app.health.results import ProbeResult
from app.health.warning import WARNING, WARNING_OVER, Known
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger

log = get_logger(__name__)

InMaintenance = Callable[[str, datetime], bool]
"""(service, moment) -> is its failing expected then?"""


@dataclass(slots=True)
class _Saving:
    """One service while its results are applied, in the order in which their probes started."""

    row: Row[Any]
    state: ServiceState
    policy: Policy
    incident: UUID | None
    next_check_at: datetime
    known: Known
    last: ProbeResult | None = None
    new_failures: int = 0
    flips: list[Flip] = field(default_factory=list)


def record(
    uow: UnitOfWork,
    results: Sequence[tuple[str, ProbeResult]],
    *,
    source: str,
    in_maintenance: InMaintenance,
    now: datetime | None = None,
) -> list[tuple[str, Flip]]:
    """Store results of any services in any order; the flips they made, by service.

    `now` is the moment of decision; without it each result's own end is, as for results that waited to be stored.
    Results of services that left the catalogue, and results older than the last one stored, are dropped.
    """
    by_name: dict[str, list[ProbeResult]] = {}
    for name, result in results:
        by_name.setdefault(name, []).append(result)
    saved: list[_Saving] = []
    logged: list[dict[str, Any]] = []
    for row in store.lock(uow, sorted(by_name)):
        saving = _loaded(row, now or clock.now())
        for result in sorted(by_name[row.name], key=lambda item: item.started_at):
            decision = decide(saving.state, result, saving.policy, now or result.finished_at)
            if not decision.ignored:
                expected = in_maintenance(row.name, result.started_at)
                _apply(uow, saving, result, decision, expected)
                logged.append(_log_row(row.name, result, decision, source, expected))
        if saving.last is not None:
            saved.append(saving)
    if saved:
        store.save(uow, [_state_row(saving) for saving in saved])
        store.insert_log(uow, logged)
        began = [flip.began_at for saving in saved for flip in saving.flips]
        note_late(uow, [*began, *(row["started_at"] for row in logged)], now or clock.now())
    return [(saving.row.name, flip) for saving in saved for flip in saving.flips]


def _loaded(row: Row[Any], now: datetime) -> _Saving:
    state = ServiceState(
        state=State(row.state),
        since=row.since,
        failures=row.failures,
        successes=row.successes,
        first_failure_at=row.first_failure_at,
        first_success_at=row.first_success_at,
        last_started_at=row.last_started_at,
        history=row.history,
        flapping=row.flapping,
        announced=State(row.announced),
    )
    policy = Policy(
        interval=timedelta(seconds=row.interval_seconds),
        confirm_interval=timedelta(seconds=row.confirm_interval_seconds),
        failures_to_down=row.failures_to_down,
        successes_to_up=row.successes_to_up,
    )
    told = Known(row.warning, (row.last_result or {}).get("told") or {})
    return _Saving(row, without_future(state, now), policy, row.open_incident_id, row.next_check_at, told)


def _apply(uow: UnitOfWork, saving: _Saving, result: ProbeResult, decision: Decision, expected: bool) -> None:
    saving.state = decision.state
    saving.last = result
    saving.next_check_at = decision.next_check_at or saving.next_check_at
    told = saving.incident
    flip = decision.flip
    if flip is not None:
        saving.flips.append(flip)
        log.info(
            "service changed", service=saving.row.name, before=flip.before, after=flip.after, reason=decision.reason
        )
        if flip.after is State.DOWN:
            saving.incident = told = _open(uow, saving, result, flip, expected)
        elif flip.before is State.DOWN and saving.incident is not None:
            store.close_incident(uow, saving.incident, at=flip.began_at, outcome="recovered")
            saving.incident = None
    elif not result.ok and saving.incident is not None:
        store.count_failure(uow, saving.incident, 1)
    saving.known, kinds = warning.tell(saving.known, result, decision)
    for kind in kinds:
        facts = facts_of(result, decision, told)
        if kind in (WARNING, WARNING_OVER):
            facts |= {"since": result.started_at, "warnings": list(result.warnings)}
        signals.record(uow, kind, saving.row.name, labels=_labels(saving.row, expected), facts=facts)


def _open(uow: UnitOfWork, saving: _Saving, result: ProbeResult, flip: Flip, expected: bool) -> UUID:
    incident_id = ids.uuid7()
    store.open_incident(
        uow,
        {
            "id": incident_id,
            "service": saving.row.name,
            "started_at": flip.began_at,
            "detected_at": flip.at,
            "severity": saving.row.severity,
            "error_code": result.error.code if result.error else None,
            "error": result.error.text if result.error else None,
            "in_maintenance": expected,
            "failures": saving.state.failures,
        },
    )
    return incident_id


def _labels(row: Row[Any], expected: bool) -> dict[str, str]:
    return labels_of(service=row.name, kind=row.kind, severity=row.severity, essential=row.essential, expected=expected)


def _state_row(saving: _Saving) -> dict[str, Any]:
    state, result = saving.state, saving.last
    assert result is not None  # noqa: S101 - only what was applied is saved
    return {
        "name": saving.row.name,
        "state": state.state,
        "since": state.since,
        "failures": state.failures,
        "successes": state.successes,
        "first_failure_at": state.first_failure_at,
        "first_success_at": state.first_success_at,
        "last_started_at": state.last_started_at,
        "last_finished_at": result.finished_at,
        "last_result": {**result_dict(result), "told": dict(saving.known.levels)},
        "latency_ms": result.latency_ms,
        "warning": saving.known.warned,
        "history": state.history,
        "flapping": state.flapping,
        "announced": state.announced,
        "open_incident_id": saving.incident,
        "next_check_at": saving.next_check_at,
    }


def result_dict(result: ProbeResult) -> dict[str, Any]:
    """What is kept of the last result beside its times: JSON-ready."""
    return {
        "ok": result.ok,
        "readings": dict(result.readings),
        "error": {"code": result.error.code, "text": result.error.text} if result.error else None,
        "degraded": result.degraded,
        "warnings": list(result.warnings),
        "levels": dict(result.levels),
    }


def _log_row(name: str, result: ProbeResult, decision: Decision, source: str, expected: bool) -> dict[str, Any]:
    return {
        "id": ids.uuid7(result.started_at),
        "service": name,
        "state": decision.state.state,
        "ok": result.ok,
        "latency_ms": result.latency_ms,
        "readings": dict(result.readings),
        "error_code": result.error.code if result.error else None,
        "error": result.error.text if result.error else None,
        "started_at": result.started_at,
        "source": source,
        "in_maintenance": expected,
    }
