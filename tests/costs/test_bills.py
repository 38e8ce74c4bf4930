"""Days as they were captured are compared with what local providers bill, kept, and told once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.alerts import rules
from app.alerts.rules import End, Raise
from app.catalog import load
from app.config import resource
from app.costs import bill_store, bills
from app.costs.bill_judging import State
from app.costs.bill_source import Reading
from app.costs.bill_store import Bill
from app.errors import Invalid, Misconfigured, NotFound, Transient
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from app.jobs import spec, worker
from app.signals import Signal
from tasks import costs_bills
from tests.costs.billed import BALANCE, DAY, KEY, OPENAI_COSTS, Account, balance, table
from tests.costs.spent import call, spent
from tests.fixtures.answering import Answering, Reply, answering
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
FIRST = date(2026, 11, 12)
"""The first whole day: recording begins at noon of the day before."""
DAYS = [FIRST + place * DAY for place in range(8)]
DECIDED = DAYS[:6]

Use = Callable[..., None]


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def calls(provider: str = "openai", **more: Any) -> list[dict[str, Any]]:
    """Ten a day of one dollar and 110 tokens each."""
    return [
        call(noon(day) + timedelta(minutes=place), provider=provider, cost_micro_usd=1_000_000, **more)
        for day in [FIRST - DAY, *DAYS]
        for place in range(10)
    ]


def account() -> Account:
    """Bills exactly that."""
    return Account(dict.fromkeys(DAYS, 10), dict.fromkeys(DAYS, (1000, 400, 100)))


@pytest.fixture
def provided(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Puts these tables into the catalogue."""

    def put(*tables: str) -> None:
        use(monkeypatch, home, "".join(["[services.x]\nkind = 'disk'\npath = '/'\n", *tables]))

    return put


@pytest.fixture
def openai(provided: Use) -> Iterator[Answering]:
    """OpenAI, that bills what was captured."""
    spent(calls())
    with answering(account().openai()) as server:
        provided(table("openai", server.url))
        yield server


def answers(server: Answering, **changes: Any) -> None:
    known = account()
    for name, values in changes.items():
        getattr(known, name).update(values)
    server.routes.update(known.openai())


def states(found: list[Bill]) -> list[str]:
    return [bill.state.value for bill in found]


def told(ledger: Ledger) -> list[Any]:
    return list(
        ledger.sql("SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE 'costs.bill%' ORDER BY id")
    )


def test_whole_days_are_compared_and_settle_after_two_days(openai: Answering, ledger: Ledger) -> None:
    found = bills.reconcile("openai", NOW)
    assert [bill.day for bill in found] == DAYS
    assert states(found) == ["agrees"] * 6 + ["settling"] * 2
    assert found[0].document() == {
        "provider": "openai",
        "day": "2026-11-12",
        "captured": 10.0,
        "billed": 10.0,
        "percent": 0.0,
        "captured_tokens": {"input": 1000, "cached": 400, "output": 100, "calls": 10, "unpriced": 0},
        "billed_tokens": {"input": 1000, "cached": 400, "output": 100},
        "source": "openai",
        "state": "agrees",
        "why": "",
        "checked_at": "2026-11-20T06:00:00.000Z",
    }
    with read_only() as session:
        assert list(bill_store.kept(session, "openai", FIRST).values()) == found
    assert told(ledger) == []


def test_what_differs_is_told_once_with_its_reason_until_it_agrees_again(openai: Answering, ledger: Ledger) -> None:
    answers(
        openai,
        dollars={DECIDED[4]: 12, DECIDED[5]: 11.2},
        tokens={DECIDED[4]: (1000, 400, 100), DECIDED[5]: (1120, 448, 112)},
    )
    found = bills.reconcile("openai", NOW)
    assert states(found)[3:7] == ["agrees", "differs", "differs", "settling"]
    assert found[4].why.startswith("tokens agree, prices do not: a million cost $9,090.91 here and $10,909.09 there")
    assert found[5].why.startswith("calls are missing: 1,000 of 1,120 input tokens were captured (-10.7 %)")
    bills.reconcile("openai", NOW + timedelta(hours=1))
    [(kind, subject, labels, facts)] = told(ledger)
    assert (kind, subject, labels) == ("costs.bill_differs", "openai", {"provider": "openai"})
    assert facts == {
        "day": "2026-11-17",
        "days": ["2026-11-16", "2026-11-17"],
        "captured": 10.0,
        "billed": 11.2,
        "percent": -10.71,
        "tolerance": 2.0,
        "why": found[5].why,
    }
    bills.reconcile("openai", NOW + DAY)  # now the 18th is decided, and agrees
    assert [row.kind for row in told(ledger)] == ["costs.bill_differs", "costs.bill_agrees"]
    bills.reconcile("openai", NOW + DAY)
    assert len(told(ledger)) == 2


def test_a_bill_that_still_moves_is_not_judged(openai: Answering, ledger: Ledger) -> None:
    answers(openai, dollars={DECIDED[0]: 12})
    assert bills.reconcile("openai", NOW)[0].state is State.DIFFERS
    answers(openai)
    moved = bills.reconcile("openai", NOW + timedelta(hours=2))[0]
    assert (moved.state, moved.why) == (State.SETTLING, "the bill has changed since it was read before")
    assert bills.reconcile("openai", NOW + timedelta(hours=23))[0].state is State.AGREES


def test_calls_that_come_late_make_an_old_day_agree(openai: Answering) -> None:
    late = call(noon(DECIDED[0]), cost_micro_usd=2_000_000)
    answers(openai, dollars={DECIDED[0]: 12}, tokens={DECIDED[0]: (1100, 440, 110)})
    assert bills.reconcile("openai", NOW)[0].state is State.DIFFERS
    spent([late])
    assert bills.reconcile("openai", NOW + 10 * DAY)[0].day == DECIDED[0]  # still looked at, since it differed
    assert bills.reconcile("openai", NOW + 10 * DAY)[0].day > DECIDED[0]


def test_days_before_recording_began_are_not_held_against_it(openai: Answering) -> None:
    found = bills.reconcile("openai", NOW, since=FIRST - 3 * DAY)
    assert states(found)[:4] == ["unknown", "unknown", "unknown", "agrees"]
    assert found[0].why == "calls are recorded only since amid 2026-11-11"


def test_before_the_first_call_nothing_is_compared(provided: Use) -> None:
    provided(table("openai", "http://127.0.0.1:1"))
    assert bills.reconcile("openai", NOW) == []


def test_trouble_leaves_what_is_known(openai: Answering) -> None:
    found = bills.reconcile("openai", NOW)
    openai.routes[OPENAI_COSTS] = Reply(429, headers={"Retry-After": "30"})
    with pytest.raises(Transient, match="answered 429") as raised:
        bills.reconcile("openai", NOW + DAY)
    assert raised.value.retry_after == timedelta(seconds=30)
    with read_only() as session:
        assert bill_store.listed(session, limit=1) == [found[-1]]


def test_another_currency_is_refused_in_words_and_taken_at_a_rate(provided: Use) -> None:
    spent(calls("anthropic"))
    known = account()
    known.currency = "EUR"
    with answering(known.anthropic()) as server:
        provided(table("anthropic", server.url))
        found = bills.reconcile("anthropic", NOW)
        assert (found[0].state, found[0].billed_micro_usd) == (State.UNKNOWN, None)
        assert found[0].why == "is billed in EUR: rates of [providers.anthropic] has none for it"
        provided(table("anthropic", server.url, "rates = {EUR = 1.01}"))
        assert states(bills.reconcile("anthropic", NOW))[:6] == ["agrees"] * 6


def run(job_id: UUID) -> worker.AttemptFailed | None:
    claimed = worker.claim(job_id, worker="it")
    assert claimed is not None
    body = getattr(costs_bills, claimed.task.rpartition(".")[2])
    try:
        worker.run(claimed, spec.get(claimed.task), body)
    except worker.AttemptFailed as failed:
        return failed
    return None


def test_a_refused_key_is_told_once_and_never_shown(
    openai: Answering, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    spent([call(clock.now() - days * DAY) for days in (9, 4)])

    def died() -> bool:
        with unit_of_work() as uow:
            job = bills.submit(uow, "openai")["openai"]
        failed = run(UUID(job))
        assert failed is None or isinstance(failed.__cause__, Misconfigured)
        return failed is not None

    openai.routes[OPENAI_COSTS] = Reply(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    assert [died(), died()] == [True, False]
    with read_only() as session:
        [newest] = bill_store.listed(session, limit=1)
    assert (newest.state, newest.why) == (
        State.UNKNOWN,
        "[providers.openai] /v1/organization/costs: the key is refused (401); bills take a key of their own",
    )
    answers(openai)
    assert not died()
    openai.routes[OPENAI_COSTS] = Reply(403)
    assert died()
    rows = "SELECT row_to_json(t)::text AS text FROM {} t"
    for name in ("jobs", "signals", "cost_bills", "cost_watch"):
        assert not any(KEY in row.text for row in ledger.sql(rows.format(name)))
    assert KEY not in caplog.text


def test_each_morning_every_provider_has_a_job_and_each_hour_every_balance(provided: Use, ledger: Ledger) -> None:
    with answering({BALANCE: balance(5)}) as moonshot:
        provided(table("openai", "http://127.0.0.1:1"), table("moonshot", moonshot.url))
        run(ledger.submit("tasks.costs.reconcile"))
        run(ledger.submit("tasks.costs.read_balances"))
        made = ledger.sql("SELECT id, task, kwargs FROM jobs WHERE state <> 'succeeded' ORDER BY task, kwargs::text")
        assert [(row.task.rpartition(".")[2], row.kwargs["provider"]) for row in made] == [
            ("read_balance", "moonshot"),
            ("reconcile_provider", "moonshot"),
            ("reconcile_provider", "openai"),
        ]
        assert run(made[0].id) is None
    [kept] = ledger.sql("SELECT * FROM cost_balances")
    assert (kept.provider, kept.balance_micro_usd) == ("moonshot", 5_000_000)


@pytest.fixture
def moonshot(provided: Use) -> Iterator[Answering]:
    """Moonshot, whose balance was read at ten minutes past each hour and fell by what was captured."""
    captured = spent(calls("moonshotai", model="kimi-k2.5"))
    with unit_of_work() as uow:
        at = noon(FIRST - DAY) + timedelta(minutes=10)
        while at < NOW:
            left = 200_000_000 - sum(one["cost_micro_usd"] for one in captured if one["at"] < at)
            bill_store.keep_balance(uow, "moonshot", Reading(at, left))
            at += timedelta(hours=1)
    with answering({BALANCE: balance(110)}) as server:
        provided(table("moonshot", server.url))
        yield server


def test_a_balance_is_compared_with_what_was_captured_in_exactly_its_time(moonshot: Answering) -> None:
    early = call(noon(DAYS[2]) - timedelta(hours=11, minutes=55), provider="Moonshot", cost_micro_usd=3_000_000)
    spent([early])  # five minutes after midnight: before the reading, so of the day before
    found = bills.reconcile("moonshot", NOW)
    assert [bill.captured.micro_usd for bill in found][:3] == [10_000_000, 13_000_000, 10_000_000]
    assert states(found) == ["agrees", "differs", *["agrees"] * 6]
    assert found[1].why == (
        "the provider tells no tokens: $13.00 captured, $10.00 billed (+30.0 %);"
        " from 2026-11-13T00:10:00.000Z to 2026-11-14T00:10:00.000Z"
    )


def test_a_bill_from_a_file_counts_instead_of_what_is_read(moonshot: Answering) -> None:
    bills.reconcile("moonshot", NOW)
    amounts = {DAYS[0]: 12_500_000, DAYS[1]: 10_100_000}
    with unit_of_work() as uow:
        made = bills.bring_in(uow, bills.configured("moonshotai"), amounts, NOW)
    assert [(bill.state.value, bill.source) for bill in made] == [("differs", "file"), ("agrees", "file")]
    again = bills.reconcile("moonshot", NOW + DAY)
    assert [(bill.billed_micro_usd, bill.source) for bill in again if bill.day in amounts] == [
        (12_500_000, "file"),
        (10_100_000, "file"),
    ]


def test_an_older_bill_that_agrees_ends_nothing(moonshot: Answering, ledger: Ledger) -> None:
    def bring_in(day: date, micro_usd: int) -> None:
        with unit_of_work() as uow:
            bills.bring_in(uow, bills.configured("Moonshot"), {day: micro_usd}, NOW)

    bring_in(DAYS[3], 12_000_000)
    bring_in(DAYS[2], 10_000_000)
    assert [row.kind for row in told(ledger)] == ["costs.bill_differs"]
    bring_in(DAYS[4], 10_000_000)
    assert [row.kind for row in told(ledger)] == ["costs.bill_differs", "costs.bill_agrees"]


def test_a_provider_that_is_gone_is_over(openai: Answering, provided: Use, ledger: Ledger) -> None:
    answers(openai, dollars={DECIDED[5]: 12})
    bills.reconcile("openai", NOW)
    provided()
    with unit_of_work() as uow:
        bills.forget_gone(uow)
        bills.forget_gone(uow)
        assert bills.submit(uow) == {}
    assert [row.kind for row in told(ledger)] == ["costs.bill_differs", "costs.bill_agrees"]
    with pytest.raises(NotFound, match="no bill is read of openai: the catalogue has none"):
        bills.configured("openai")


def test_days_that_are_asked_for_are_over_and_near() -> None:
    assert bills.day_written("2026-11-19", NOW) == date(2026, 11, 19)
    for text, said in (("soon", "is no date"), ("2026-11-20", "a day that is over"), ("2026-01-01", "the last 180")):
        with pytest.raises(Invalid, match=f"since: .*{said}"):
            bills.day_written(text, NOW)


def test_the_shipped_rule_raises_and_ends_an_alert() -> None:
    telling = load(resource("deploy/smm-admin.toml")).telling
    facts = {"day": "2026-11-17", "captured": 10.0, "billed": 11.2, "percent": -10.71, "tolerance": 2.0, "why": "so"}

    def about(kind: str) -> list[Any]:
        return rules.matching(telling, Signal(ids.uuid7(NOW), kind, "openai", 1, {"provider": "openai"}, facts, NOW))

    [raised], [ended] = about("costs.bill_differs"), about("costs.bill_agrees")
    assert isinstance(raised, Raise)
    assert isinstance(ended, End)
    assert (raised.name, raised.severity, raised.team) == ("SMM_CostsDifferFromBill", "error", "finance")
    assert raised.annotations["description"].startswith("2026-11-17: 10 dollars captured, 11.2 billed: so")
