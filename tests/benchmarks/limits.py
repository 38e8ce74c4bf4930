"""One decision over four limits and holds, beside a bare INCR and another package's one limit; a million accounts."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import limits as package
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from app.catalog import RateLimit
from app.config import settings
from app.infra import redis
from app.limits import deciding, keys, wire
from app.limits.core import Ask, Use, Verdict
from app.limits.plans import Plan
from tests.benchmarks.eviction import server
from tests.benchmarks.support import Figure, machine, percentile, show

ROUNDS, CALLS, CLIENTS = 9, 2500, 4
ACCOUNTS, BATCH = 1_000_000, 2000
MAXMEMORY_MB = 4096
LEAST_OF_ONE, LEAST_OF_FOUR, MOST_P99 = 0.55, 0.40, 3.0

Work = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Round:
    """What the clients of one round did together: calls a second, and the p99 of a call in milliseconds."""

    rate: float
    p99: float


def run(arguments: Sequence[str]) -> None:
    """Calls of each kind in alternating rounds, with one client process and with four; then the same at a million.

    An argument: so many accounts instead.
    """
    print(machine())
    accounts = int(arguments[0]) if arguments else ACCOUNTS
    with server(MAXMEMORY_MB) as url, environment(url):
        figures = speed(url)
        few = cost(100)
        figures += [*growth(accounts), compare(few, cost(accounts))]
    show(figures)


@contextmanager
def environment(url: str) -> Iterator[None]:
    """This process and those it starts use that server, on which nothing was lost."""
    os.environ["REDIS_URL"] = url
    settings.cache_clear()
    redis.client.cache_clear()
    redis.client().set(keys.EPOCH, "whole:1")
    redis.client().hset(keys.HOLDS, "operation:elsewhere", "0 0 wait someone else's")
    try:
        yield
    finally:
        del os.environ["REDIS_URL"]
        settings.cache_clear()
        redis.client.cache_clear()


def speed(url: str) -> list[Figure]:
    """Medians of rounds that take turns."""
    found: list[Figure] = []
    for clients, least in ((1, LEAST_OF_ONE), (CLIENTS, LEAST_OF_FOUR)):
        rounds: dict[str, list[Round]] = {name: [] for name in WORKS}
        with crowd(clients, url) as go:
            for _ in range(ROUNDS):
                for name in WORKS:
                    rounds[name].append(go(name))
        rate = {name: statistics.median(one.rate for one in made) for name, made in rounds.items()}
        p99 = {name: statistics.median(one.p99 for one in made) for name, made in rounds.items()}
        who = f"{clients} client{'s' * (clients > 1)}"
        found += [
            Figure(f"decisions over four limits, {who}; INCR", rate["decide"], "/s", rate["incr"], least, True, True),
            Figure(f"their p99, {who}; INCR", p99["decide"], "ms", p99["incr"], MOST_P99, True),
            Figure(f"the same; one limit of `limits`, {who}", rate["decide"], "/s", rate["package"], 1, True, True),
            Figure(f"decisions over one limit; the same, {who}", rate["one"], "/s", rate["package"], 1, True, True),
        ]
    return found


def four_limits() -> Plan:
    """What instagram-publish uses, with room for a benchmark."""
    made = [
        RateLimit(name=f"instagram_{name}{suffix}", capacity=10**9, window=window, period=period)  # type: ignore[arg-type]
        for name, period in (("api", "hour"), ("publish", "day"))
        for suffix, window in (("", "calendar"), ("_rolling", "rolling"))
    ]
    uses = [Use(limit, 0, 1 + (limit.period == "hour"), limit.units) for limit in made]
    fields = ("all", "operation:instagram-publish", "platform:instagram")
    return Plan("instagram-publish", 1, uses, fields, needs_token=True)


def question(plan: Plan, number: int, client: int = 0, *, accounts: int = 100) -> Ask:
    """One of an account's, under an id of its own."""
    account = number % accounts
    key = f"instagram/{account} {client}-{number}-{time.time_ns()}"
    return Ask(plan, key, (f"account:instagram/account-{account}",), scope="tenant:acme")


def incr(client: int, url: str) -> Work:
    """A bare command through the client that everybody uses."""
    connection = redis.connect(url)
    return lambda number: connection.incr(f"bench:{number % 100}")


def decide(client: int, url: str) -> Work:
    """All of it: the question, the call, the answer as a value."""
    plan = four_limits()

    def work(number: int) -> None:
        if deciding.decide(question(plan, number, client)).verdict is not Verdict.ALLOW:
            raise RuntimeError("refused where there is room")

    return work


def decide_one(client: int, url: str) -> Work:
    """The same about one rolling limit."""
    whole = four_limits()
    plan = Plan(whole.operation, whole.rank, whole.uses[1:2], whole.fields)
    return lambda number: deciding.decide(question(plan, number, client))


def other(client: int, url: str) -> Work:
    """One moving window of the `limits` package."""
    limiter = MovingWindowRateLimiter(RedisStorage(url))
    item = package.parse("1000000000/hour")
    return lambda number: limiter.hit(item, f"account-{number % 100}")


WORKS: dict[str, Callable[[int, str], Work]] = {"incr": incr, "decide": decide, "one": decide_one, "package": other}


@contextmanager
def crowd(clients: int, url: str) -> Iterator[Callable[[str], Round]]:
    """So many processes; yields what has them all do the same kind of call at the same time."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(clients + 1)
    orders = [context.Pipe() for _ in range(clients)]
    processes = [
        context.Process(target=_client, args=(number, url, start, end), daemon=True)
        for number, (_, end) in enumerate(orders)
    ]
    for process in processes:
        process.start()

    def go(name: str) -> Round:
        for mine, _ in orders:
            mine.send(name)
        start.wait()
        told: list[tuple[float, list[float]]] = [mine.recv() for mine, _ in orders]
        waits = [wait for _, one in told for wait in one]
        return Round(len(waits) / max(seconds for seconds, _ in told), percentile(waits, 99))

    try:
        yield go
    finally:
        for mine, _ in orders:
            mine.send("")
        for process in processes:
            process.join()


def _client(number: int, url: str, start: Barrier, end: Any) -> None:
    works = {name: make(number, url) for name, make in WORKS.items()}
    for work in works.values():
        for call in range(100):
            work(call)
    while name := end.recv():
        start.wait()
        work, waits, began = works[name], [], time.perf_counter()
        for call in range(CALLS):
            asked = time.perf_counter()
            work(call)
            waits.append((time.perf_counter() - asked) * 1000)
        end.send((time.perf_counter() - began, waits))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a decision costs the server, in microseconds, and the commands it runs, with their calls a decision."""

    micros: float
    commands: dict[str, float]
    accounts: int


def cost(accounts: int) -> Cost:
    """Of decisions about accounts all over the place, by the server's own statistics."""
    client, plan = redis.client(), three_limits()
    medians = []
    for _ in range(5):
        client.config_resetstat()
        for number in range(1000):
            deciding.decide(question(plan, number * 7919, accounts=accounts))
        medians.append(float(client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]))
    told = client.info("commandstats")
    commands = {name.removeprefix("cmdstat_"): told[name]["calls"] / 1000 for name in told}
    for name in ("config|resetstat", "info"):
        commands.pop(name, None)
    return Cost(statistics.median(medians), commands, accounts)


def three_limits() -> Plan:
    """Two calendar limits and a rolling one."""
    plan = four_limits()
    return Plan(plan.operation, plan.rank, plan.uses[:3], plan.fields, needs_token=True)


def growth(accounts: int) -> list[Figure]:
    """A real decision for each account, in pipelines; then their ids are forgotten, as they are in time."""
    client, plan = redis.client(), three_limits()
    before = memory()
    for first in range(0, accounts, BATCH):
        asks = [question(plan, number, accounts=accounts) for number in range(first, first + BATCH)]
        deciding.decide_many(asks)
        client.unlink(*(keys.RECORD + ask.key for ask in asks))
        if first % (BATCH * 20) == 0:
            client.delete(keys.CHANGED)  # a snapshot empties it every five seconds
    client.delete(keys.CHANGED)
    wire.close()
    return [
        Figure("accounts with three limits", accounts, ""),
        Figure("memory of an account, key and all", (memory() - before) / accounts, "bytes"),
        Figure("its state as it is stored", _stored(client, accounts), "bytes"),
    ]


def _stored(client: Any, accounts: int) -> int:
    text = client.get(f"{keys.STATE}account:instagram/account-{accounts // 2}")
    if len(json.loads(text)["l"]) != 3:
        raise RuntimeError("that is no account with three limits")
    return len(text)


def memory() -> int:
    """Bytes that the server uses for data."""
    return int(redis.client().info("memory")["used_memory"])


def compare(few: Cost, many: Cost) -> Figure:
    """The same commands as often, and about as long."""
    if few.commands != many.commands:
        raise RuntimeError(f"other commands at a million accounts: {many.commands} instead of {few.commands}")
    print("commands of a decision: " + ", ".join(f"{name} {calls:g}" for name, calls in sorted(many.commands.items())))
    return Figure(
        f"server's time of a decision, {many.accounts:,} accounts; {few.accounts}",
        many.micros,
        "us",
        few.micros,
        1.5,
        limit_of_ratio=True,
    )
