"""Calls of unknown cost are priced by themselves once their model has a price, beside whoever writes meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.costs import price_setting, repricing, turns
from app.costs.price_setting import Wanted
from app.costs.pricing import Rates
from app.errors import Transient
from app.infra import partitions
from app.infra.db import unit_of_work
from tests.costs.conftest import Drain, added_up
from tests.costs.sent import call
from tests.fixtures.servers import forget

DOLLAR = Rates(1_000_000, output=1_000_000)


def price(model: str) -> None:
    with unit_of_work() as uow:
        price_setting.put(uow, Wanted("nobody", model, DOLLAR, "ann"), clock.now())


def test_a_price_set_by_hand_prices_what_came_before_it(drain: Drain) -> None:
    price("another")
    unknown = call(provider="nobody", model="x")._replace(priced="unknown")
    drain.write([unknown])
    assert [one.subject for one in drain.signals("costs.model_unknown")] == ["nobody/x"]
    price("x")
    repricing.keep()
    assert drain.rollups() == added_up([unknown._replace(cost_micro_usd=1200)])
    assert len(drain.signals("costs.model_priced")) == 1
    assert drain.count("cost_models") == 0


def test_calls_are_priced_beside_writers_but_not_amid_a_repair(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = call(provider="nobody", model="x")._replace(priced="unknown")
    drain.write([unknown])
    price("x")
    monkeypatch.setenv("SMM_DB_LOCK_TIMEOUT_SECONDS", "0.05")
    forget()
    since = clock.now() - timedelta(minutes=1)
    with turns.alone(), pytest.raises(Transient):
        repricing.reprice("nobody", "x", since)
    with turns.connected() as connection, turns.writing(connection):
        assert repricing.reprice("nobody", "x", since).calls == 1


def test_pricing_calls_of_one_day_minds_no_other_day_that_is_being_dropped(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = clock.now().date()
    [old, _] = partitions.ensure("cost_tracking", today - timedelta(days=400), days_ahead=-1)
    drain.write([call(provider="nobody", model="x")._replace(priced="unknown")])
    price("x")
    monkeypatch.setenv("SMM_DB_LOCK_TIMEOUT_SECONDS", "0.05")
    forget()
    with unit_of_work() as uow:
        uow.execute(f"LOCK TABLE ONLY {old} IN SHARE ROW EXCLUSIVE MODE")
        assert repricing.reprice("nobody", "x", clock.now() - timedelta(days=1)).calls == 1
