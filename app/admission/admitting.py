"""The one decision before an operation: limits, pauses, modes, services, token and those who wait, in one round trip.

What is allowed has been consumed when the answer is given; what must wait is a durable row when it is. Asked again with
the same id, the answer is the same and nothing is consumed twice, wherever the first time ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from app import clock
from app.admission import answers, deferring, operations, queues, release_jobs
from app.admission.answers import Answer, Outcome, Reason
from app.admission.requests import Request
from app.errors import Invalid, Transient
from app.infra import metrics
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.jobs import intake
from app.limits import deciding, lanes, settling
from app.limits.core import Ask, Counting, Decision, Verdict

_UNSURE = frozenset(Reason) - {Reason.KNOWN, Reason.ENDED, Reason.TOO_LARGE}
"""Reasons of a denial that say nothing of what became of the id before."""

log = get_logger(__name__)


def admit(requests: Sequence[Request]) -> list[Answer]:
    """Answer every request, in order. Raises Transient when one must wait, or has a job, and Postgres is away.

    Then nothing that was decided without an id of the caller's is left consumed; the rest is found again by its id.
    """
    found = [_at_once(request) for request in requests]
    asked = [place for place, answer in enumerate(found) if answer is None]
    made = zip(asked, _decide([requests[place] for place in asked]), strict=True)
    decisions = {place: decision for place, decision in made if decision is not None}
    try:
        for place in asked:
            found[place] = _answer(requests[place], decisions.get(place))
        given = _by_rows([answer for answer in found if answer is not None])
        settled = _keep(given, decisions)
    except Transient:
        _undo(decisions[place].ask for place in decisions if not requests[place].given_id)
        raise
    for answer in settled:
        metrics.ADMISSIONS.inc(
            operation=answer.request.known.operation.name, decision=answer.outcome, reason=answer.reason
        )
    return settled


def _at_once(request: Request) -> Answer | None:
    """The answer that needs no counter."""
    if request.known.operation.one_at_a_time and request.task is not None:
        return Answer(request, Outcome.WAIT, Reason.ORDER, "one at a time: it starts when those before it are done")
    return answers.too_large(request, ask(request).plan.uses)


def _decide(requests: Sequence[Request]) -> list[Decision | None]:
    """The limiter's answers; None for all while it cannot be reached."""
    if not requests:
        return []
    try:
        return list(deciding.decide_many([ask(request) for request in requests]))
    except Transient as error:
        log.warning("decided without counters", error=str(error))
        return [None] * len(requests)


def ask(request: Request, counting: Counting | None = None) -> Ask:
    """The question to the limiter."""
    return operations.ask(
        request.known,
        account=request.account,
        who=request.who,
        request_id=request.id,
        counting=counting or (Counting.DEFER if request.defers else Counting.NOW),
        estimate=request.estimate,
    )


def _answer(request: Request, decision: Decision | None) -> Answer:
    if decision is None:
        return answers.unreachable(request)
    match decision.verdict:
        case Verdict.ALLOW:
            return answers.allowed(request, decision)
        case Verdict.WAIT:
            return answers.stopped(request, decision)
        case Verdict.AGAIN:
            return _known(request, decision)


def _known(request: Request, decision: Decision) -> Answer:
    """Asked before: what became of it then."""
    record = decision.before
    if record is not None and record.operation != request.known.operation.name:
        return Answer(request, Outcome.DENY, Reason.KNOWN, f"this id was given to {record.operation} before")
    with read_only() as session:
        waiting = deferring.find(session, request.line, request.id)
    if waiting is not None:
        return _of_row(request, waiting)
    if record is not None and not record.waits and record.ended != "refunded":
        return Answer(request, Outcome.ALLOW, Reason.KNOWN, "go on: it was allowed before", replayed=True)
    if record is not None and record.waits:  # its row was never committed
        lanes.forget_waiting(ask(request).key)
        return _answer(request, deciding.decide(ask(request)))
    return Answer(request, Outcome.DENY, Reason.ENDED, "what this id had consumed was given back", replayed=True)


def _by_rows(given: Sequence[Answer]) -> list[Answer]:
    """Who would be told no may wait all the same: the limiter has lost what it knew of the id, or cannot be asked."""
    unsure = [one for one in given if one.outcome is Outcome.DENY and one.request.given_id and one.reason in _UNSURE]
    if not unsure:
        return list(given)
    try:
        with read_only() as session:
            rows = deferring.find_many(session, [(one.request.line, one.request.id) for one in unsure])
    except Transient as error:
        log.warning("denied without a look at what waits", error=str(error))
        return list(given)
    found = {id(one): rows.get((one.request.line, one.request.id)) for one in unsure}
    return [one if (row := found.get(id(one))) is None else _of_row(one.request, row) for one in given]


def _of_row(request: Request, row: deferring.DeferredView) -> Answer:
    if row.operation != request.known.operation.name:
        return Answer(request, Outcome.DENY, Reason.KNOWN, f"this id was given to {row.operation} before")
    return _of_deferred(request, row)


def _of_deferred(request: Request, found: deferring.DeferredView | deferring.Deferred) -> Answer:
    match found.state:
        case "waiting":
            outcome, reason, detail = Outcome.WAIT, Reason.KNOWN, "it waits already"
        case "released":
            outcome, reason, detail = Outcome.ALLOW, Reason.KNOWN, "it waited, and was let go"
        case ended:
            outcome, reason, detail = Outcome.DENY, Reason.ENDED, f"it waited, and was {ended}"
    return Answer(
        request,
        outcome,
        reason,
        detail,
        until=found.until,
        position=found.position,
        deferred_id=found.id,
        job_id=found.job_id,
        replayed=True,
    )


def _keep(given: Sequence[Answer], decisions: Mapping[int, Decision]) -> list[Answer]:
    """Write down what must not be lost: operations that wait, and jobs of those that may go on."""
    kept = list(given)
    jobs = [place for place, answer in enumerate(given) if answer.outcome is Outcome.ALLOW and _has_job(answer)]
    waits = [place for place, answer in enumerate(given) if answer.outcome is Outcome.WAIT and not answer.replayed]
    if not jobs and not waits:
        return kept
    with unit_of_work() as uow:
        wanted = [_wanted(given[place].request) for place in waits]
        deferred = deferring.defer_many(uow, wanted, [decisions.get(place) for place in waits])
        for place, one in zip(waits, deferred, strict=True):
            kept[place] = _waits(given[place], one)
        for place in jobs:
            kept[place] = _goes_on(uow, given[place])
        for line in sorted({given[place].request.line for place in waits if given[place].reason is Reason.ORDER}):
            queues.wake(uow, f"account:{line}")
    return kept


def _waits(answer: Answer, one: deferring.Deferred | Invalid) -> Answer:
    """It waits now, or did before, or its queue is full."""
    if isinstance(one, Invalid):
        reason = Reason.KNOWN if one.problems[0].field == "id" else Reason.FULL
        return replace(answer, outcome=Outcome.DENY, reason=reason, detail=str(one.problems[0]))
    if one.replayed:
        return _of_deferred(answer.request, one)
    return replace(answer, deferred_id=one.id, position=one.position, until=one.until or answer.until)


def _has_job(answer: Answer) -> bool:
    return answer.request.task is not None and answer.deferred_id is None


def _goes_on(uow: UnitOfWork, answer: Answer) -> Answer:
    """With its job; no, where its id had another one: the others of a batch go on."""
    try:
        return replace(answer, job_id=_submit(uow, answer.request))
    except intake.IdempotencyMismatch:
        return Answer(answer.request, Outcome.DENY, Reason.KNOWN, "this id was given with another task before")


def _submit(uow: UnitOfWork, request: Request) -> UUID:
    """The caller's job, once for this id."""
    return release_jobs.submit_once(uow, ask(request).key, intake.parse(request.task), request.task, request.caller)


def _wanted(request: Request) -> deferring.Wanted:
    now = clock.now()
    return deferring.Wanted(
        account=request.line,
        tenant=request.tenant or None,
        who=request.who,
        operation=request.known.operation.name,
        rank=request.known.plan.rank,
        request_id=request.id,
        estimate=request.estimate,
        task=request.task,
        caller=request.caller,
        expires_at=request.expires_at or now + timedelta(seconds=request.known.operation.expires_seconds),
    )


def _undo(asks: Iterable[Ask]) -> None:
    """Give back what was consumed under ids that nobody else knows."""
    for one in asks:
        try:
            settling.give_back(one.key, one.subjects)
        except Transient as error:
            log.warning("not given back; it is free again with its window", error=str(error))
