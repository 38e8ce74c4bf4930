"""The scripts on a real server do what the readable limiter does, whatever happens in whatever order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from app.catalog import RateLimit
from app.infra import redis
from app.limits import core, correcting, deciding, keys, settling
from app.limits.asking import read
from app.limits.plans import Plan, crossings
from app.limits.windows import bucket_of
from tests.limits import oracle
from tests.limits.clocked import begin, clocked, set_clock

START = 1_800_000_000_000
ACCOUNTS = ("account:instagram/a", 'account:instagram/"b\\\n')
TENANT = "tenant:t"


def _limit(name: str, capacity: float, window: str, period: int, currency: str = "calls") -> RateLimit:
    return RateLimit(name=name, capacity=capacity, window=window, period=period, currency=currency)  # type: ignore[arg-type]


LIMITS = {
    limit.name: limit
    for limit in (
        _limit("minute", 6, "calendar", 60),
        _limit("rolling", 8, "rolling", 60),
        _limit("day", 10, "calendar", 600),
        _limit("spend", 0.00002, "calendar", 300, "usd"),
        _limit("spend_rolling", 0.00003, "rolling", 120, "usd"),
    )
}
OPERATIONS: dict[str, tuple[int, dict[str, int | None]]] = {
    "reply": (1, {"minute": 1, "rolling": 1}),
    "publish": (1, {"minute": 2, "rolling": 2, "day": 1}),
    "write": (2, {"rolling": 1, "spend": None, "spend_rolling": None}),
    "look": (3, {"minute": 1, "rolling": 1}),
    "free": (0, {}),
}
LANES = ("minute", "rolling", "day", "reply", "publish")
FIELDS = ("all", "operation:reply", "operation:publish", "platform:instagram", *ACCOUNTS, TENANT)


def _rule(limit: RateLimit) -> oracle.Rule:
    levels = tuple(crossings(limit.units, limit.warn_at))
    if limit.window == "rolling":
        return oracle.Rule(limit.name, *bucket_of(limit), limit.units, levels)
    return oracle.Rule(limit.name, round(limit.seconds * 1000), 0, limit.units, levels)


RULES = {name: _rule(limit) for name, limit in LIMITS.items()}


def _plan(operation: str) -> Plan:
    rank, consumes = OPERATIONS[operation]
    uses = [
        core.Use(LIMITS[name], int(name.startswith("spend")), cost, LIMITS[name].ceiling(rank))
        for name, cost in consumes.items()
    ]
    fields = ("all", f"operation:{operation}", "platform:instagram")
    return Plan(operation, rank, uses, fields, needs_token=operation == "publish")


PLANS = {operation: _plan(operation) for operation in OPERATIONS}


def _subjects(operation: str, account: str) -> tuple[str, ...]:
    return (account, TENANT) if operation == "write" else (account,)


def _uses(operation: str, account: str) -> tuple[oracle.Use, ...]:
    subjects = _subjects(operation, account)
    return tuple(
        oracle.Use(subjects[use.place], RULES[use.limit.name], use.ceiling, use.cost) for use in PLANS[operation].uses
    )


class Both(RuleBasedStateMachine):
    """Each step is done on the server and in the oracle; then both must say the same of every counter."""

    decide_script, settle_script, correct_script, mark_script, waiting_script = map(
        clocked, ("decide", "settle", "correct", "mark", "waiting")
    )

    @initialize()
    def start(self) -> None:
        begin()
        self.now = START
        set_clock(self.now)
        self.oracle = oracle.Limiter()
        self.made: dict[str, tuple[str, str]] = {}

    @rule(milliseconds=st.one_of(st.integers(0, 3000), st.sampled_from((20_000, 60_000, 61_999, 300_000, 700_000))))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds
        set_clock(self.now)

    @rule(
        number=st.integers(0, 40),
        operation=st.sampled_from(tuple(OPERATIONS)),
        account=st.sampled_from(ACCOUNTS),
        how=st.sampled_from(("now", "now", "now", "defer", "release", "peek")),
        more=st.tuples(st.integers(0, 9), st.sampled_from((0, 30)), st.sampled_from(("", "one", "two"))),
    )
    def decide(self, number: int, operation: str, account: str, how: str, more: tuple[int, int, str]) -> None:
        id_, (estimate, lease, pass_) = f"{account} {number}", more
        subjects, plan = _subjects(operation, account), PLANS[operation]
        pass_ *= how == "release"
        fields = (*plan.fields, TENANT)
        ask = core.Ask(plan, id_, subjects, TENANT, core.Counting(how), estimate, lease, pass_)
        question = oracle.Question(
            id=id_,
            operation=operation,
            rank=plan.rank,
            uses=_uses(operation, account),
            subjects=subjects,
            fields=fields,
            needs_token=plan.needs_token,
            how=how,
            estimate=estimate,
            lease=lease * 1000,
            pass_=pass_,
        )
        self.oracle, said = self.oracle.decide(question, self.now)
        answer = read(self.decide_script.call(*deciding.call_of(ask, self.now / 1000)))
        assert _as_said(deciding.decision_of(ask, answer)) == said
        self.made.setdefault(id_, (operation, account))
        self._compare()

    @precondition(lambda self: self.made)
    @rule(data=st.data(), actual=st.integers(0, 25), twice=st.booleans(), by_plan=st.booleans())
    def settle(self, data: Any, actual: int, twice: bool, by_plan: bool) -> None:
        id_ = self._one(data)
        operation, account = self.made[id_]
        uses, plan = (_uses(operation, account), PLANS[operation]) if by_plan else (None, None)
        for _ in range(1 + twice):
            self.oracle, done = self.oracle.settle(id_, actual, self.now, uses)
            assert self._end("settle", id_, actual=actual, plan=plan) is done
        self._compare()

    @precondition(lambda self: self.made)
    @rule(data=st.data(), mode=st.sampled_from(("refund", "lapse")))
    def give_back(self, data: Any, mode: str) -> None:
        id_ = self._one(data)
        ended = self.oracle.give_back if mode == "refund" else self.oracle.lapse
        self.oracle, done = ended(id_, self.now)
        assert self._end(mode, id_) is done
        self._compare()

    @rule(
        account=st.sampled_from(ACCOUNTS),
        name=st.sampled_from(("minute", "rolling", "day")),
        least=st.integers(0, 15),
        capacity=st.one_of(st.none(), st.integers(1, 12)),
    )
    def correct(self, account: str, name: str, least: int, capacity: int | None) -> None:
        self.oracle, raised = self.oracle.correct(account, RULES[name], least, capacity, self.now)
        told = self._told(account, name, (least, capacity or 0, 0))
        assert told == ([name] if raised else [])
        self._compare()

    @rule(account=st.sampled_from(ACCOUNTS), name=st.sampled_from(("minute", "day")), after=st.integers(-1000, 90_000))
    def block(self, account: str, name: str, after: int) -> None:
        until = self.now + after
        if after > 0:
            self.oracle = self.oracle.block(account, RULES[name], until)
        self._told(account, name, (0, 0, until))
        self._compare()

    @rule(
        account=st.sampled_from(ACCOUNTS),
        lanes=st.dictionaries(st.sampled_from(LANES), st.integers(0, 3), max_size=2),
        whole=st.booleans(),
    )
    def mark(self, account: str, lanes: dict[str, int], whole: bool) -> None:
        self.oracle = self.oracle.mark(account, lanes, whole=whole)
        arguments = [json.dumps(lanes), "whole" if whole else "more"]
        assert read(self.mark_script.call([keys.STATE + account], arguments)) == {"v": "done"}

    @rule(number=st.integers(0, 40), account=st.sampled_from(ACCOUNTS), operation=st.sampled_from(("reply", "publish")))
    def note_waiting(self, number: int, account: str, operation: str) -> None:
        id_ = f"{account} {number}"
        self.oracle = self.oracle.note_waiting(id_, operation)
        self.waiting_script.call([keys.RECORD + id_], [600_000, operation])
        self.made.setdefault(id_, (operation, account))

    @rule(
        name=st.sampled_from(FIELDS),
        least=st.integers(0, 3),
        after=st.sampled_from((0, 5000)),
        effect=st.sampled_from(("wait", "deny", "token", "hint", "gone", "gone")),
    )
    def hold(self, name: str, least: int, after: int, effect: str) -> None:
        until = self.now + after if after else 0
        lines = () if effect == "gone" else ((least, until, effect),)
        self.oracle = oracle.replace(self.oracle, holds={**self.oracle.holds, name: lines})
        text = "\n".join(f"{least} {until} {effect} {name}" for least, until, effect in lines)
        redis.client().hset(keys.HOLDS, name, text)

    def _one(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(sorted(self.made))))

    def _end(self, mode: str, id_: str, *, actual: int = 0, plan: Plan | None = None) -> bool:
        one = settling.Spending(id_, _subjects(*self.made[id_]), actual, plan)
        answer = read(self.settle_script.call(*settling.call_of(mode, one, self.now / 1000)))
        return bool(answer["v"] == "done")

    def _told(self, account: str, name: str, said: tuple[int, int, int]) -> list[str]:
        call = correcting.call_of(account, [(LIMITS[name], said)], self.now / 1000)
        return list(read(self.correct_script.call(*call))["l"] or ())

    def _compare(self) -> None:
        """Every counter as it is now, and what was told of crossings."""
        client = redis.client()
        told = [json.loads(text) for text in client.lrange(keys.CROSSINGS, 0, -1)]
        assert [(one["subject"], one["limit"], one["level"], one["used"]) for one in told] == list(self.oracle.events)
        for subject in (*ACCOUNTS, TENANT):
            text = client.get(keys.STATE + subject)
            counters = json.loads(text)["l"] if text else {}
            for name, limit in RULES.items():
                expected = self.oracle.counter(subject, limit)
                assert _seen(limit, counters.get(name, {}), self.now) == _expected(limit, expected, self.now)


def _as_said(decision: core.Decision) -> oracle.Said:
    if decision.verdict is core.Verdict.AGAIN:
        return oracle.Said("again")
    used = tuple(reading.used for reading in decision.readings)
    rooms = tuple(told[1] for told in decision.told) if decision.verdict is core.Verdict.WAIT else ()
    return oracle.Said(str(decision.verdict), used, rooms, decision.behind, len(decision.holds))


def _seen(limit: oracle.Rule, counter: dict[str, Any], now: int) -> tuple[int, ...]:
    """Used, most used, refused, deferred and told, as the server's state has them."""
    if limit.is_rolling:
        buckets = enumerate(counter.get("b", ()), counter.get("f", 0))
        used = sum(amount for slot, amount in buckets if oracle.counts(limit, slot, now))
    elif counter.get("s") != oracle.slot_of(limit, now):
        return (0, 0, 0, 0)
    else:
        used = counter["u"]
    return (used, counter.get("m", 0), counter.get("r", 0), counter.get("d", 0))


def _expected(limit: oracle.Rule, counter: oracle.Counter, now: int) -> tuple[int, ...]:
    window = 0 if limit.is_rolling else oracle.slot_of(limit, now)
    kept = (counter.peaks, counter.refused, counter.deferred)
    return (oracle.used_of(limit, counter, now), *(amounts.get(window, 0) for amounts in kept))


@pytest.fixture
def whole(redis_server: str) -> Iterator[None]:
    """A server whose counters are whole."""
    begin()
    return


@pytest.mark.usefixtures("whole")
def test_the_scripts_do_what_the_readable_limiter_does() -> None:
    run_state_machine_as_test(
        Both,
        settings=settings(
            max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
