"""Modes come on and go off: by the services' states, by people, by playbooks; a mode is on while anybody holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app import catalog, signals
from app.admission import holds, mirror, store
from app.admission.core import HEALTH, Hold, Plan, Wanted, is_over, over_because, plan
from app.admission.turn import Turn, look_again, turn
from app.catalog import operation_problems
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import storable

NAME = r"[a-z][a-z0-9_.:-]{0,99}"
"""What modes that are not in the catalogue may be called, too: `playbook:queue-backlog`."""

LONGEST_TEXT = 500
LONGEST = timedelta(days=366)
PERSON = "person:"


def follow_health(uow: UnitOfWork, signal_id: UUID, *, handler: str) -> None:
    """A service fell, rose or left: read how all of them stand now, and be in step with that."""
    signal = signals.load(uow.session, signal_id)
    uow.after_commit(lambda: holds.follow([f"service:{signal.subject}"]))
    if signals.is_news(uow, handler, signal):
        reconcile(uow)


def reconcile(uow: UnitOfWork) -> None:
    """Bring every mode in step with the services, the catalogue and the clock, and Redis with the modes.

    Running it twice, late or for nothing does no harm. The clock is the database's, as that of the job that comes back.
    """
    now: datetime = uow.execute("SELECT now()").scalar_one()
    modes = catalog.current().modes
    with turn(uow, now) as mine:
        held = [hold for hold in mine.holds.values() if hold.holder == HEALTH]
        named = {name for mode in modes.values() for name in mode.while_down}
        services = store.services(uow, sorted(named.union(*(hold.cause for hold in held))))
        found = plan(modes, services, held, now)
        _hold(mine, found)  # before anything ends: a mode that one holder hands to another stays on
        for hold in held:
            if hold.name not in found.wanted:
                mine.end(hold, by=HEALTH, why=over_because(hold, modes, services))
        for hold in [hold for hold in mine.holds.values() if is_over(hold, now)]:
            mine.end(hold, by="clock", why="its time is up")
        if found.look_at is not None:
            look_again(uow, found.look_at)
        if not mine.is_changed:
            uow.after_commit(mirror.follow)


def _hold(mine: Turn, found: Plan) -> None:
    """Begin what health wants to hold and does not, and change what it holds otherwise."""
    held = {hold.name: hold for hold in mine.holds.values() if hold.holder == HEALTH}
    for name, wanted in found.wanted.items():
        if name in held:
            mine.change(_as(held[name], wanted))
        else:
            mine.begin(_new(mine, name, HEALTH, HEALTH, wanted))


def enter(
    uow: UnitOfWork,
    name: str,
    *,
    by: str,
    reason: str,
    now: datetime,
    fall_back: Sequence[str] = (),
    wait: Sequence[str] = (),
    until: datetime | None = None,
    cause: Sequence[str] = (),
) -> Hold:
    """Hold a mode on, as `person:NAME` or `playbook:NAME run ID`. Without operations they are the catalogue's.

    Who holds it already, and all people together, changes what is held. Raises Invalid.
    """
    by, reason = storable(by).strip(), storable(reason).strip()
    known = catalog.current().modes.get(name)
    if not fall_back and not wait and known is not None:
        fall_back, wait = known.fall_back, known.wait
    problems = [*_problems(name, by, reason, until, now), *_operations(fall_back, wait)]
    if problems:
        raise Invalid(problems, subject="mode")
    wanted = Wanted(tuple(cause), tuple(fall_back), tuple(wait), reason)
    holder = PERSON if by.startswith(PERSON) else by
    with turn(uow, now) as mine:
        before = next((hold for hold in mine.of(name) if hold.holder == holder), None)
        if before is None:
            hold = replace(_new(mine, name, holder, by, wanted), until=until)
            mine.begin(hold)
        else:
            hold = replace(_as(before, wanted), set_by=by, until=until)
            mine.change(hold)
    return hold


def leave(uow: UnitOfWork, name: str, *, by: str, now: datetime, why: str = "") -> list[Hold]:
    """Hold a mode no longer; the holds that ended. A playbook ends its own (all its runs', when `by` names none).

    A person ends what people and playbooks hold. Raises NotFound when the mode is not on, and Conflict when only health
    holds it: it ends when the service is back. A playbook that holds nothing ends nothing.
    """
    by = storable(by).strip()
    with turn(uow, now) as mine:
        held = mine.of(name)
        ended = [hold for hold in held if _may_end(by, hold)]
        if not ended and by.startswith(PERSON):
            raise _cannot(name, held)
        for hold in ended:
            mine.end(hold, by=by, why=storable(why, limit=LONGEST_TEXT).strip())
    return ended


def _may_end(by: str, hold: Hold) -> bool:
    if by.startswith(PERSON):
        return hold.holder != HEALTH
    return hold.set_by == by or hold.set_by.startswith(f"{by} run ")


def _cannot(name: str, held: Sequence[Hold]) -> NotFound | Conflict:
    if not held:
        return NotFound("no mode of this name is on")
    return Conflict(
        f"{name} is on by itself ({held[0].reason}): it ends by itself, or when the catalogue says otherwise"
    )


def _new(mine: Turn, name: str, holder: str, set_by: str, wanted: Wanted) -> Hold:
    return Hold(
        id=ids.uuid7(mine.now),
        name=name,
        holder=holder,
        set_by=set_by,
        reason=wanted.reason,
        cause=wanted.cause,
        fall_back=wanted.fall_back,
        wait=wanted.wait,
        since=mine.now,
        on_since=min((hold.on_since for hold in mine.of(name)), default=mine.now),
    )


def _as(hold: Hold, wanted: Wanted) -> Hold:
    return replace(hold, cause=wanted.cause, fall_back=wanted.fall_back, wait=wanted.wait, reason=wanted.reason)


def _problems(name: str, by: str, reason: str, until: datetime | None, now: datetime) -> Iterator[Problem]:
    if not re.fullmatch(NAME, name):
        yield Problem("name", f"must match {NAME}")
    if not 0 < len(by) <= LONGEST_TEXT or by in (HEALTH, PERSON):
        yield Problem("by", f"must be who does this, in 1 to {LONGEST_TEXT} characters")
    if not 0 < len(reason) <= LONGEST_TEXT:
        yield Problem("reason", f"must have 1 to {LONGEST_TEXT} characters")
    if until is not None and not now < until <= now + LONGEST:
        yield Problem("until", f"must lie in the next {LONGEST.days} days")


def _operations(fall_back: Sequence[str], wait: Sequence[str]) -> Iterator[Problem]:
    if not fall_back and not wait:
        yield Problem("wait", "must name operations, or fall_back must: the catalogue has no mode of this name")
        return
    for problem in operation_problems(fall_back, wait):
        yield Problem(problem.field.replace("[", ".").replace("]", ""), problem.message)
