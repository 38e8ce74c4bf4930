"""An app and its platform's answers: what concerns all of its accounts is known, waited for and told once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import signals
from app.catalog import App
from app.infra.db import UnitOfWork
from app.tokens.climbing import Block

REFUSED, UNSURE, LIMITED, ODD, OK = "refused", "unsure", "limited", "odd", "ok"

OUTAGE_AFTER = 10
"""First tries that failed one after the other, of so many accounts, without a success between: it is the platform."""
LOST_AFTER = 3
"""The same of answers that got lost: each of them may have cost an account its consent."""
PROBE = timedelta(minutes=2)
"""How long the others wait for the answer to the one that asks first after a hold."""
FIRST_HOLD = timedelta(minutes=5)
LONGEST_HOLD = timedelta(hours=1)

_TOLD = {REFUSED: "tokens.app_refused", UNSURE: "tokens.platform_unsure", ODD: "tokens.answer_unknown"}
_OVER = {REFUSED: "tokens.app_accepted", UNSURE: "tokens.platform_sure", ODD: "tokens.answer_known"}

_UNUSED = """
    SELECT t.name, t.state FROM token_apps t
     WHERE t.state <> 'ok' AND t.name NOT LIKE 'key:%'
       AND NOT EXISTS (SELECT FROM accounts a
                        WHERE a.disabled_at IS NULL AND (a.app = t.name OR (a.app = '' AND a.platform = t.name)))
     ORDER BY t.name FOR UPDATE OF t SKIP LOCKED"""


_ABOUT_APP = ("app_refused", "app_missing", "app_incomplete", "misconfigured")
"""Reasons of an account that are its app's."""

_ACCEPTED = """
    UPDATE token_status SET reason = '', detail = ''
     WHERE account_id IN (
           SELECT s.account_id FROM token_status s JOIN accounts a ON a.id = s.account_id
            WHERE s.reason = ANY(:reasons) AND s.grant_state = 'good'
              AND (a.app = :app OR (a.app = '' AND a.platform = :app))
              FOR UPDATE OF s SKIP LOCKED)"""
"""Who holds one of the others may wait for the app's row, which is held here; theirs is written by what they do."""


@dataclass(frozen=True, slots=True)
class AppState:
    """A row of token_apps. An app without one has never been in trouble."""

    name: str
    state: str = OK
    reason: str = ""
    failures: int = 0
    held_until: datetime | None = None

    def block(self, now: datetime) -> Block | None:
        """Why nothing of it is tried now."""
        if self.state == REFUSED and self.held_until is None:
            return Block()
        return Block(self.held_until) if self.held_until is not None and self.held_until > now else None


def read(session: Session, name: str) -> AppState:
    """What is known of an app."""
    row = session.execute(
        text("SELECT name, state, reason, failures, held_until FROM token_apps WHERE name = :name"), {"name": name}
    ).one_or_none()
    return AppState(name) if row is None else AppState(*row)


def read_all(session: Session) -> dict[str, AppState]:
    """Every app that is or was in trouble, by name."""
    rows = session.execute(text("SELECT name, state, reason, failures, held_until FROM token_apps ORDER BY name"))
    return {row.name: AppState(*row) for row in rows}


def refused(uow: UnitOfWork, app: App, *, reason: str, detail: str, until: datetime) -> None:
    """Its platform does not know it, or its secret: its accounts wait, and one notice goes out."""
    _become(uow, app, REFUSED, reason=reason, detail=detail, until=until)


def limited(uow: UnitOfWork, app: App, *, until: datetime) -> None:
    """Its platform wants no questions for a while."""
    found = _lock(uow, app.name)
    if found.state not in (OK, LIMITED, ODD) or (found.held_until is not None and found.held_until >= until):
        return
    state, reason = (ODD, found.reason) if found.state == ODD else (LIMITED, "rate_limited")
    _write(uow, AppState(app.name, state, reason, found.failures, until))


def odd(uow: UnitOfWork, app: App, *, reason: str, detail: str) -> None:
    """It answered something that nobody described: a person has to look. Its accounts do not wait for that."""
    found = _lock(uow, app.name)
    if found.state in {ODD, REFUSED, UNSURE}:  # staff have been called
        return
    _write(uow, AppState(app.name, ODD, reason, found.failures, found.held_until))
    _tell(uow, app, _TOLD[ODD], reason=reason, detail=detail)


def probe(uow: UnitOfWork, app: App, *, now: datetime) -> Block | None:
    """After a hold one account asks first (None), and the others wait for what it hears."""
    if read(uow.session, app.name).state not in (UNSURE, REFUSED):
        return None
    found = _lock(uow, app.name)
    block = found.block(now)
    if block is None and found.state in (UNSURE, REFUSED):
        _write(uow, replace(found, held_until=now + PROBE))
    return block


def failed(uow: UnitOfWork, app: App, *, now: datetime, lost: bool, first: bool = True) -> None:
    """A try failed. Many first ones in a row are the trouble of the platform: others wait for it to pass."""
    if not first and read(uow.session, app.name).state != UNSURE:
        return
    found = _lock(uow, app.name)
    failures = found.failures + 1
    bound = LOST_AFTER if lost else OUTAGE_AFTER
    if found.state in (REFUSED, UNSURE) or failures < bound:
        state = found.state
        until = found.held_until
        if state == UNSURE and (until is None or until <= now + PROBE):
            until = now + min(LONGEST_HOLD, FIRST_HOLD * 2 ** min(8, failures - bound))
        _write(uow, AppState(app.name, state, found.reason, failures, until))
        return
    _write(uow, AppState(app.name, UNSURE, "no_answers", failures, now + FIRST_HOLD))
    _tell_over(uow, app, found)
    _tell(uow, app, _TOLD[UNSURE], failures=failures, held_until=now + FIRST_HOLD, reason="no_answers")


def answered(uow: UnitOfWork, app: App) -> None:
    """It gave a token: whatever was wrong is over."""
    found = read(uow.session, app.name)
    if found.state == OK and not found.failures:
        return
    found = _lock(uow, app.name)
    _write(uow, AppState(app.name, OK))
    _over(uow, app, found)


def accepted(uow: UnitOfWork, app: App, *, states: Collection[str]) -> None:
    """It answered another question than for a token: of these states nothing is left."""
    if read(uow.session, app.name).state not in states:
        return
    found = _lock(uow, app.name)
    if found.state in states:
        _write(uow, AppState(app.name, OK, failures=found.failures))
        _over(uow, app, found)


def forget_unused(uow: UnitOfWork) -> None:
    """What was told of an app ends with its last account: nobody will ever ask for it again."""
    rows = uow.execute(_UNUSED).all()
    for row in rows:
        _write(uow, AppState(row.name, OK))
        if row.state in _OVER:
            told = signals.timeline(uow.session, subject=f"app:{row.name}", kind=_TOLD[row.state], limit=1)
            labels = told[0].labels if told else {"app": row.name}
            signals.record(uow, _OVER[row.state], f"app:{row.name}", labels=labels, facts={"reason": "unused"})


def _become(uow: UnitOfWork, app: App, state: str, *, reason: str, detail: str, until: datetime) -> None:
    found = _lock(uow, app.name)
    _write(uow, AppState(app.name, state, reason, found.failures, until))
    if found.state != state:
        _tell_over(uow, app, found)
        _tell(uow, app, _TOLD[state], reason=reason, detail=detail, held_until=until)


def _lock(uow: UnitOfWork, name: str) -> AppState:
    uow.execute(
        "INSERT INTO token_apps (name, state) VALUES (:name, :state) ON CONFLICT (name) DO NOTHING", name=name, state=OK
    )
    row = uow.execute(
        "SELECT name, state, reason, failures, held_until FROM token_apps WHERE name = :name FOR UPDATE", name=name
    ).one()
    return AppState(*row)


def _write(uow: UnitOfWork, state: AppState) -> None:
    uow.execute(
        "UPDATE token_apps SET since = CASE WHEN state = :state THEN since ELSE now() END, state = :state, "
        "reason = :reason, failures = :failures, held_until = :held_until WHERE name = :name",
        name=state.name,
        state=state.state,
        reason=state.reason,
        failures=state.failures,
        held_until=state.held_until,
    )


def _over(uow: UnitOfWork, app: App, before: AppState) -> None:
    """Also no account says that its app is refused, whenever it is looked at next."""
    _tell_over(uow, app, before)
    if before.state == REFUSED:
        uow.execute(_ACCEPTED, reasons=list(_ABOUT_APP), app=app.name)


def _tell_over(uow: UnitOfWork, app: App, before: AppState) -> None:
    """What was told of the state before ends with it."""
    if before.state in _OVER:
        _tell(uow, app, _OVER[before.state], reason=before.reason)


def _tell(uow: UnitOfWork, app: App, kind: str, **facts: Any) -> None:
    labels = {"platform": app.at, "app": app.name}
    signals.record(uow, kind, f"app:{app.name}", labels=labels, facts=facts)
