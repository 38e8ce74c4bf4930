"""What would make a budget's counter wrong: repeats, orders, others than were asked for, the end of a window."""

from __future__ import annotations

from datetime import timedelta

from app import clock
from app.catalog import Budget
from app.infra import redis
from app.limits import asking, budgets, crossings, keys, settling, spending
from app.limits.budgets import Changes, Override
from app.limits.core import Verdict
from app.limits.spending import Who
from app.limits.windows import window_at
from tests.limits.conftest import Keeper
from tests.limits.spender import BUDGETS, call, counted_of, counter, reserve, spender

__all__ = ["spender"]

TENANT = Who(tenant="acme")
DAY = "budget_tenant_day"


def test_an_id_that_comes_twice_at_once_settles_what_was_reserved_once(spender: Keeper) -> None:
    one, other = call(300_000, TENANT), call(0, TENANT)
    reserve(one, 400_000)
    reserve(other, 100_000)
    done = spending.record([one, one._replace(amount=350_000)], b"a")
    assert (done.fresh, done.duplicates) == (1, 1)
    left = counter("tenant:acme", DAY)
    assert (left["u"], left["i"], left["h"]) == (400_000, 300_000, 100_000)


def test_a_report_after_the_call_was_recorded_changes_nothing(spender: Keeper) -> None:
    one = call(300_000, TENANT)
    asked = reserve(one, 400_000)
    spending.record([one], b"a")
    assert not settling.settle(asked.ask.key, asked.ask.subjects, 290_000)
    left = counter("tenant:acme", DAY)
    assert (left["u"], left["i"], left.get("q")) == (300_000, 300_000, None)
    assert spending.record([one], b"again").duplicates == 1


def test_what_is_reserved_by_others_reaches_no_threshold(spender: Keeper) -> None:
    for _ in range(4):
        reserve(call(0, TENANT), 1_200_000)
    assert not spending.record([call(1_000, TENANT)], b"a").crossed
    start = window_at(counted_of("tenant_day", "tenant:acme").limit, clock.now()).start
    assert spending.agree({"tenant:acme": {DAY: (start, 2_000)}}) == 1
    assert not redis.client().exists(keys.CROSSINGS)
    assert spending.record([call(4_100_000, TENANT)], b"b").crossed
    told: list[int] = []
    crossings.hand_over("budget_", lambda _uow, found: told.extend(one.used for one in found))
    assert crossings.tell()
    assert told == [4_103_000]


def test_a_call_of_others_than_was_asked_for_gives_back_what_was_reserved_for_them(spender: Keeper) -> None:
    asked = Who(tenant="acme", agent="writer", interaction="t1")
    one = call(300_000, asked)
    reserve(one, 400_000)
    spending.record([one._replace(who=Who(tenant="acme", agent="writer", interaction="t2"))], b"a")
    assert sum(counter("interaction:writer/t1", "budget_turn")["b"]) == 0
    assert sum(counter("interaction:writer/t2", "budget_turn")["b"]) == 300_000
    assert counter("tenant:acme", DAY)["u"] == 300_000


def test_work_goes_on_where_a_threshold_was_told_of_a_rolling_budget(spender: Keeper) -> None:
    who = Who(agent="writer", interaction="t1")
    assert spending.record([call(500_000, who)], b"a").crossed
    budgets.configure(lambda: Changes("raised", overrides=[Override("turn", "interaction:writer/t1", 5_000_000)]))
    assert reserve(call(0, who), 1_000).verdict is Verdict.ALLOW


def test_an_old_call_does_not_use_up_an_interaction_of_today(spender: Keeper) -> None:
    who = Who(agent="writer", interaction="t1")
    spending.record([call(400_000, who, at=clock.now() - timedelta(days=1, minutes=1)), call(7, who)], b"a")
    assert sum(counter("interaction:writer/t1", "budget_turn")["b"]) == 7


def test_a_call_of_before_midnight_is_not_of_the_day_that_began_on_its_way(spender: Keeper) -> None:
    window = window_at(counted_of("tenant_day", "tenant:acme").limit, clock.now())
    before = window.start - timedelta(seconds=1)
    asking._ahead = (before - clock.now()).total_seconds()
    spending.record([call(1_000, TENANT, at=before)], b"a")
    assert counter("tenant:acme", DAY).get("u", 0) == 0
    assert abs(asking._ahead) < 5, "and the server's clock is followed"


def test_the_hour_of_a_throttled_budget_is_no_other_budget(spender: Keeper) -> None:
    twin = Budget.model_validate({"name": "house_month_hour", "scope": "global", "period": "day", "amount": 9})
    throttled = frozenset([("house_month", "all")])
    budgets.configure(lambda: Changes("slow", budgets=[twin], throttled=throttled))
    spending.record([call(1_000, Who(department="it"))], b"a")
    names = [one.limit.name for one in budgets.effective().of(Who(department="it"))]
    assert len(set(names)) == 3
    assert {counter("all", name)["u"] for name in names} == {1_000}


def test_an_agent_may_have_a_slash_in_its_name(spender: Keeper) -> None:
    own = Budget.model_validate(
        {"name": "own", "scope": "agent", "for": "team/writer", "period": "interaction", "amount": 1}
    )
    budgets.configure(lambda: Changes(1, budgets=[own]))
    found = budgets.effective().of(Who(agent="team/writer", interaction="7"))
    assert {one.budget.name for one in found} == {"house_month", "turn", "own"}
    assert "own" not in {one.budget.name for one in budgets.effective().of(Who(agent="team", interaction="7"))}


def test_what_nobody_gave_back_is_free_again_once_it_cannot_be_held_any_more(spender: Keeper) -> None:
    one = call(0, TENANT)
    asked = reserve(one, 400_000)
    redis.client().delete(keys.RECORD + asked.ask.key)  # the sweeper was away for so long that the id is forgotten
    start = window_at(counted_of("tenant_day", "tenant:acme").limit, clock.now()).start
    right = {"tenant:acme": {DAY: (start, 70_000)}}
    spending.agree(right)
    assert counter("tenant:acme", DAY)["u"] == 470_000, "its lease may run yet"
    state = redis.client().get(keys.STATE + "tenant:acme")
    held = counter("tenant:acme", DAY)["y"]
    redis.client().set(keys.STATE + "tenant:acme", state.replace(str(held), str(held - 3_600_000)))
    spending.agree(right)
    left = counter("tenant:acme", DAY)
    assert (left["u"], left.get("h")) == (70_000, None)


def test_what_was_spent_in_another_kind_of_window_is_left_to_the_comparison_with_the_rows(spender: Keeper) -> None:
    spending.record([call(4_000_000, TENANT)], b"a")
    spender.catalogue(BUDGETS.replace("Asia/Kolkata", "America/New_York"))
    spending.record([call(7, TENANT)], b"b")
    assert counter("tenant:acme", DAY)["u"] == 7, "else it would be full all day where no call is in the new one"
