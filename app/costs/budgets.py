"""What people change about budgets: new ones, other amounts for all or for one, for good or for a while; each audited.

The limiter counts by what is set from the commit on: at once in this process, within two seconds in the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from app import catalog, clock
from app.catalog import MICRO, Budget, did_you_mean
from app.catalog.explain import explain
from app.catalog.limiting import LARGEST
from app.costs import budget_store, crossed, in_force
from app.costs.budget_store import Change
from app.costs.sums import dollars
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra.db import UnitOfWork
from app.infra.text import storable
from app.limits import keys
from app.limits.budgets import Effective, look_again
from app.limits.windows import window_at

What = Literal["set", "raise", "lower"]

LONGEST_TEXT = 500
LONGEST = timedelta(days=366)
CLOCK = "clock"
PERIOD = "period"
"""What may be given as `until`: the end of the budget's present period."""

_FIELDS = frozenset(field.alias or key for key, field in Budget.model_fields.items()) - {"name"}


def define(uow: UnitOfWork, name: str, definition: Mapping[str, Any], *, by: str, reason: str) -> Budget:
    """A budget that the catalogue has not, or another shape of one: the keys of [budgets.NAME].

    Raises Invalid naming every wrong key, Conflict for a name of the catalogue.
    """
    by, reason = _said(by, reason)
    made, problems = _budget(name, definition)
    problems = [*problems, *_why(by, reason)]
    if problems or made is None:
        raise Invalid(problems, subject="budget")
    now = budget_store.take_turns(uow)
    if name in catalog.current().budgeting.budgets:
        raise Conflict(f"{name} is a budget of the catalogue: set another amount for it, or change the file")
    before = budget_store.find(uow, name, "")
    kept = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
    change = Change(name, "", now, by, reason, definition=kept)
    budget_store.write(uow, change)
    _audited(uow, name, "", "defined", by=by, reason=reason, before=before, after=change)
    return made


def _budget(name: str, definition: Mapping[str, Any]) -> tuple[Budget | None, list[Problem]]:
    given = {key: value for key, value in definition.items() if key != "name"}
    try:
        return Budget.model_validate({**given, "name": name}), []
    except ValidationError as error:
        return None, explain(error, (), known=_FIELDS)


def change_amount(
    uow: UnitOfWork,
    name: str,
    amount: float,
    *,
    by: str,
    reason: str,
    subject: str = "",
    until: datetime | Literal["period"] | None = None,
    what: What = "set",
) -> Change:
    """Another amount, in dollars, for everybody or for one `subject` such as `tenant:acme`.

    `raise` and `lower` refuse what is no more, or no less, than what counts now. Raises NotFound for an unknown budget,
    Invalid naming every wrong field.
    """
    by, reason = _said(by, reason)
    now = budget_store.take_turns(uow)
    effective = in_force.of(uow.session)
    budget = known(effective, name)
    problems = [*_why(by, reason), *subject_problems(effective, budget, subject), *_amount(amount)]
    if not problems:
        problems = [*_direction(effective, budget, subject, amount, what)]
    ends_at = _ends_at(effective, budget, subject, now) if until == PERIOD else until
    problems += _until(ends_at, now)
    if problems or isinstance(ends_at, str):
        raise Invalid(problems, subject="budget")
    before = budget_store.find(uow, name, subject)
    definition = None if before is None else before.definition
    if definition is not None and ends_at is not None:
        raise Invalid([Problem("until", f"{name} is not in the catalogue: its amount is its own")], subject="budget")
    change = Change(name, subject, now, by, reason, definition, round(amount * MICRO), ends_at)
    budget_store.write(uow, change)
    said = {"set": "set", "raise": "raised", "lower": "lowered"}[what]
    _audited(uow, name, subject, said, by=by, reason=reason, before=before, after=change)
    return change


def remove(uow: UnitOfWork, name: str, *, by: str, reason: str, subject: str = "") -> list[Change]:
    """What people set is set no longer: the catalogue's own amount counts again; what ended.

    A budget that people made is gone, with every amount that was set for it. Raises NotFound where nobody set anything.
    """
    by, reason = _said(by, reason)
    if problems := list(_why(by, reason)):
        raise Invalid(problems, subject="budget")
    budget_store.take_turns(uow)
    before = budget_store.find(uow, name, subject)
    if before is None:
        raise NotFound(f"nobody has set anything for {name}{f' of {subject}' if subject else ''}")
    ended = budget_store.of_budget(uow, name) if before.definition is not None else [before]
    for change in ended:
        budget_store.delete(uow, name, change.subject)
        _audited(uow, name, change.subject, "removed", by=by, reason=reason, before=change, after=None)
    return ended


def keep(uow: UnitOfWork) -> list[Change]:
    """What only time changes: amounts whose time is up (they are returned), periods that ended, grace that is over."""
    budget_store.take_turns(uow)
    ended = budget_store.over(uow)
    for change in ended:
        budget_store.delete(uow, change.name, change.subject)
        _audited(
            uow, change.name, change.subject, "ended", by=CLOCK, reason="its time is up", before=change, after=None
        )
    crossed.follow(uow)
    return ended


def known(effective: Effective, name: str) -> Budget:
    """The budget of that name. Raises NotFound with a near one, if there is."""
    if name not in effective.budgets:
        raise NotFound(f"no budget is named so{did_you_mean(name, effective.budgets)}")
    return effective.budgets[name]


def _audited(
    uow: UnitOfWork,
    name: str,
    subject: str,
    what: str,
    *,
    by: str,
    reason: str,
    before: Change | None,
    after: Change | None,
) -> None:
    budget_store.audit(
        uow,
        name,
        subject,
        what,
        by=by,
        reason=reason,
        before=None if before is None else before.document(),
        after=None if after is None else after.document(),
    )
    crossed.follow(uow, [name], also=[(name, subject or keys.EVERYBODY)])
    uow.after_commit(look_again)


def _said(by: str, reason: str) -> tuple[str, str]:
    return storable(by).strip(), storable(reason).strip()


def _why(by: str, reason: str) -> Iterator[Problem]:
    if not 0 < len(by) <= LONGEST_TEXT:
        yield Problem("by", f"must be who does this, in 1 to {LONGEST_TEXT} characters")
    if not 0 < len(reason) <= LONGEST_TEXT:
        yield Problem("reason", f"must have 1 to {LONGEST_TEXT} characters")


def _amount(amount: float) -> Iterator[Problem]:
    if not math.isfinite(amount) or not 1 <= amount * MICRO <= LARGEST:
        yield Problem("amount", f"must be dollars from 0.000001 to {LARGEST // MICRO}")


def subject_problems(effective: Effective, budget: Budget, subject: str) -> Iterator[Problem]:
    """What is wrong with a subject of a budget, for people; "" is all of them."""
    if subject == "":
        return
    shape = _shape(budget)
    if storable(subject) != subject or not subject.isprintable() or not re.fullmatch(shape, subject):
        yield Problem("subject", f"must be written {_written(budget)}")
    elif effective.counted(budget.name, subject) is None:
        yield Problem("subject", f"{budget.name} is for {budget.scope}:{budget.only} only")


def _shape(budget: Budget) -> str:
    if budget.scope == "global":
        return keys.EVERYBODY
    kind, rest = ("interaction", ".{1,200}/.{1,200}") if budget.period == "interaction" else (budget.scope, ".{1,200}")
    return f"{kind}:{rest}"


def _written(budget: Budget) -> str:
    if budget.scope == "global":
        return keys.EVERYBODY
    return "interaction:AGENT/ID" if budget.period == "interaction" else f"{budget.scope}:NAME"


def _direction(effective: Effective, budget: Budget, subject: str, amount: float, what: What) -> Iterator[Problem]:
    units, wanted = amount_of(effective, budget, subject), round(amount * MICRO)
    if what == "raise" and wanted <= units:
        yield Problem("amount", f"must be more than ${dollars(units):g}, which counts now")
    if what == "lower" and wanted >= units:
        yield Problem("amount", f"must be less than ${dollars(units):g}, which counts now")


def amount_of(effective: Effective, budget: Budget, subject: str) -> int:
    """What counts now, in millionths of a dollar: of one subject, or of all that have no amount of their own."""
    counted = effective.counted(budget.name, subject) if subject else None
    if counted is not None:
        return counted.limit.units
    amounts = {one.subject: one.amount for one in effective.changes.overrides if one.name == budget.name}
    return amounts.get("", budget.units)


def _ends_at(effective: Effective, budget: Budget, subject: str, now: datetime) -> datetime | None:
    """The end of the period. Where each tenant has a day of its own, that of UTC counts for all of them together."""
    counted = effective.counted(budget.name, subject or f"{budget.scope}:{budget.only or ''}") or None
    if budget.scope == "global":
        counted = effective.counted(budget.name, keys.EVERYBODY)
    if counted is None or counted.limit.window == "rolling":
        return now + timedelta(days=1)
    return window_at(counted.limit, now).end


def _until(until: datetime | str | None, now: datetime) -> Iterator[Problem]:
    if until is None:
        return
    if isinstance(until, str):
        yield Problem("until", f"must be a time, or {PERIOD}")
    elif until.tzinfo is None or not now < until <= now + LONGEST:
        yield Problem("until", f"must lie in the next {LONGEST.days} days, with its offset")


def moment_of(written: str | None) -> datetime | Literal["period"] | None:
    """What people gave as `until`. Raises Invalid for what is neither a time nor `period`."""
    if written is None:
        return None
    if written == PERIOD:
        return "period"
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        message = f"must be {PERIOD}, or a time with its offset such as {clock.iso(clock.now() + timedelta(days=1))}"
        raise Invalid([Problem("until", message)], subject="budget")
    return found
