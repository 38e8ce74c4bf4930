"""Which price counts: whose, of which name, at which moment; and how a process keeps the table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import clock
from app.costs import price_setting, price_table, repricing, unknown_models
from app.costs.price_setting import Wanted
from app.costs.price_store import ALWAYS, Price
from app.costs.price_table import PriceTable
from app.costs.pricing import Rates, Tokens
from app.errors import Invalid, NotFound
from app.infra import db, ids
from app.infra.db import UnitOfWork, read_only, unit_of_work
from tests.fixtures.waiting import until

NOON = datetime(2027, 1, 10, 12, tzinfo=UTC)
MILLION = Tokens(1_000_000)
TWO = Rates(2_000_000, output=2_000_000)


def price(  # noqa: PLR0917
    model: str,
    dollars: int,
    begins: datetime = ALWAYS,
    ends: datetime | None = None,
    matches: Mapping[str, Any] | None = None,
    tenant: str = "",
    provider: str = "openai",
) -> Price:
    rates = Rates(dollars * 10**6, output=0)
    return Price(ids.uuid7(), tenant, provider, model, matches or {}, begins, ends, rates, (), "x", ALWAYS, "ann")


def cost(table: PriceTable, model: str, at: datetime = NOON, *, tenant: str = "", provider: str = "openai") -> Any:
    micro = table.cost(tenant, provider, model, at, MILLION).micro
    return None if micro is None else micro // 10**6


def test_two_versions_within_an_hour_each_have_their_calls() -> None:
    change = NOON + timedelta(minutes=20)
    table = PriceTable([price("gpt", 1, ends=change), price("gpt", 2, change)])
    assert cost(table, "gpt", change - timedelta(milliseconds=1)) == 1
    assert cost(table, "gpt", change) == 2
    given = table.cost("", "openai", "gpt", change, MILLION)
    assert (given.priced, given.price_id) == ("table", table.versions[1].id)


def test_a_tenant_s_own_price_goes_first_while_it_counts() -> None:
    own = price("gpt", 5, NOON, NOON + timedelta(hours=1), tenant="acme")
    table = PriceTable([price("gpt", 1), own])
    assert [cost(table, "gpt", NOON + timedelta(minutes=m), tenant="acme") for m in (-1, 0, 59, 60)] == [1, 5, 5, 1]
    assert cost(table, "gpt", tenant="other") == 1


def test_a_name_of_its_own_goes_before_a_rule() -> None:
    rule = {"model": {"starts_with": "gpt"}}
    table = PriceTable([price("gpt", 1, matches=rule), price("gpt-mini", 2)])
    assert [cost(table, name) for name in ("gpt", "GPT-Mini", "gpt-mini-2", "gp")] == [1, 2, 1, None]


def test_rules_of_every_kind_are_known() -> None:
    rules: list[dict[str, Any]] = [
        {"equals": "Exactly"},
        {"and": [{"starts_with": "begins"}, {"ends_with": "ends"}]},
        {"or": [{"contains": "inner"}, {"regex": r"^no\d+$"}]},
        {"never-heard-of": "x"},
        {},
    ]
    table = PriceTable(price(f"m{place}", place, matches={"model": rule}) for place, rule in enumerate(rules))
    names = ("exactly", "begins-and-ends", "begins", "an-inner-name", "no42", "no", "never-heard-of")
    assert [cost(table, name) for name in names] == [0, 1, None, 2, 2, None, None]


def test_a_provider_has_names_and_offers_what_others_make() -> None:
    alias, offering = {"provider": {"contains": "moonshot"}}, {"fallbacks": ["openai"]}
    table = PriceTable(
        [
            price("gpt", 1),
            price("phi", 2, provider="azure", matches=offering),
            price("kimi", 3, provider="moonshotai", matches=alias),
        ]
    )
    asked = (("azure", "gpt"), ("azure", "phi"), ("openai", "phi"), ("my-moonshot", "kimi"), ("Moonshotai ", "KIMI"))
    assert [cost(table, model, provider=provider) for provider, model in asked] == [1, 2, None, 3, 3]


def put(model: str = "openai/gpt", *, now: datetime = NOON, **more: Any) -> Price:
    provider, name = price_setting.named(model)
    with unit_of_work() as uow:
        return price_setting.put(uow, Wanted(provider, name, more.pop("rates", TWO), "ann", **more), now)


@pytest.mark.usefixtures("database", "redis_server")
def test_prices_set_by_hand_never_change_what_was() -> None:
    first = put()
    assert (first.effective_from, first.effective_to) == (ALWAYS, None)
    second = put(rates=Rates(3, output=4), now=NOON, note="a new contract")
    assert second.effective_from == NOON
    own = put(tenant="acme", now=NOON + timedelta(hours=1))
    assert own.effective_from == NOON + timedelta(hours=1)
    planned = put(begins=NOON + timedelta(days=9))
    between = put(begins=NOON + timedelta(days=2))
    assert between.effective_to == planned.effective_from
    with pytest.raises(Invalid, match="from: a price counts at that time already, since 2027-01-10T12:00"):
        put(begins=NOON + timedelta(minutes=1), now=NOON + timedelta(days=1))
    with pytest.raises(Invalid, match="from: a price was set from that very moment"):
        put(begins=planned.effective_from)
    with read_only() as session:
        table = price_table.read(session)
    moments = [NOON - timedelta(days=99), NOON, NOON + timedelta(days=3), NOON + timedelta(days=10)]
    found = [table.price_at("", "openai", "gpt", at) for at in moments]
    assert [one and one.id for one in found] == [one.id for one in (first, second, between, planned)]
    with unit_of_work() as uow:
        assert price_setting.end(uow, "openai", "gpt", NOON, by="bob").id == second.id
        with pytest.raises(NotFound):
            price_setting.end(uow, "openai", "gpt", NOON + timedelta(hours=1), by="bob")


def test_a_price_that_cannot_be_is_refused_by_its_fields() -> None:
    wrong = Wanted("openai", "x" * 201, Rates(cached=1), "ann", tenant="a\nb", begins=NOON, ends=NOON, note="x" * 501)
    with pytest.raises(Invalid) as refused:
        price_setting.put(UnitOfWork(Session()), wrong, NOON)
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["model", "tenant", "input", "output", "note", "to"]
    for name in ("openai", "openai/ ", "/gpt"):
        with pytest.raises(Invalid, match="model: must be PROVIDER/MODEL"):
            price_setting.named(name)
    for given in ("-1", "NaN", "1e99", "much"):
        with pytest.raises(Invalid, match="cached: must be dollars"):
            price_setting.rate(given, "cached")


CALL = """
    INSERT INTO cost_tracking (id, at, tenant, skill, provider, model, input_tokens, priced)
    VALUES (:id, :at, 'acme', 'reply', 'openai', 'gpt', :tokens, 'unknown')"""
ROLL_UPS = """
    INSERT INTO {table} (dimension, start_at, tenant, name, skill, calls, unpriced)
    SELECT d.dimension, date_trunc('{step}', CAST(:at AS timestamptz), 'UTC'), 'acme', d.name, d.skill, 3, 3
      FROM (VALUES ('model', 'openai/gpt', 'reply'), ('agent', '', ''), ('user', '', ''), ('department', '', ''))
        AS d(dimension, name, skill)"""


@pytest.mark.usefixtures("database", "redis_server")
def test_calls_of_a_model_that_gets_a_price_are_priced_and_its_people_told_once() -> None:
    now = clock.now()
    with unit_of_work() as uow:
        assert unknown_models.note(uow, [("nobody", "x")]) == 0, "there are no prices yet"
    put("openai/other")
    with unit_of_work() as uow:
        for tokens in (500_000, 1_000_000, 3):
            uow.execute(CALL, id=ids.uuid7(), at=now, tokens=tokens)
        for table, step in (("cost_hours", "hour"), ("cost_days", "day")):
            uow.execute(ROLL_UPS.format(table=table, step=step), at=now)
        pairs = [("openai", "gpt"), ("openai", "gpt"), ("nobody", "x")]
        assert unknown_models.note(uow, pairs) == 2
        assert unknown_models.note(uow, pairs) == 0
    assert kinds()[1:] == ["costs.model_unknown", "costs.model_unknown"]
    assert repricing.reprice("openai", "gpt", now - repricing.PAST).calls == 0
    made = put(now=now)
    done = repricing.reprice("openai", "gpt", now)
    assert (done.calls, done.micro) == (3, 1_000_000 + 2_000_000 + 6)
    assert repricing.reprice("openai", "gpt", now - repricing.PAST).calls == 0
    repricing.keep()
    assert kinds()[3:] == ["costs.price_set", "costs.model_priced"]
    with read_only() as session:
        calls = session.execute(db.text("SELECT cost_micro_usd, priced, price_id FROM cost_tracking ORDER BY 1")).all()
        sums = session.execute(
            db.text(
                "SELECT DISTINCT calls, unpriced, cost_micro_usd"
                "  FROM (SELECT * FROM cost_hours UNION ALL TABLE cost_days) AS kept"
            )
        ).all()
    assert [tuple(call) for call in calls] == [(cost, "table", made.id) for cost in (6, 1_000_000, 2_000_000)]
    assert [tuple(row) for row in sums] == [(3, 0, 3_000_006)]


def kinds() -> list[str]:
    with read_only() as session:
        return list(session.execute(db.text("SELECT kind FROM signals ORDER BY id")).scalars())


@pytest.mark.usefixtures("database", "redis_server")
def test_a_process_follows_changes_and_keeps_what_it_had_while_nothing_can_be_read() -> None:
    assert price_table.current() is None, "there are none yet"
    made = put()
    table = until(price_table.current)
    assert [one.id for one in table.versions] == [made.id]
    assert price_table.current() is table
    newer = put(now=NOON)
    assert [one.id for one in until(price_table.current).versions] == [made.id, newer.id]
    with unit_of_work() as uow:
        uow.execute("ALTER TABLE cost_prices RENAME TO out_of_reach")
    price_table.outdate()
    kept = price_table.current()
    assert kept is not None
    assert cost(kept, "gpt") == 2
