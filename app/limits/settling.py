"""What was reserved becomes what was spent, or is given back. Recording what a call cost is settling it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.catalog.limiting import LARGEST
from app.config import settings
from app.errors import Invalid, Problem
from app.limits import keys
from app.limits.asking import Call, ask_all
from app.limits.plans import Plan
from app.limits.wire import Script

_SETTLE = Script("settle")
_ARRIVE = Script("arrive")


@dataclass(frozen=True, slots=True)
class Spending:
    """What the work of an id spent, in whole units of the currency.

    `key` and `subjects` are those of the decision. `plan`: by it money is counted, beyond any ceiling, where nothing is
    known of the id: it was spent, whether anybody asked or not. Calls are never counted here.
    """

    key: str
    subjects: Sequence[str]
    actual: int
    plan: Plan | None = None


def settle(key: str, subjects: Sequence[str], actual: int, *, plan: Plan | None = None) -> bool:
    """Money that the id consumed becomes `actual`; calls stay consumed. Happens once: False where it had happened.

    False, too, where nothing is known of the id and no plan is given. What was given back before, by whoever, is
    consumed again: it was spent after all. Raises Transient; Invalid for an amount below 0 or beyond all limits.
    """
    return settle_many([Spending(key, subjects, actual, plan)])[0]


def settle_many(spendings: Sequence[Spending]) -> list[bool]:
    """The same for many, in one round trip. Raises Transient: then do all of it again."""
    problems = [
        Problem(f"[{place}].actual", f"must lie between 0 and {LARGEST}")
        for place, one in enumerate(spendings)
        if not 0 <= one.actual <= LARGEST
    ]
    if problems:
        raise Invalid(problems, subject="spending")
    return _all("settle", spendings)


def give_back(key: str, subjects: Sequence[str]) -> bool:
    """Everything that the id consumed is free again, calls as well: nothing was done under it.

    False where nothing is known of the id, or it was settled or given back before. Raises Transient.
    """
    return _all("refund", [Spending(key, subjects, 0)])[0]


def lapse(key: str, subjects: Sequence[str]) -> bool:
    """The money of a lease that is over is free again; calls stay: nobody said that they were not made.

    By the server's clock: False where the lease still runs, or as `give_back`. Raises Transient.
    """
    return _all("lapse", [Spending(key, subjects, 0)])[0]


def arrive(key: str, subjects: Sequence[str]) -> bool:
    """The call of this id was made by now: rolling windows count it from now on, as the platform does, and not from the
    moment it was allowed. Counts once; False where nothing is known of the id. Raises Transient.
    """
    named = [keys.RECORD + key, *(keys.STATE + subject for subject in subjects)]
    [answer] = ask_all(_ARRIVE, 1, lambda _place, _now: (named, []), lambda _place: subjects)
    return bool(answer["v"] == "done")


def _all(mode: str, spendings: Sequence[Spending]) -> list[bool]:
    answers = ask_all(
        _SETTLE,
        len(spendings),
        lambda place, now: call_of(mode, spendings[place], now),
        lambda place: spendings[place].subjects,
    )
    return [answer["v"] == "done" for answer in answers]


def call_of(mode: str, one: Spending, now: float) -> Call:
    """Keys and arguments of the script; `now` is in seconds since 1970, by the server's clock."""
    named = [keys.RECORD + one.key, *(keys.STATE + subject for subject in one.subjects)]
    arguments: list[str | bytes | int] = [mode, one.actual, round(settings().limits_remember_seconds * 1000)]
    if one.plan is not None:
        arguments.append(one.plan.text(now))
    return named, arguments
