"""Decisions: one call of one script for each, together in one round trip where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.limits import keys
from app.limits.asking import Call, ask_all, read, server_now
from app.limits.core import Ask, Counting, Decision, Hold, Record, Taken, Verdict, moment
from app.limits.wire import Script

_DECIDE = Script("decide")
_FINAL = {str(verdict): verdict for verdict in Verdict}


def decide(ask: Ask) -> Decision:
    """Consume everything the operation needs, or nothing. Raises Transient while the limiter cannot be reached."""
    answer = read(_DECIDE.call(*call_of(ask, server_now())))
    return decision_of(ask, answer) if answer["v"] in _FINAL else decide_many([ask])[0]


def decide_many(asks: Sequence[Ask]) -> list[Decision]:
    """Decide one after another, in one round trip; each is whole by itself. Raises Transient: then none is known."""
    answers = ask_all(
        _DECIDE, len(asks), lambda place, now: call_of(asks[place], now), lambda place: asks[place].subjects
    )
    return [decision_of(ask, answer) for ask, answer in zip(asks, answers, strict=True)]


def peek(ask: Ask) -> Decision:
    """What would be decided, as if the id were new. Nothing changes. Raises Transient."""
    return decide(replace(ask, counting=Counting.PEEK))


def call_of(ask: Ask, at: float) -> Call:
    """Keys and arguments of the script; `at` is in seconds since 1970, by the server's clock."""
    named = [keys.RECORD + ask.key, *(keys.STATE + subject for subject in ask.subjects)]
    arguments: list[str | bytes | int] = [ask.plan.text(at), ask.scope, ask.counting]
    if ask.estimate or ask.lease_seconds or ask.pass_:
        arguments += [ask.estimate, round(ask.lease_seconds * 1000)]
        if ask.pass_:
            arguments.append(ask.pass_)
    return named, arguments


def decision_of(ask: Ask, answer: Any) -> Decision:
    """The script's answer as a value."""
    at = moment(answer["t"])
    verdict = _FINAL[answer["v"]]
    if verdict is Verdict.AGAIN:
        return Decision(verdict, at, ask, before=record_of(answer["a"]))
    return Decision(
        verdict,
        at,
        ask,
        told=answer["l"] or (),
        holds=_holds(answer.get("h")),
        hints=_holds(answer.get("g")),
        behind=answer.get("b") or None,
    )


def _holds(lines: Sequence[str] | None) -> tuple[Hold, ...]:
    """Each line once: a subject of the decision and its scope may be the same field."""
    return tuple(hold_of(line) for line in dict.fromkeys(lines)) if lines else ()


def hold_of(line: str) -> Hold:
    """A line of the hash of holds as a value."""
    least, until, effect, reason = (*line.split(" ", 3), "")[:4]
    return Hold(int(least), None if until == "0" else moment(int(until)), effect, reason)


def record_of(answer: Any) -> Record:
    """What is remembered of an id."""
    flat = answer.get("t") or ()
    taken = [
        Taken(flat[place], flat[place + 1] - 1, flat[place + 2], flat[place + 3]) for place in range(0, len(flat), 4)
    ]
    taken += [Taken(limit, place - 1, window, cost) for limit, place, window, cost, *_ in answer.get("m") or ()]
    at = moment(answer["at"]) if "at" in answer else None
    return Record(answer.get("o", ""), at, tuple(taken), waits="w" in answer, ended=answer.get("z"))
