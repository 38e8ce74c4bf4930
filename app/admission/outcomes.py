"""What came of operations: the platform's figures correct the counters upward, blocks are kept, money is settled."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app import clock, signals
from app.admission import operations, platforms
from app.admission.outcome_body import AdmissionOutcome, Outcome, parse
from app.admission.platform import LONGEST_BLOCK, Limited, Reading, Sent, Trouble, Usage
from app.catalog import RateLimit
from app.errors import Transient
from app.infra import redis
from app.infra.db import unit_of_work
from app.infra.logging import get_logger
from app.infra.scrub import scrub_text
from app.limits import correcting, keys, settling, snapshots
from app.limits.core import Use
from app.limits.correcting import Correction

LIMITED, ERROR = "admission.rate_limited", "admission.platform_error"
"""The platform wants no calls for a while; it answered with an error that nobody here knows."""
TOKEN_REFUSED = "admission.token_refused"  # noqa: S105 - the kind of a signal
"""It did not accept the account's token: who keeps the token asks it whether that is so."""

TOLD = f"{keys.ROOT}told:"
"""String for each account and code of which people were told; lives as long as nobody is told again."""

TOLD_AGAIN = timedelta(days=1)
REFUSED_AGAIN = timedelta(minutes=5)
JITTER = 0.1
"""Share of a block by which it may last longer, so that not everybody comes back at once."""
PARTS = 12
"""Where the platform does not say how long it wants no calls: this part of the limit's window."""

Jitter = Callable[[], float]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """Limits that stand still until then, because the platform says so."""

    subject: str
    limits: tuple[str, ...]
    until: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with one outcome.

    `settled`, `refunded`: None where it was not asked for, False where it had been done before or nothing is known of
    the id. `notes`: what could not be read, or was not done.
    """

    id: str | None
    operation: str
    account: str
    corrected: tuple[str, ...] = ()
    blocked: tuple[Block, ...] = ()
    error: Trouble | None = None
    settled: bool | None = None
    refunded: bool | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)


def report(outcomes: Iterable[Outcome], *, now: datetime | None = None, jitter: Jitter = random.random) -> list[Done]:
    """Do what follows from each outcome, in order. Raises Transient; doing all of it again does no harm.

    `jitter` gives a number from 0 to 1.
    """
    at = now or clock.now()
    return [_report(outcome, at, jitter) for outcome in outcomes]


def _report(outcome: Outcome, now: datetime, jitter: Jitter) -> Done:
    operation = outcome.known.operation
    reading = platforms.read(operation.platform, outcome.sent, now)
    notes = list(reading.notes)
    if not outcome.refund and outcome.id is not None:
        settling.arrive(outcome.key, outcome.subjects)  # before the figures: they count this call already
    corrected = _correct(outcome, reading.usages)
    blocked = _block(outcome, reading.limited, now, jitter) if reading.limited is not None else ()
    notes += _keep(sorted({block.subject for block in blocked}))
    if outcome.cost is not None and not operations.spends(outcome.known):
        notes.append(f"cost is counted nowhere: {operation.name} spends no money")
    _tell(outcome, reading, blocked)
    return Done(
        id=outcome.id,
        operation=operation.name,
        account=outcome.account,
        corrected=corrected,
        blocked=blocked,
        error=reading.trouble,
        settled=_settle(outcome),
        refunded=settling.give_back(outcome.key, outcome.subjects) if outcome.refund else None,
        notes=tuple(notes),
    )


def _settle(outcome: Outcome) -> bool | None:
    if outcome.cost is None or not operations.spends(outcome.known):
        return None
    return settling.settle(outcome.key, outcome.subjects, outcome.cost, plan=outcome.known.plan)


def _correct(outcome: Outcome, usages: Sequence[Usage]) -> tuple[str, ...]:
    """Raise the counters of the operation's limits that name one of these figures; the names of those that rose."""
    found: dict[str, dict[str, Correction]] = {}
    for use in _uses(outcome):
        for usage in usages:
            if usage.source in use.limit.reported_by:
                of = found.setdefault(outcome.subjects[use.place], {})
                of[use.limit.name] = _largest(correction(use.limit, usage), of.get(use.limit.name))
    return tuple(name for subject, of in found.items() for name in correcting.correct(subject, list(of.values())))


def correction(limit: RateLimit, usage: Usage) -> Correction:
    """What one figure says of a limit: a share is one of our capacity, rounded up."""
    share = math.ceil(round(usage.percent * limit.units / 100, 6))
    return Correction(limit, max(usage.used, share), usage.capacity)


def _largest(one: Correction, other: Correction | None) -> Correction:
    if other is None:
        return one
    told = [each.capacity_at_most for each in (one, other) if each.capacity_at_most is not None]
    return Correction(one.limit, max(one.used_at_least, other.used_at_least), min(told, default=None))


def _block(outcome: Outcome, limited: Limited, now: datetime, jitter: Jitter) -> tuple[Block, ...]:
    """Let the limits of which the platform speaks stand still; each for its own time where it says none."""
    late = 1 + JITTER * min(max(jitter(), 0.0), 1.0)
    found: dict[tuple[str, datetime], list[RateLimit]] = {}
    for use in _spoken_of(_uses(outcome), limited):
        wait = limited.wait or timedelta(seconds=use.limit.seconds / PARTS)
        until = now + min(wait, LONGEST_BLOCK) * late
        found.setdefault((outcome.subjects[use.place], until), []).append(use.limit)
    for (subject, until), limits in found.items():
        correcting.block(subject, limits, until)
    return tuple(
        Block(subject, tuple(limit.name for limit in limits), until) for (subject, until), limits in found.items()
    )


def _spoken_of(uses: Sequence[Use], limited: Limited) -> Sequence[Use]:
    """Those that name one of its figures, else any; else the platform's own, which roll; else its others; else all."""
    choices = (
        [use for use in uses if set(use.limit.reported_by) & set(limited.sources)],
        [use for use in uses if use.limit.reported_by],
        [use for use in uses if use.limit.platform is not None and use.limit.window == "rolling"],
        [use for use in uses if use.limit.platform is not None],
        uses,
    )
    return next((chosen for chosen in choices if chosen), ())


def _uses(outcome: Outcome) -> list[Use]:
    """The operation's limits of calls: no platform's figure speaks of money."""
    return [use for use in outcome.known.plan.uses if use.limit.currency == "calls"]


def _keep(subjects: Sequence[str]) -> list[str]:
    """Let Postgres know at once what the platform ordered: a loss of Redis must not make us forget it. What to note."""
    if not subjects:
        return []
    try:
        snapshots.take_of(subjects)
    except Transient as error:
        log.warning("a block is known to Redis only until the next snapshot", error=str(error))
        return ["the block is not in Postgres yet"]
    return []


def _tell(outcome: Outcome, reading: Reading, blocked: Sequence[Block]) -> None:
    """People are told once of each block, and once a day of an account's error that is unknown; whoever keeps tokens,
    each few minutes of one that is refused."""
    code = "" if outcome.sent.error is None else f"{outcome.sent.error.code}"
    if reading.trouble is Trouble.RATE_LIMITED and blocked:
        until = max(block.until for block in blocked)
        _tell_once(outcome, LIMITED, code, until - clock.now(), {"until": until, "limits": _names(blocked)})
    elif reading.trouble is Trouble.UNKNOWN:
        _tell_once(outcome, ERROR, code, TOLD_AGAIN, {})
    elif reading.trouble is Trouble.TOKEN:
        _tell_once(outcome, TOKEN_REFUSED, code, REFUSED_AGAIN, {"message": ""})


def _names(blocked: Sequence[Block]) -> list[str]:
    return [name for block in blocked for name in block.limits]


def _tell_once(outcome: Outcome, kind: str, code: str, lasting: timedelta, facts: dict[str, object]) -> None:
    key = f"{TOLD}{kind} {code} {outcome.line}"
    with redis.transient_errors():
        first = redis.client().set(key, "1", nx=True, px=max(1, lasting // timedelta(milliseconds=1)))
    if not first:
        return
    try:
        with unit_of_work() as uow:
            said = {"operation": outcome.known.operation.name, "status": outcome.sent.status, **_words(outcome.sent)}
            labels = {"platform": outcome.known.operation.platform or "", "code": code}
            signals.record(uow, kind, f"account:{outcome.line}", labels=labels, facts=said | facts)
    except Transient as error:
        log.warning("nobody was told what the platform answered", kind=kind, error=str(error))
        with redis.transient_errors():
            redis.client().delete(key)


def _words(sent: Sent) -> dict[str, object]:
    if sent.error is None:
        return {}
    return {"code": sent.error.code, "subcode": sent.error.subcode, "message": scrub_text(sent.error.message)}


__all__ = ["AdmissionOutcome", "Block", "Done", "Outcome", "parse", "report"]
