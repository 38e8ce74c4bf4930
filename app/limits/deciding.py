"""Decisions: one call of one script, and what to do when Redis has lost its memory or the clocks disagree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from app import clock
from app.errors import Transient
from app.limits import keys, rebuild
from app.limits.core import Ask, Decision, Hold, Record, Taken, Verdict, moment
from app.limits.wire import Script

_DECIDE = Script("decide")
_TRIES = 5
"""Of one decision: after a loss of Redis counters come back first, and two calls may see two losses."""


def decide(ask: Ask) -> Decision:
    """Consume everything the operation needs, or nothing. Raises Transient while the limiter cannot be reached."""
    return decide_many([ask])[0]


def decide_many(asks: Sequence[Ask]) -> list[Decision]:
    """Decide one after another, in one round trip; each is whole by itself. Raises Transient: then none is known."""
    found: dict[int, Decision] = {}
    left = list(range(len(asks)))
    at = clock.now().timestamp()
    for _ in range(_TRIES):
        answers = _DECIDE.call_many([_call(asks[place], at) for place in left])
        again: list[int] = []
        missing: list[str] = []
        for place, raw in zip(left, answers, strict=True):
            answer = json.loads(raw)
            match answer["v"]:
                case "lost":
                    again.append(place)
                case "unknown":
                    again.append(place)
                    missing += asks[place].subjects
                case "clock":
                    again.append(place)
                    at = answer["t"] / 1000
                case _:
                    found[place] = decision_of(asks[place], answer)
        if not again:
            return [found[place] for place in range(len(asks))]
        _mend(any(json.loads(raw)["v"] == "lost" for raw in answers), missing)
        left = again
    raise Transient("the counters are not whole yet")


def _mend(lost: bool, missing: Sequence[str]) -> None:
    if lost:
        rebuild.begin()
    if missing:
        rebuild.restore(missing)


def _call(ask: Ask, at: float) -> tuple[list[str], list[str | bytes | int]]:
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
    verdict = Verdict(answer["v"])
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
    return tuple(hold_of(line) for line in lines or ())


def hold_of(line: str) -> Hold:
    """A line of the hash of holds as a value."""
    least, until, effect, reason = (*line.split(" ", 3), "")[:4]
    return Hold(int(least), None if until == "0" else moment(int(until)), effect, reason)


def record_of(answer: Any) -> Record:
    """What is remembered of an id."""
    flat = answer.get("t") or []
    taken = tuple(
        Taken(flat[place], flat[place + 1] - 1, flat[place + 2], flat[place + 3]) for place in range(0, len(flat), 4)
    )
    at = moment(answer["at"]) if "at" in answer else None
    return Record(answer.get("o", ""), at, taken, waits="w" in answer, ended=answer.get("z"))
