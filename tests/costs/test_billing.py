"""Providers' bills are read from servers that answer as documented, and as they should not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.costs.bill_source import Billed, Counted, Reading, Source
from app.costs.billing import billings
from app.errors import Misconfigured, Permanent, SmmError, Transient
from tests.costs.billed import (
    ANTHROPIC_COSTS,
    BALANCE,
    DAY,
    KEY,
    MESSAGES,
    OPENAI_COSTS,
    Account,
    balance,
    provider,
)
from tests.fixtures.answering import DRIP, HANG, Answering, Asked, Reply, Route, answering

FIRST, LAST = date(2026, 11, 10), date(2026, 11, 19)
NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
WEEK = [FIRST + place * DAY for place in range(10)]


def read(billing: str, url: str, **more: Any) -> list[Billed]:
    return billings()[billing].read(Source(provider(billing, url, **more)), FIRST, LAST, NOW)


def of_costs(route: Route, **more: Any) -> list[Billed]:
    """OpenAI's, where the answer about costs is this one."""
    with answering({**Account().openai(), OPENAI_COSTS: route}) as server:
        return read("openai", server.url, **more)


def costs(value: object, currency: object = "usd", start: object = 1_794_268_800) -> Reply:
    """One bucket, of 10 November."""
    results = [{"amount": {"value": value, "currency": currency}}]
    return Reply(body={"data": [{"start_time": start, "results": results}], "has_more": False})


def headers(asked: Asked) -> dict[str, str]:
    return {name.lower(): value for name, value in asked.headers.items()}


@pytest.mark.parametrize("billing", ["openai", "anthropic"])
def test_a_span_of_days_is_read_over_all_its_pages(billing: str) -> None:
    account = Account(
        {day: 1.25 * place for place, day in enumerate(WEEK)},
        {day: (1000 + place, 400, 50) for place, day in enumerate(WEEK)},
        page=3,
    )
    with answering(getattr(account, billing)()) as server:
        found = read(billing, server.url)
    assert [(one.day, one.micro_usd) for one in found] == [(day, 1_250_000 * place) for place, day in enumerate(WEEK)]
    assert [one.tokens for one in found] == [Counted(1000 + place, 400, 50) for place in range(10)]
    assert [one.settled for one in found] == [True] * 8 + [False] * 2  # two days after their end
    assert len(server.paths) == (12 if billing == "openai" else 8)
    for asked in server.seen:
        sent = headers(asked)
        assert (sent.get("authorization"), sent.get("x-api-key")) in (
            [(f"Bearer {KEY}", None)] if billing == "openai" else [(None, KEY)]
        )
        assert KEY not in json.dumps(asked.query)


def test_what_openai_tells_is_read_to_the_micro_dollar() -> None:
    results = [
        {"amount": {"value": 0.0000005, "currency": "usd"}},
        {"amount": {"value": "12.50", "currency": "usd"}},  # as it has come
        {"amount": {"value": 6e-05, "currency": "usd"}},
        {"amount": {"value": -2, "currency": "usd"}},
    ]
    [first, *others] = of_costs(Reply(body={"data": [{"start_time": 1_794_268_800, "results": results}]}))
    assert (first.micro_usd, first.note) == (10_500_060, "")
    assert {(one.micro_usd, one.note) for one in others} == {(None, "the provider tells no costs of this day")}


def test_anthropic_says_what_its_bill_leaves_out() -> None:
    account = Account({FIRST: 3}, {FIRST: (1000, 0, 10)})
    priority = {"service_tier": "priority", "uncached_input_tokens": 700, "cache_creation": None, "output_tokens": 5}
    usage = account.anthropic()[MESSAGES]

    def with_priority(asked: Asked) -> Reply:
        assert asked.query["group_by[]"] == "service_tier"
        body = usage(asked).body
        body["data"][0]["results"].append(priority)
        return Reply(body=body)

    with answering({**account.anthropic(), MESSAGES: with_priority}) as server:
        first = read("anthropic", server.url)[0]
    assert (first.micro_usd, first.tokens) == (3_000_000, Counted(1700, 0, 15))
    assert first.note == "its bill leaves out 705 tokens of the priority tier"


@pytest.mark.parametrize(
    ("value", "currency", "said"),
    [
        (-3, "usd", "the provider tells a bill below zero: credits are more than what was used"),
        (2e9, "usd", "the provider tells an amount beyond 1,000,000,000"),
        (12, "eur", "is billed in EUR: rates of [providers.openai] has none for it"),
    ],
)
def test_a_day_whose_amount_cannot_be_meant_is_unknown(value: float, currency: str, said: str) -> None:
    found = of_costs(costs(value, currency))[0]
    assert (found.micro_usd, found.note) == (None, said)


def test_another_currency_is_taken_at_the_rate_of_the_catalogue() -> None:
    assert of_costs(costs("12.5", "EUR"), rates={"EUR": 1.1})[0].micro_usd == 13_750_000


def test_a_refused_key_is_a_misconfiguration_that_names_the_table() -> None:
    for status in (401, 403):
        with pytest.raises(Misconfigured, match=rf"\[providers\.openai\].*the key is refused \({status}\)"):
            of_costs(Reply(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}}))


def test_trouble_that_may_pass_is_worth_another_try() -> None:
    for reply, said in (
        (Reply(429, headers={"Retry-After": "7"}), "answered 429"),
        (Reply(500), "answered 500"),
        (Reply(200, b"<!DOCTYPE html><title>Just a moment</title>"), "no JSON"),
        (Reply(200, b'{"data": [{"start_time": 1794268800, "resu'), "no JSON"),
        (Reply(200, b'{"data": [], "x": ' + b"[" * 100_000), "no JSON"),
        (Reply(200, b'{"data": [], "x": ' + b"9" * 10_000 + b"}"), "no JSON"),
    ):
        with pytest.raises(Transient, match=said) as raised:
            of_costs(reply)
        assert raised.value.retry_after == (timedelta(seconds=7) if reply.status == 429 else None)


def test_a_provider_that_hangs_is_not_waited_for() -> None:
    started = time.monotonic()
    for reply in (HANG, DRIP):
        with pytest.raises(Transient, match="no answer in time"):
            of_costs(reply, timeout=0.2)
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404), "answered 404"),
        (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (Reply(200, b"[]"), "not as it is described: the answer"),
        (Reply(body={"data": {}}), "described: data"),
        (Reply(body={"data": [{"start_time": 1_794_268_800}]}), "described: results"),
        (costs(None), "described: value"),
        (costs("1,5"), "described: value"),
        (costs(True), "described: value"),
        (costs(float("nan")), "described: value"),
        (Reply(200, b'{"data": [{"start_time": 1794268800, "results": [{"amount": {"value": 1e999999}}]}]}'), "value"),
        (costs(1, "dollars"), "described: currency"),
        (costs(1, "usd", 1_794_268_801), "described: start_time"),
        (costs(1, "usd", 10**30), "described: start_time"),
        (Reply(200, b" " * 1_100_000), "more than 1048576 bytes"),
        (Reply(body={"data": [], "has_more": True, "next_page": None}), "there is more, but not where"),
        (Reply(body={"data": [], "has_more": True, "next_page": "x"}), "go in a circle"),
        (Reply(body={"data": costs(1).body["data"] * 2}), "tells 2026-11-10 twice"),
    ],
)
def test_what_is_not_as_described_is_refused(reply: Reply, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        of_costs(reply)


def test_pages_have_an_end() -> None:
    pages = iter(range(10**6))

    def another(_asked: Asked) -> Reply:
        return Reply(body={"data": [], "has_more": True, "next_page": f"p{next(pages)}"})

    with pytest.raises(Permanent, match="more than 12 pages"):
        of_costs(another)


@pytest.mark.parametrize(
    "start", ["soon", "2026-11-10T00:00:00", "2026-11-10T01:00:00Z", "0001-01-01T00:00:00+10:00", 5]
)
def test_anthropics_days_begin_at_midnight(start: object) -> None:
    reply = Reply(body={"data": [{"starting_at": start, "results": []}]})
    with answering({**Account().anthropic(), ANTHROPIC_COSTS: reply}) as server, pytest.raises(Permanent, match="_at"):
        read("anthropic", server.url)


def test_no_error_and_no_log_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f'{{"error": "your key {KEY} is wrong"}}'.encode()
    for billing, path in (("openai", OPENAI_COSTS), ("anthropic", ANTHROPIC_COSTS), ("moonshot", BALANCE)):
        for status in (200, 400, 401, 429, 500):
            error = failing(billing, {path: Reply(status, echo)})
            assert KEY not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    assert KEY not in caplog.text
    assert KEY not in repr(provider("openai", "http://127.0.0.1"))


def failing(billing: str, routes: dict[str, Route]) -> SmmError:
    with answering(routes) as server, pytest.raises(SmmError) as raised:
        if billing == "moonshot":
            left(server)
        else:
            read(billing, server.url)
    return raised.value


def left(server: Answering, **more: Any) -> int:
    found: Callable[..., int] = billings()["moonshot"].balance  # type: ignore[attr-defined]
    return found(provider("moonshot", server.url, **more))


def test_a_balance_is_what_is_paid_in_and_what_is_owed() -> None:
    routes: dict[str, Route] = {BALANCE: balance(3.00001, 46.58893)}
    with answering(routes) as server:
        assert left(server) == 49_588_940
        server.routes[BALANCE] = balance(-1.5, 1)
        assert left(server) == -500_000
        assert left(server, currency="CNY", rates={"CNY": 0.14}) == -70_000
        with pytest.raises(Misconfigured, match=r"is billed in CNY: rates of \[providers\.moonshot\] has none"):
            left(server, currency="CNY")
        server.routes[BALANCE] = Reply(body={"code": 5, "status": False})
        with pytest.raises(Permanent, match="described: data"):
            left(server)


def by_balances(*readings: tuple[str, float]) -> list[Billed]:
    found = [Reading(datetime.fromisoformat(f"2026-11-{at}:00Z"), round(dollars * 10**6)) for at, dollars in readings]
    account = Source(provider("moonshot", "http://127.0.0.1"), found)
    return billings()["moonshot"].read(account, date(2026, 11, 17), LAST, NOW)


def test_a_day_is_billed_what_the_balance_fell_by_between_readings_near_its_midnights() -> None:
    found = by_balances(
        ("16T23:40", 10), ("17T00:50", 9.9), ("17T12:00", 6), ("17T23:55", 5), ("18T12:00", 54), ("19T00:10", 50.5)
    )
    assert [one.micro_usd for one in found] == [5_000_000, 3_500_000, None]
    assert found[0].note == "from 2026-11-16T23:40:00.000Z to 2026-11-17T23:55:00.000Z"
    assert found[0].period == (datetime(2026, 11, 16, 23, 40, tzinfo=UTC), datetime(2026, 11, 17, 23, 55, tzinfo=UTC))
    assert found[1].note.endswith("; $49.00 were paid in, and what was spent between those two readings is not seen")
    assert found[2].note == "no reading of the balance is near 00:00 of 2026-11-20"
    assert [one.settled for one in found] == [True, True, True]


def test_a_day_without_a_pair_of_readings_is_unknown() -> None:
    found = by_balances(("16T21:59", 10), ("18T02:00", 8), ("19T00:00", 7))
    assert [one.micro_usd for one in found] == [None, 1_000_000, None]
