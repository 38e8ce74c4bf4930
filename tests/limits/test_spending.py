"""Calls that were made: each counts once in the budgets that apply, settles what was reserved, and is in the stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import clock
from app.catalog import Budget
from app.errors import Transient
from app.infra import redis
from app.limits import budgets, crossings, keys, rebuild, settling, spending
from app.limits.budgets import Changes, Override
from app.limits.core import Verdict
from app.limits.spending import Who
from app.limits.windows import window_at
from tests.limits.conftest import Keeper
from tests.limits.spender import call, counted_of, counter, reserve, spender

__all__ = ["spender"]


def test_a_call_counts_in_every_budget_that_applies_and_is_in_the_stream(spender: Keeper) -> None:
    done = spending.record([call(1_000), call(2_000, Who(tenant="other"))], b"two rows")
    assert (done.fresh, done.duplicates, done.crossed) == (2, 0, False)
    assert counter("all", "budget_house_month")["u"] == 3_000
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 1_000
    assert counter("tenant:other", "budget_tenant_day")["u"] == 2_000
    assert counter("interaction:writer/t1", "budget_turn")["b"][-1] == 1_000
    [entry] = spending.entries(10)
    assert (entry.id, entry.kind, entry.payload) == (done.entry, "calls", b"two rows")
    waiting = spending.backlog()
    assert (waiting.entries, waiting.bytes) == (1, len(b"two rows"))
    assert waiting.oldest_at is not None


def test_the_same_id_counts_once_and_is_not_appended_again(spender: Keeper) -> None:
    one, other = call(1_000), call(50)
    spending.record([one], b"a")
    again = spending.record([one, other, other], b"b")
    assert (again.fresh, again.duplicates) == (1, 2)
    assert spending.record([one, other], b"c").entry is None
    assert spending.record([one], b"d", always=True).entry is not None
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 1_050
    assert [entry.payload for entry in spending.entries(10)] == [b"a", b"b", b"d"]


def test_what_was_reserved_becomes_what_it_cost(spender: Keeper) -> None:
    one = call(300_000)
    assert reserve(one, 400_000).verdict is Verdict.ALLOW
    held = counter("tenant:acme", "budget_tenant_day")
    assert (held["u"], held["h"]) == (400_000, 400_000)
    spending.record([one], b"a")
    settled = counter("tenant:acme", "budget_tenant_day")
    assert (settled["u"], settled["i"], settled.get("h")) == (300_000, 300_000, None)
    assert counter("interaction:writer/t1", "budget_turn")["b"][-1] == 300_000
    assert spending.record([one], b"again").duplicates == 1


def test_what_was_given_back_before_its_call_came_is_counted_all_the_same(spender: Keeper) -> None:
    one = call(300_000)
    asked = reserve(one, 400_000)
    assert settling.give_back(asked.ask.key, asked.ask.subjects)
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 0
    spending.record([one], b"a")
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 300_000


def test_a_report_and_the_call_itself_are_one_count(spender: Keeper) -> None:
    one = call(310_000)
    asked = reserve(one, 400_000)
    settling.settle(asked.ask.key, asked.ask.subjects, 300_000)
    settled = counter("tenant:acme", "budget_tenant_day")
    assert (settled["u"], settled["q"], settled.get("h")) == (300_000, 300_000, None)
    spending.record([one], b"a")
    recorded = counter("tenant:acme", "budget_tenant_day")
    assert (recorded["u"], recorded["i"], recorded.get("q")) == (310_000, 310_000, None)


def test_what_is_written_down_leaves_the_stream_once(spender: Keeper) -> None:
    spending.record([call(1_000)], b"a")
    found = spending.entries(10)
    assert spending.drained(found) == 1
    assert spending.drained(found) == 0
    left = counter("tenant:acme", "budget_tenant_day")
    assert (left["u"], left.get("i")) == (1_000, None)
    assert spending.backlog() == spending.Backlog(0, 0, None)


def test_counters_agree_with_what_is_committed_in_the_stream_and_reserved(spender: Keeper) -> None:
    spending.record([call(1_000)], b"a")
    reserve(call(0), 500)
    start = window_at(counted_of("tenant_day", "tenant:acme").limit, clock.now()).start
    right = {"tenant:acme": {"budget_tenant_day": (start, 70_000)}}
    assert spending.agree(right) == 1
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 71_500
    assert spending.agree(right) == 0
    assert spending.agree({"tenant:acme": {"budget_tenant_day": (start - timedelta(days=3), 5)}}) == 0
    assert spending.agree({"tenant:new": {"budget_tenant_day": (start, 5)}}) == 0, "its day begins at another time"


def test_each_threshold_is_noted_once_and_again_only_for_another_amount(spender: Keeper) -> None:
    told: list[tuple[str, int, int]] = []
    crossings.hand_over("budget_", lambda _uow, found: told.extend((one.subject, one.level, one.used) for one in found))
    who = Who(tenant="acme")
    assert spending.record([call(3_800_000, who)], b"a").crossed
    assert not spending.record([call(100_000, who)], b"b").crossed
    assert spending.record([call(700_000, who)], b"c").crossed
    assert crossings.tell()
    assert told == [("tenant:acme", 1, 3_800_000), ("tenant:acme", 3, 4_600_000)]
    budgets.configure(lambda: Changes("raised", overrides=[Override("tenant_day", "tenant:acme", 10_000_000)]))
    assert not spending.record([call(1_000, who)], b"d").crossed
    assert spending.record([call(3_000_000, who)], b"e").crossed
    assert crossings.tell()
    assert told[2:] == [("tenant:acme", 1, 7_601_000)]


def test_background_work_stops_at_its_share_and_more_urgent_work_goes_on(spender: Keeper) -> None:
    who = Who(tenant="acme")
    spending.record([call(4_999_000, who)], b"a")
    stopped = reserve(call(0, who), 2_000, rank=3)
    assert stopped.verdict is Verdict.WAIT
    assert [reading.limit.name for reading in stopped.readings if reading.room_at] == ["budget_tenant_day"]
    assert reserve(call(0, who), 2_000, rank=1).verdict is Verdict.ALLOW
    turn = Who(agent="writer", interaction="t2")
    assert reserve(call(0, turn), 600_000, rank=0).verdict is Verdict.WAIT, "an interaction's cap stops every class"


def test_throttled_work_has_an_even_part_of_each_hour(spender: Keeper) -> None:
    budgets.configure(lambda: Changes("slow", throttled=frozenset([("house_month", "all")])))
    who = Who(department="it")
    assert reserve(call(0, who), 138_000, rank=2).verdict is Verdict.ALLOW
    assert reserve(call(0, who), 2_000, rank=2).verdict is Verdict.WAIT
    assert reserve(call(0, who), 2_000, rank=1).verdict is Verdict.ALLOW


def test_a_call_of_yesterday_does_not_use_up_today(spender: Keeper) -> None:
    late = clock.now() - timedelta(days=1, hours=1)
    spending.record([call(1_000, at=late), call(7)], b"a")
    assert counter("tenant:acme", "budget_tenant_day")["u"] == 7
    assert counter("all", "budget_house_month")["u"] in (7, 1_007), "yesterday may have been another month"


def test_a_full_stream_takes_nothing_and_counts_nothing(spender: Keeper) -> None:
    redis.client().set(keys.CALLS_BYTES, 64 * 1_048_576)
    with pytest.raises(spending.Full):
        spending.record([call(1_000)], b"a")
    assert counter("tenant:acme", "budget_tenant_day") == {}
    assert isinstance(spending.Full("x"), Transient)


def test_after_a_loss_budgets_come_back_as_what_is_written_down(spender: Keeper) -> None:
    spending.record([call(1_000)], b"a")
    start = window_at(counted_of("tenant_day", "tenant:acme").limit, clock.now()).start
    rebuild.money_from(
        lambda subjects: {one: {"budget_tenant_day": (start, 4_100_000)} for one in subjects if one == "tenant:acme"}
    )
    spender.lose()
    spending.record([call(5, Who(tenant="acme"))], b"b")
    back = counter("tenant:acme", "budget_tenant_day")
    assert (back["u"], back["i"], back["n"]) == (4_100_005, 5, 2)


def test_budgets_apply_by_scope_and_name(spender: Keeper) -> None:
    own = Budget.model_validate({"name": "anna", "scope": "user", "for": "anna", "period": "week", "amount": 50})
    budgets.configure(lambda: Changes(1, budgets=[own], overrides=[Override("tenant_day", "", 7_000_000)]))
    found = budgets.effective().of(Who(tenant="acme", user="anna", agent="writer"))
    assert [(one.budget.name, one.subject, one.limit.units) for one in found] == [
        ("house_month", "all", 1_000_000_000),
        ("tenant_day", "tenant:acme", 7_000_000),
        ("anna", "user:anna", 50_000_000),
    ]
    assert found[1].limit.timezone == "Asia/Kolkata"
    assert [one.budget.name for one in budgets.effective().of(Who(user="ben"))] == ["house_month"]
    assert budgets.effective().counted("anna", "user:ben") is None


def test_windows_begin_at_the_tenants_midnight(spender: Keeper) -> None:
    spending.record([call(1)], b"a")
    start = datetime.fromtimestamp(counter("tenant:acme", "budget_tenant_day")["s"] / 1000, UTC)
    assert (start.hour, start.minute) == (18, 30)
