"""A month as a house with some clients has it, call by call, and what it adds up to, in plain Python.

Four skills call three models for four clients in four time zones, one of which changes its clocks within the month, and
one of which is half an hour off everybody else. People work by day and less at weekends; no two days are alike. Some
calls are sent twice, some late; and one agent runs away at a known hour. The same seed makes the same month.

    month = Month(calls_per_day=5000)
    for batch in month.batches(500):          # in the order of arrival, as POST /api/v1/costs/calls takes them
        client.post("/api/v1/costs/calls", json={"calls": batch})
    totals = add_up(month.arrivals())         # what must have been counted in the end
    totals.by["tenant"]["acme"].cost_micro_usd, totals.days[("acme", date(2026, 3, 8))].calls

Nothing here uses the product: it is the other side of the comparison.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Model:
    """Rates are millionths of a dollar for a million tokens: plain input, read from a cache, output."""

    provider: str
    name: str
    input: int
    cached: int
    output: int

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """Millionths of a dollar, rounded half to even, once a call."""
        units = (input_tokens - cached_tokens) * self.input + cached_tokens * self.cached + output_tokens * self.output
        whole, rest = divmod(units, 1_000_000)
        return whole + (rest > 500_000 or (rest == 500_000 and whole % 2 == 1))


KIMI = Model("moonshotai", "kimi-k2.5", 600_000, 100_000, 3_000_000)
OPUS = Model("anthropic", "claude-opus-4-6", 5_000_000, 500_000, 25_000_000)
GPT = Model("openai", "gpt-5", 1_250_000, 125_000, 10_000_000)


@dataclass(frozen=True, slots=True)
class Skill:
    """How a skill works: its share of all calls, of which models, with how many tokens in the middle, and when.

    `peak`: the hour on the client's clock around which most is done. `weekend`: a weekend day beside a working day.
    """

    name: str
    share: float
    models: tuple[tuple[Model, float], ...]
    input_tokens: int
    output_tokens: int
    cached_share: float
    peak: float
    weekend: float
    department: str

    def pace(self, local: datetime) -> float:
        """How much is done in an hour, beside the middle of a working day's hours."""
        distance = min(abs(local.hour + 0.5 - self.peak), 24 - abs(local.hour + 0.5 - self.peak))
        by_day = 0.15 + 2.4 * math.exp(-((distance / 4.5) ** 2))
        return by_day * (self.weekend if local.weekday() >= 5 else 1.0)


SKILLS = (
    Skill("content", 0.4, ((KIMI, 0.6), (OPUS, 0.25), (GPT, 0.15)), 3000, 900, 0.3, 11, 0.35, "marketing"),
    Skill("engage", 0.35, ((KIMI, 0.8), (GPT, 0.2)), 900, 150, 0.5, 19, 1.2, "support"),
    Skill("intel", 0.15, ((GPT, 0.6), (OPUS, 0.4)), 9000, 500, 0.1, 6, 0.8, "sales"),
    Skill("comms", 0.1, ((KIMI, 0.5), (OPUS, 0.5)), 1800, 400, 0.2, 14, 0.15, "engineering"),
)


@dataclass(frozen=True, slots=True)
class Client:
    """A tenant: where it lives, and its share of all calls."""

    name: str
    zone: str
    share: float


CLIENTS = (
    Client("acme", "America/New_York", 0.4),  # clocks go forward on 8 March 2026
    Client("bolt", "UTC", 0.25),
    Client("chai", "Asia/Kolkata", 0.2),  # +05:30: its midnight is amid an hour of UTC
    Client("dune", "Australia/Sydney", 0.15),  # clocks go back on 5 April 2026
)


@dataclass(frozen=True, slots=True)
class Runaway:
    """An agent that calls again and again: so many calls an hour beside what its client's skill does with the model."""

    tenant: str = "acme"
    skill: str = "comms"
    model: Model = OPUS
    start: datetime = datetime(2026, 3, 25, 16, 10, tzinfo=UTC)
    length: timedelta = timedelta(hours=2)
    calls_per_hour: int = 300

    @property
    def hour(self) -> datetime:
        """The full hour in which it begins."""
        return self.start.replace(minute=0, second=0, microsecond=0)


class Call(NamedTuple):
    """One call, as its producer knows it. `at` is the id's time, to the millisecond."""

    id: UUID
    at: datetime
    tenant: str
    skill: str
    agent: str
    user: str
    department: str
    interaction: str
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_micro_usd: int
    latency_ms: int
    outcome: str
    prompt_hash: str

    def body(self, *, with_cost: bool = True) -> dict[str, Any]:
        """As it is posted. Without its cost, the price table has to know."""
        given = {name: value for name, value in self._asdict().items() if name not in ("id", "at", "cost_micro_usd")}
        cost = {"cost": self.cost_micro_usd / 1_000_000} if with_cost else {}
        return {"id": str(self.id), **given, **cost}


class Arrival(NamedTuple):
    """A call as it comes in: at once or late, and perhaps not for the first time."""

    arrives_at: datetime
    call: Call


@dataclass(frozen=True, slots=True)
class Month:
    """`days` days (UTC) from `first` on, of about so many calls each; `runaway` None: nothing runs away.

    `twice` and `late`: the share of calls that are sent a second time, and of those that come hours or days late.
    """

    first: date = date(2026, 3, 1)
    days: int = 31
    calls_per_day: int = 2000
    seed: int = 7
    clients: tuple[Client, ...] = CLIENTS
    runaway: Runaway | None = field(default_factory=Runaway)
    twice: float = 0.02
    late: float = 0.01

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + timedelta(days=self.days)

    def calls(self) -> Iterator[Call]:
        """Each call once, in the order in which they were made."""
        for place in range(self.days * 24):
            hour = self.start + place * HOUR
            made: list[Call] = []
            for client in self.clients:
                for skill in SKILLS:
                    made += self._of_hour(hour, client, skill)
            yield from sorted([*made, *self._runaway(hour)])

    def arrivals(self) -> Iterator[Arrival]:
        """All that is sent, in the order in which it arrives; what is late may come after the month's end."""
        rng = Random(f"{self.seed} arrivals")
        waiting: list[Arrival] = []
        for call in self.calls():
            while waiting and waiting[0].arrives_at <= call.at:
                yield heapq.heappop(waiting)
            is_late, is_sent_twice = rng.random() < self.late, rng.random() < self.twice
            at_once = call.at + timedelta(milliseconds=call.latency_ms)
            heapq.heappush(waiting, Arrival(call.at + _delay(rng) if is_late else at_once, call))
            if is_sent_twice:
                heapq.heappush(waiting, Arrival(call.at + _delay(rng), call))
        while waiting:
            yield heapq.heappop(waiting)

    def batches(self, size: int = 500, *, with_cost: bool = True) -> Iterator[list[dict[str, Any]]]:
        """What is sent, as bodies of calls in batches."""
        sent = self.arrivals()
        while batch := [arrival.call.body(with_cost=with_cost) for arrival in itertools.islice(sent, size)]:
            yield batch

    def _of_hour(self, hour: datetime, client: Client, skill: Skill) -> Iterator[Call]:
        local = hour.astimezone(ZoneInfo(client.zone))
        busy = math.exp(Random(f"{self.seed} {client.name} {local.date()}").gauss(0, 0.08))  # no two days are alike
        rng = Random(f"{self.seed} {hour:%Y%m%d%H} {client.name} {skill.name}")
        usual = self.calls_per_day / 24 * client.share * skill.share * skill.pace(local) * busy
        for model, share in skill.models:
            for _ in range(_chance_count(rng, usual * share)):
                yield _call(rng, hour + timedelta(milliseconds=rng.randrange(3_600_000)), client.name, skill, model)

    def _runaway(self, hour: datetime) -> Iterator[Call]:
        loop = self.runaway
        if loop is None or not hour < loop.start + loop.length or not loop.start < hour + HOUR:
            return
        begin, end = max(hour, loop.start), min(hour + HOUR, loop.start + loop.length)
        count = round(loop.calls_per_hour * ((end - begin) / HOUR))
        rng = Random(f"{self.seed} {hour:%Y%m%d%H} runaway")
        skill = next(skill for skill in SKILLS if skill.name == loop.skill)
        for place in range(count):
            made = _call(rng, begin + place * (end - begin) / count, loop.tenant, skill, loop.model)
            yield made._replace(agent="runaway", interaction="loop", prompt_hash="the same each time")


def _call(rng: Random, at: datetime, tenant: str, skill: Skill, model: Model) -> Call:
    millis = (at - EPOCH) // timedelta(milliseconds=1)
    user = rng.randrange(1, 6)
    input_tokens = max(20, round(skill.input_tokens * rng.lognormvariate(0, 0.5)))
    cached_tokens = round(input_tokens * skill.cached_share * rng.random() * 2) if skill.cached_share < 0.5 else 0
    output_tokens = max(1, round(skill.output_tokens * rng.lognormvariate(0, 0.6)))
    bits = rng.getrandbits(74)
    return Call(
        id=UUID(int=millis << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1),
        at=EPOCH + timedelta(milliseconds=millis),
        tenant=tenant,
        skill=skill.name,
        agent=f"{skill.name}-{1 + user % 2}",
        user=f"{tenant}-{user}",
        department=skill.department,
        interaction=f"{tenant}-{skill.name}-{millis // 900_000}",
        provider=model.provider,
        model=model.name,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        cost_micro_usd=model.cost(input_tokens, cached_tokens, output_tokens),
        latency_ms=round(400 + output_tokens * 12 * (0.5 + rng.random())),
        outcome="ok" if rng.random() < 0.985 else "error",
        prompt_hash=f"{skill.name}-{rng.randrange(40)}" if rng.random() < 0.1 else f"{bits:x}",
    )


def _chance_count(rng: Random, expected: float) -> int:
    """Poisson's; beyond 30 the normal distribution near it."""
    if expected > 30:
        return max(0, round(rng.gauss(expected, math.sqrt(expected))))
    limit, count, left = math.exp(-expected), 0, rng.random()
    while left > limit:
        left *= rng.random()
        count += 1
    return count


def _delay(rng: Random) -> timedelta:
    """From minutes to three days, mostly within hours."""
    return timedelta(seconds=60 + 3 * 86_400 * rng.random() ** 3)


@dataclass(slots=True)
class Sum:
    """What calls add up to. Money is integer millionths of a dollar."""

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    latency_ms: int = 0

    def add(self, call: Call) -> None:
        """One more."""
        self.calls += 1
        self.failed += call.outcome != "ok"
        self.input_tokens += call.input_tokens
        self.cached_tokens += call.cached_tokens
        self.output_tokens += call.output_tokens
        self.cost_micro_usd += call.cost_micro_usd
        self.latency_ms += call.latency_ms


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of all calls, each counted once.

    `by`: dimension (total, tenant, skill, model as PROVIDER/MODEL, provider, agent, user, department) → name → sum;
    `days`: tenant and day on its own clock; `hours`: hour (UTC), tenant, PROVIDER/MODEL, skill.
    """

    by: dict[str, dict[str, Sum]]
    days: dict[tuple[str, date], Sum]
    hours: dict[tuple[datetime, str, str, str], Sum]

    def hourly(self, *, tenant: str | None = None, skill: str | None = None) -> dict[datetime, int]:
        """Millionths of a dollar by hour (UTC), of all or of a tenant's or skill's."""
        found: dict[datetime, int] = defaultdict(int)
        for (hour, of_tenant, _, of_skill), sums in self.hours.items():
            if tenant in (None, of_tenant) and skill in (None, of_skill):
                found[hour] += sums.cost_micro_usd
        return dict(found)


def add_up(arrivals: Iterable[Arrival], clients: Sequence[Client] = CLIENTS) -> Totals:
    """Of all that was sent: a call that came twice counts once, and a late one at its own time."""
    zones = {client.name: ZoneInfo(client.zone) for client in clients}
    by: dict[str, dict[str, Sum]] = defaultdict(lambda: defaultdict(Sum))
    days: dict[tuple[str, date], Sum] = defaultdict(Sum)
    hours: dict[tuple[datetime, str, str, str], Sum] = defaultdict(Sum)
    seen: set[UUID] = set()
    for _, call in arrivals:
        if call.id in seen:
            continue
        seen.add(call.id)
        model = f"{call.provider}/{call.model}"
        for dimension, name in _names(call, model):
            by[dimension][name].add(call)
        days[(call.tenant, call.at.astimezone(zones[call.tenant]).date())].add(call)
        hours[(call.at.replace(minute=0, second=0, microsecond=0), call.tenant, model, call.skill)].add(call)
    return Totals({name: dict(found) for name, found in by.items()}, dict(days), dict(hours))


def _names(call: Call, model: str) -> tuple[tuple[str, str], ...]:
    return (
        ("total", ""),
        ("tenant", call.tenant),
        ("skill", call.skill),
        ("model", model),
        ("provider", call.provider),
        ("agent", call.agent),
        ("user", call.user),
        ("department", call.department),
    )
