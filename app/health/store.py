"""The SQL of services and their results. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from app.infra.db import UnitOfWork
from app.infra.text import json_safe

_SPEC_COLUMNS = (
    "name text, kind text, spec_digest text, watched_by text, essential boolean, severity text, depends_on text[],"
    " interval_seconds float8, confirm_interval_seconds float8, timeout_seconds float8, failures_to_down int,"
    " successes_to_up int"
)
_STATE_COLUMNS = (
    "name text, state text, since timestamptz, failures int, successes int, first_failure_at timestamptz,"
    " first_success_at timestamptz, last_started_at timestamptz, last_finished_at timestamptz, last_result jsonb,"
    " latency_ms real, warning boolean, history text, flapping boolean, announced text, open_incident_id uuid,"
    " next_check_at timestamptz"
)
_LOG_COLUMNS = (
    "id uuid, service text, state text, ok boolean, latency_ms real, readings jsonb, error_code text, error text,"
    " started_at timestamptz, source text, in_maintenance boolean"
)


def _names(columns: str) -> list[str]:
    return [column.split()[0] for column in columns.split(", ")]


_SPEC_NAMES, _STATE_NAMES, _LOG_NAMES = (_names(columns) for columns in (_SPEC_COLUMNS, _STATE_COLUMNS, _LOG_COLUMNS))
_CONFIRMING = "CASE state WHEN 'down' THEN successes > 0 ELSE failures > 0 END"

UPSERT = f"""
    INSERT INTO services ({", ".join(_SPEC_NAMES)})
    SELECT {", ".join(f"r.{name}" for name in _SPEC_NAMES)}
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_SPEC_COLUMNS})
     ORDER BY r.name
    ON CONFLICT (name) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _SPEC_NAMES)}, present = true, next_check_at = now(),
        registered_at = CASE WHEN services.present THEN services.registered_at ELSE now() END
     WHERE services.spec_digest <> excluded.spec_digest OR NOT services.present
    RETURNING name"""

MARK_ABSENT = """
    UPDATE services SET present = false, state = 'unknown', since = NULL, failures = 0, successes = 0, history = '',
           flapping = false, announced = 'unknown', first_failure_at = NULL, first_success_at = NULL,
           last_finished_at = NULL, last_result = NULL, latency_ms = NULL, warning = false, open_incident_id = NULL
     WHERE name = ANY(:names)"""

# Work that falls due before the middle of the next tick is taken now: a check due a moment after this tick would
# otherwise wait a whole tick more, and three failures in a row would take twice as long. A claim holds a service for
# its time-out at least, so that a slow probe is not joined by a second one.
CLAIM = f"""
    UPDATE services SET next_check_at = now() + make_interval(secs => greatest(timeout_seconds + 2,
           CASE WHEN {_CONFIRMING} THEN least(confirm_interval_seconds, interval_seconds) ELSE interval_seconds END))
      FROM (SELECT name AS due_name FROM services
             WHERE present AND watched_by = 'engine' AND next_check_at <= now() + make_interval(secs => :ahead)
             ORDER BY next_check_at LIMIT :limit FOR UPDATE SKIP LOCKED) AS due
     WHERE services.name = due.due_name RETURNING services.name"""

# A check that was made due while this probe ran keeps its due time: what the probe saw may be older than the reason.
SAVE = f"""
    UPDATE services SET
        {", ".join(f"{name} = r.{name}" for name in _STATE_NAMES if name not in ("name", "next_check_at"))},
        next_check_at = CASE WHEN services.next_check_at > r.last_started_at AND services.next_check_at <= now()
                             THEN services.next_check_at ELSE r.next_check_at END
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_STATE_COLUMNS}) WHERE services.name = r.name"""

INSERT_LOG = f"""
    INSERT INTO system_health_log ({", ".join(_LOG_NAMES)})
    SELECT {", ".join(f"r.{name}" for name in _LOG_NAMES)}
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_LOG_COLUMNS})"""

# Locks are taken in the order of names, as `lock` takes them: two orders are a deadlock.
_LOCKED = "ORDER BY name FOR UPDATE"
_MAKE_DUE = (
    "UPDATE services SET next_check_at = now() FROM ({}) AS chosen(chosen_name)"
    " WHERE services.name = chosen.chosen_name RETURNING services.name"
)


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(json_safe([dict(row) for row in rows]), default=str)


def upsert(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Insert what is new, update what has another digest or was absent; the names of both."""
    return list(uow.execute(UPSERT, rows=_json(rows)).scalars())


def lock_disappeared(uow: UnitOfWork, names: Sequence[str]) -> Sequence[Row[Any]]:
    """The rows, locked, of present services that are not among `names`."""
    query = "SELECT * FROM services WHERE present AND NOT name = ANY(:names) ORDER BY name FOR UPDATE"
    rows: Sequence[Row[Any]] = uow.execute(query, names=list(names)).all()
    return rows


def mark_absent(uow: UnitOfWork, names: Sequence[str]) -> None:
    """Forget the state of services that left the catalogue; the log and the incidents stay."""
    uow.execute(MARK_ABSENT, names=list(names))


def claim_due(uow: UnitOfWork, limit: int, ahead_seconds: float) -> list[str]:
    """Names of due services, taken in one query; each comes due again after its interval whatever happens."""
    return list(uow.execute(CLAIM, limit=limit, ahead=ahead_seconds).scalars())


def lock(uow: UnitOfWork, names: Sequence[str]) -> Sequence[Row[Any]]:
    """The rows of present services, locked in the order of their names."""
    query = "SELECT * FROM services WHERE present AND name = ANY(:names) ORDER BY name FOR UPDATE"
    rows: Sequence[Row[Any]] = uow.execute(query, names=list(names)).all()
    return rows


def save(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the states after a decision."""
    uow.execute(SAVE, rows=_json(rows))


def insert_log(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append results to the health log."""
    uow.execute(INSERT_LOG, rows=_json(rows))


def make_all_due(uow: UnitOfWork) -> int:
    """Let the engine probe every service at the next tick; how many there are."""
    query = f"SELECT name FROM services WHERE present {_LOCKED}"
    return int(uow.execute(_MAKE_DUE.format(query)).rowcount)


def make_due(uow: UnitOfWork, names: Sequence[str]) -> None:
    """Let the engine probe these at the next tick."""
    query = f"SELECT name FROM services WHERE present AND name = ANY(:names) {_LOCKED}"
    uow.execute(_MAKE_DUE.format(query), names=list(names))


def make_dependents_due(uow: UnitOfWork, name: str) -> list[str]:
    """Let the engine probe at the next tick what depends on `name`."""
    query = f"SELECT name FROM services WHERE present AND depends_on @> CAST(:names AS text[]) {_LOCKED}"
    return sorted(uow.execute(_MAKE_DUE.format(query), names=[name]).scalars())


def beat(uow: UnitOfWork, name: str) -> bool:
    """Note a heartbeat now, and have it judged at the next tick; False when there is no such heartbeat service."""
    query = (
        "UPDATE services SET last_heartbeat_at = now(), next_check_at = CASE WHEN state = 'up' THEN next_check_at"
        " ELSE now() END WHERE present AND kind = 'heartbeat' AND name = :name"
    )
    return int(uow.execute(query, name=name).rowcount) == 1


def pasts(session: Session, names: Sequence[str]) -> Sequence[Row[Any]]:
    """Per service: when it was registered and last called; of its last result the end, the levels, the error's code."""
    query = (
        "SELECT name, registered_at, last_heartbeat_at, last_finished_at, last_result->'levels' AS levels,"
        " last_result->'error'->>'code' AS code FROM services WHERE name = ANY(:names)"
    )
    return session.execute(sql(query), {"names": list(names)}).all()


def present(session: Session) -> Sequence[Row[Any]]:
    """Every service of the catalogue, by name."""
    return session.execute(sql("SELECT * FROM services WHERE present ORDER BY name")).all()


def open_incident(uow: UnitOfWork, incident: Mapping[str, Any]) -> None:
    """Insert an incident. The partial unique index allows one open incident a service."""
    columns = ", ".join(incident)
    values = ", ".join(f":{name}" for name in incident)
    uow.execute(f"INSERT INTO incidents ({columns}) VALUES ({values})", **incident)


def count_failure(uow: UnitOfWork, incident_id: UUID, failures: int) -> None:
    """Add failed probes to an open incident."""
    uow.execute("UPDATE incidents SET failures = failures + :n WHERE id = :id", n=failures, id=incident_id)


def close_incident(uow: UnitOfWork, incident_id: UUID, *, at: datetime, outcome: str) -> None:
    """End an incident as recovered or removed."""
    uow.execute(
        "UPDATE incidents SET recovered_at = greatest(:at, started_at), outcome = :outcome"
        " WHERE id = :id AND recovered_at IS NULL",
        at=at,
        outcome=outcome,
        id=incident_id,
    )
