"""The package's prices brought into the table: what differs, what follows, and what stays as people set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.costs import price_bundle, price_import, price_store, price_table
from app.costs.price_import import Kind
from app.costs.price_store import ALWAYS, BY_HAND, Offered, Price
from app.costs.pricing import Rates
from app.infra import ids
from app.infra.db import read_only, unit_of_work

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
LATER = datetime(2027, 2, 1, tzinfo=UTC)
CHEAP, DEAR = Rates(1_000_000, output=2_000_000), Rates(3_000_000, output=4_000_000)
KEY = ("openai", "gpt")

Offers = Mapping[tuple[str, str], Sequence[Offered]]


def offers(*versions: tuple[datetime, datetime | None, Rates]) -> Offers:
    return {KEY: [Offered(*KEY, begins, ends, rates) for begins, ends, rates in versions]}


def held(
    rates: Rates = CHEAP, begins: datetime = ALWAYS, ends: datetime | None = None, source: str = "genai-prices 0.1"
) -> Price:
    return Price(ids.uuid7(), "", *KEY, {}, begins, ends, rates, (), source, ALWAYS, "ann")


def test_what_is_the_same_is_no_change() -> None:
    assert price_import.plan([held()], offers((ALWAYS, None, CHEAP)), NOW) == []
    past = offers((ALWAYS, NOW - timedelta(days=9), DEAR), (NOW - timedelta(days=9), None, CHEAP))
    assert price_import.plan([held()], past, NOW) == [], "history is not written anew"


def test_a_new_model_comes_with_its_whole_history() -> None:
    [change] = price_import.plan([], offers((ALWAYS, NOW, DEAR), (NOW, None, CHEAP)), NOW)
    assert (change.kind, [one.effective_from for one in change.added]) == (Kind.NEW, [ALWAYS, NOW])


def test_a_price_that_changed_counts_from_now_on() -> None:
    old = held()
    [change] = price_import.plan([old], offers((ALWAYS, None, DEAR)), NOW)
    assert (change.kind, change.closed) == (Kind.CHANGED, (old,))
    assert [(one.effective_from, one.effective_to, one.rates) for one in change.added] == [(NOW, None, DEAR)]
    assert change.document()["before"]["input"] == 1.0
    assert change.document()["after"]["input"] == 3.0


def test_a_price_that_is_to_change_is_known_beforehand() -> None:
    coming = offers((ALWAYS, LATER, CHEAP), (LATER, None, DEAR))
    [change] = price_import.plan([held()], coming, NOW)
    assert [(one.effective_from, one.effective_to) for one in change.added] == [(NOW, LATER), (LATER, None)]
    planned = [held(ends=LATER), held(DEAR, LATER)]
    assert price_import.plan(planned, coming, NOW) == []
    [change] = price_import.plan(planned, offers((ALWAYS, None, CHEAP)), NOW)
    assert (change.kind, change.closed) == (Kind.CHANGED, tuple(planned)), "it was put off"


def test_a_model_that_is_gone_ends_and_may_come_back() -> None:
    old = held()
    assert [(one.kind, one.closed) for one in price_import.plan([old], {}, NOW)] == [(Kind.ENDED, (old,))]
    ended = replace(old, effective_to=NOW - timedelta(days=1))
    assert price_import.plan([ended], {}, NOW) == []
    [change] = price_import.plan([ended], offers((ALWAYS, None, CHEAP)), NOW)
    assert (change.kind, change.added[0].effective_from) == (Kind.NEW, NOW)


def test_what_people_have_set_stays() -> None:
    ours = held(DEAR, source=BY_HAND)
    [change] = price_import.plan([ours], offers((ALWAYS, None, CHEAP)), NOW)
    assert change.kind is Kind.KEPT
    assert price_import.plan([ours], {}, NOW) == []
    assert price_import.plan([ours], offers((ALWAYS, None, DEAR)), NOW) == []


def test_other_names_of_a_model_are_no_other_price() -> None:
    wanted = {KEY: [Offered(*KEY, ALWAYS, None, CHEAP, matches={"model": {"starts_with": "gpt"}})]}
    [change] = price_import.plan([held()], wanted, NOW)
    assert change.kind is Kind.RENAMED


@pytest.mark.usefixtures("database")
def test_a_fresh_table_fills_itself_once_and_follows_the_package() -> None:
    with unit_of_work() as uow:
        assert price_import.first(uow)
    with unit_of_work() as uow:
        assert not price_import.first(uow)
        held_now = price_store.read(uow.session)
        assert len(held_now) == sum(map(len, price_bundle.offered().values()))
        assert {price.source for price in held_now} == {price_bundle.source()}
        assert price_import.difference(uow.session, NOW) == []
        uow.execute("UPDATE cost_prices SET input_micro_usd = 7 WHERE provider = 'moonshotai' AND model = 'kimi-k2.5'")
        uow.execute("DELETE FROM cost_prices WHERE provider = 'openai' AND model = 'gpt-5'")
        uow.execute(
            "UPDATE cost_prices SET matches = NULL, source = 'set by hand', output_micro_usd = 9"
            " WHERE provider = 'anthropic' AND model = 'claude-opus-4-6' AND effective_to IS NULL"
        )
    with unit_of_work() as uow:
        done = price_import.bring_in(uow, NOW, by="ann")
    assert [(change.kind, change.model) for change in done] == [
        (Kind.KEPT, "claude-opus-4-6"),
        (Kind.CHANGED, "kimi-k2.5"),
        (Kind.NEW, "gpt-5"),
    ]
    with read_only() as session:
        assert [change.kind for change in price_import.difference(session, NOW)] == [Kind.KEPT]
        table = price_table.read(session)
    kimi = [price for price in table.versions if price.name == "moonshotai/kimi-k2.5"]
    assert [(price.effective_from, price.effective_to, price.rates.input) for price in kimi] == [
        (ALWAYS, NOW, 7),
        (NOW, None, 600_000),
    ]
    before, after = NOW - timedelta(microseconds=1), NOW
    assert [table.price_at("", "moonshot", "kimi-k2.5", at) for at in (before, after)] == kimi
