"""Pauses: somebody's wish that operations of a scope wait or are denied, kept until it is lifted or its time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import jobs, signals
from app.admission import holds, pause_store, scopes
from app.admission.pause_store import Pause
from app.catalog import CLASSES, did_you_mean
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.infra.text import storable

SET, CHANGED, LIFTED = "pauses.set", "pauses.changed", "pauses.lifted"

EFFECTS = ("wait", "deny", "token")
"""Operations wait; they are denied; only those that need the account's token wait."""

HINT = "hint"
"""Nothing waits: whoever is allowed to go on is told the reason. For parts of the system only."""

PERSON = "person:"
"""The holder of what people set, whoever of them it was."""

LONGEST_TEXT = 500
LONGEST = timedelta(days=366)
AT_ONCE = 500
"""Pauses that are ended in one transaction because their time is up."""
TIME_IS_UP = "its time is up"

KEEP = "tasks.admission.keep_pauses"
"""The task that ends pauses whose time is up, and writes to Redis what holds operations."""

log = get_logger(__name__)


def set_pause(
    uow: UnitOfWork,
    scope: str,
    *,
    by: str,
    reason: str,
    now: datetime,
    until: datetime | None = None,
    least: int = 0,
    effect: str = "wait",
    holder: str | None = None,
) -> Pause:
    """Pause a scope, as `person:NAME` or as a part of the system such as `budgets`. Redis follows the commit.

    `least` is the rank of the most urgent class that is stopped: 0 stops all, 3 background work only. The holder is who
    sets it, and all people together are one; who holds the scope already changes what is held. Raises Invalid.
    """
    by, reason = storable(by).strip(), storable(reason).strip()
    holder = holder or (PERSON if by.startswith(PERSON) else by)
    problems = [*scopes.problems(scope), *_problems(by, reason, until, now), *_kind(least, effect, holder)]
    if problems:
        raise Invalid(problems, subject="pause")
    before = next((pause for pause in pause_store.take_turns(uow, scope) if pause.holder == holder), None)
    if before is not None and before.is_over(now):
        _end(uow, before, at=now, by="clock", why=TIME_IS_UP)
        before = None
    if before is None:
        pause = Pause(ids.uuid7(now), scope, least, effect, holder, by, reason, now, until)
        pause_store.insert(uow, pause)
        _tell(uow, SET, pause, by=by)
    else:
        pause = replace(before, least=least, effect=effect, set_by=by, reason=reason, until=until)
        if pause != before:
            pause_store.update(uow, pause)
            _tell(uow, CHANGED, pause, by=by)
    uow.after_commit(_followed([scope]))
    return pause


def lift(uow: UnitOfWork, scope: str, *, by: str, now: datetime, why: str = "", force: bool = False) -> list[Pause]:
    """End pauses of a scope; those that ended. A part of the system ends its own.

    A person ends what people hold, and with `force` what budgets, tokens or others hold as well: they set it again when
    they look again. Raises NotFound where the scope is not paused, Conflict where only others hold it.
    """
    by, why = storable(by).strip(), storable(why, limit=LONGEST_TEXT).strip()
    problems = [*scopes.problems(scope), *_by(by)]
    if problems:
        raise Invalid(problems, subject="pause")
    held = pause_store.take_turns(uow, scope)
    holder = PERSON if by.startswith(PERSON) else by
    ended = [pause for pause in held if force or pause.holder == holder]
    if not ended and holder == PERSON:
        raise _cannot(scope, held)
    for pause in ended:
        _end(uow, pause, at=now, by=by, why=why, forced=pause.holder != holder)
    if ended:
        uow.after_commit(_followed([scope]))
    return ended


def expire(uow: UnitOfWork) -> list[Pause]:
    """End the pauses whose time is up, by the database's clock; some hundreds at most. They stopped holding by then."""
    now, over = pause_store.due(uow, limit=AT_ONCE)
    for pause in over:
        _end(uow, pause, at=now, by="clock", why=TIME_IS_UP)
    if over:
        uow.after_commit(_followed(sorted({pause.scope for pause in over})))
    if len(over) == AT_ONCE:
        jobs.submit(uow, KEEP, key="pauses")
    return over


def read(session: Session, scope: str | None = None, *, limit: int | None = None) -> list[Pause]:
    """The pauses that hold now, oldest first; with a scope, its own. Raises Invalid for what is no scope."""
    problems = list(scopes.problems(scope)) if scope is not None else []
    if problems:
        raise Invalid(problems, subject="pause")
    return pause_store.read(session, scopes=None if scope is None else [scope], limit=limit)


def rank_of(name: str) -> int:
    """The rank of a class, by its name. Raises Invalid naming `class`."""
    if name not in CLASSES:
        message = f"must be {', '.join(CLASSES[:-1])} or {CLASSES[-1]}{did_you_mean(name, CLASSES)}"
        raise Invalid([Problem("class", message)], subject="pause")
    return CLASSES.index(name)


def _followed(changed: Sequence[str]) -> Callable[[], None]:
    """Redis, and then the queues of what was freed: a queue that looks earlier finds itself held."""
    return lambda: holds.follow(changed)


def _end(uow: UnitOfWork, pause: Pause, *, at: datetime, by: str, why: str, forced: bool = False) -> None:
    pause_store.end(uow, pause.id, at=at, by=by)
    lasted = max(0.0, (at - pause.since).total_seconds())
    facts = {"why": why, "lasted_seconds": round(lasted, 3), "forced": forced}
    _tell(uow, LIFTED, pause, by=by, facts=facts)


def _tell(uow: UnitOfWork, kind: str, pause: Pause, *, by: str, facts: Mapping[str, Any] | None = None) -> None:
    """`set_by` is who set what the facts are about, `by` who made the change."""
    said = {
        "class": CLASSES[pause.least],
        "effect": pause.effect,
        "reason": pause.reason,
        "since": pause.since,
        "until": pause.until,
        "set_by": pause.set_by,
        "by": by,
    }
    labels = {"scope": pause.scope, "holder": pause.holder}
    signals.record(uow, kind, pause.scope, labels=labels, facts=said | dict(facts or {}))
    log.info("pause", kind=kind, scope=pause.scope, holder=pause.holder, by=by, reason=pause.reason)


def _cannot(scope: str, held: Sequence[Pause]) -> NotFound | Conflict:
    if not held:
        return NotFound(f"{scope} is not paused")
    others = ", ".join(dict.fromkeys(pause.holder for pause in held))
    return Conflict(f"{scope} is paused by {others} ({held[0].reason}): it ends by itself, or by force")


def _problems(by: str, reason: str, until: datetime | None, now: datetime) -> Iterator[Problem]:
    yield from _by(by)
    if not 0 < len(reason) <= LONGEST_TEXT:
        yield Problem("reason", f"must have 1 to {LONGEST_TEXT} characters")
    if until is not None and not now < until <= now + LONGEST:
        yield Problem("until", f"must lie in the next {LONGEST.days} days")


def _by(by: str) -> Iterator[Problem]:
    if not 0 < len(by) <= LONGEST_TEXT or by == PERSON:
        yield Problem("by", f"must be who does this, in 1 to {LONGEST_TEXT} characters")


def _kind(least: int, effect: str, holder: str) -> Iterator[Problem]:
    if least not in range(len(CLASSES)):
        yield Problem("class", f"must be a rank from 0 to {len(CLASSES) - 1}")
    if effect not in EFFECTS and (effect != HINT or holder.startswith(PERSON)):
        yield Problem("effect", f"must be {', '.join(EFFECTS[:-1])} or {EFFECTS[-1]}")
    if len(holder) > LONGEST_TEXT:
        yield Problem("holder", f"must have 1 to {LONGEST_TEXT} characters")
