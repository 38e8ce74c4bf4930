"""The month that other tests spend: the same each time, as the API takes it, and added up right."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from app.costs import calls
from tests.costs.month import CLIENTS, OPUS, Arrival, Month, Runaway, Sum, add_up

LOOP = Runaway(start=datetime(2026, 3, 8, 1, 10, tzinfo=UTC))
SHORT = Month(first=date(2026, 3, 7), days=2, calls_per_day=400, runaway=LOOP, twice=0.1, late=0.1)


def test_the_same_seed_makes_the_same_month_and_another_one_another() -> None:
    assert list(SHORT.arrivals()) == list(SHORT.arrivals())
    assert list(SHORT.arrivals()) != list(replace(SHORT, seed=8).arrivals())


def test_calls_come_in_the_order_of_arrival_some_twice_and_some_late() -> None:
    sent, made = list(SHORT.arrivals()), list(SHORT.calls())
    assert sent == sorted(sent, key=lambda arrival: arrival.arrives_at)
    assert made == sorted(made)
    assert {arrival.call.id for arrival in sent} == {call.id for call in made}
    assert 1.05 < len(sent) / len(made) < 1.2
    assert any(arrival.arrives_at - arrival.call.at > timedelta(hours=12) for arrival in sent)


def test_totals_count_each_call_once_whatever_the_order() -> None:
    sent = list(SHORT.arrivals())
    totals, backwards = add_up(sent), add_up(reversed(sent))
    assert totals == backwards
    assert totals == add_up(Arrival(call.at, call) for call in SHORT.calls())
    everything = totals.by["total"][""]
    for sums in (*totals.by.values(), totals.days, totals.hours):
        assert sum(one.cost_micro_usd for one in sums.values()) == everything.cost_micro_usd
        assert sum(one.calls for one in sums.values()) == everything.calls
    assert sum(totals.hourly().values()) == everything.cost_micro_usd


def test_days_are_the_tenants_own() -> None:
    days = add_up(SHORT.arrivals()).days
    assert ("acme", date(2026, 3, 6)) in days, "it is still Friday in New York"
    assert ("dune", date(2026, 3, 9)) in days, "it is Monday in Sydney"
    assert ("bolt", date(2026, 3, 9)) not in days


def test_scales_with_calls_a_day() -> None:
    quiet = replace(SHORT, runaway=None)
    few, many = (add_up(month.arrivals()).by["total"][""] for month in (quiet, replace(quiet, calls_per_day=2000)))
    assert 4 < many.calls / few.calls < 6


def test_the_loop_is_where_it_is_said_to_be() -> None:
    place = ("acme", f"{OPUS.provider}/{OPUS.name}", "comms")
    with_it, without = (add_up(month.arrivals()).hours for month in (SHORT, replace(SHORT, runaway=None)))
    differ = {key for key in with_it if with_it[key] != without.get(key, Sum())}
    assert differ == {(LOOP.hour + timedelta(hours=back), *place) for back in range(3)}


def test_every_body_is_one_that_the_api_takes() -> None:
    totals = add_up(SHORT.arrivals())
    good = []
    for batch in SHORT.batches(500):
        assert len(batch) <= 500
        parsed = calls.parse(json.dumps({"calls": batch}).encode())
        assert parsed.rejected == []
        good += [call for _, call in parsed.good]
    costs = {call.id: call.cost_micro_usd or 0 for call in good}
    assert sum(costs.values()) == totals.by["total"][""].cost_micro_usd
    assert {call.tenant for call in good} == {client.name for client in CLIENTS}
