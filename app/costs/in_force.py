"""What people changed about budgets, as the limiter asks for it every two seconds."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app import catalog, clock
from app.catalog import Budget
from app.config import Settings, settings
from app.costs import budget_store
from app.costs.budget_store import Change
from app.errors import Transient
from app.infra.db import read_only
from app.infra.logging import get_logger
from app.limits.budgets import Changes, Effective, Override

REST_SECONDS = 10.0
"""After Postgres did not answer, how long this process does not ask it: calls are being decided meanwhile."""

log = get_logger(__name__)

_rest: tuple[Settings, float] | None = None
"""The settings whose Postgres did not answer, and until when it is not asked, by the monotonic clock."""


def read() -> Changes:
    """All that people changed, and what is throttled. Raises Transient while Postgres is away, without asking again."""
    global _rest
    if _rest is not None and _rest[0] is settings() and clock.monotonic() < _rest[1]:
        raise Transient("Postgres did not answer a moment ago")
    try:
        with read_only() as session:
            return changes(session)
    except Transient:
        _rest = settings(), clock.monotonic() + REST_SECONDS
        raise


def of(session: Session) -> Effective:
    """The budgets in force as this transaction sees them: never a moment old."""
    return Effective(catalog.current().budgeting, changes(session))


def changes(session: Session) -> Changes:
    """The same, in a transaction. What was read is its own version: equal means unchanged."""
    found = budget_store.changes(session)
    throttled = frozenset(budget_store.throttled(session))
    overrides = tuple(
        Override(one.name, one.subject, one.amount_micro_usd, one.until)
        for one in found
        if one.amount_micro_usd is not None
    )
    budgets = tuple(defined(found))
    return Changes((budgets, overrides, throttled), budgets, overrides, throttled)


def defined(found: Iterable[Change]) -> Iterable[Budget]:
    """The budgets that people made. One that a newer version cannot read is left out, and told in the log."""
    for one in found:
        if one.definition is None:
            continue
        try:
            yield Budget.model_validate({**one.definition, "name": one.name})
        except ValidationError as error:
            log.error("a budget that people made cannot be read", budget=one.name, problems=error.error_count())
