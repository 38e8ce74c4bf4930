"""What a scrape reads of the limits."""

from __future__ import annotations

import pytest

from app.infra import redis
from app.limits import metrics, rebuild, snapshots
from tests.limits.conftest import Keeper


def read() -> dict[tuple[str, str], float]:
    """Each sample by its name and limit."""
    families = [*metrics.windows(), *metrics.upkeep()]
    return {
        (sample.name, sample.labels.get("limit", "")): sample.value for family in families for sample in family.samples
    }


def test_the_fullest_of_each_limit_and_how_many_are_full(keeper: Keeper) -> None:
    keeper.consume("half", "calls", cost=50)
    for name in ("one", "two"):
        keeper.consume(name, "rolling", cost=200)
    snapshots.take()
    found = read()
    assert found[("smm_limit_used_ratio", "calls")] == 0.5
    assert found[("smm_limit_full_subjects", "calls")] == 0
    assert (found[("smm_limit_used_ratio", "rolling")], found[("smm_limit_full_subjects", "rolling")]) == (1.0, 2)
    assert found[("smm_limit_used_ratio", "spend")] == 0


def test_whether_upkeep_keeps_up(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", cost=80)
    keeper.consume("tenant:acme", "spend", cost=None, estimate=5, lease_seconds=60)
    found = {name: value for (name, limit), value in read().items() if not limit}
    assert 0 <= found.pop("smm_limit_snapshot_age_seconds") < 30
    assert found == {
        "smm_limit_counters_whole": 1,
        "smm_limit_changed_subjects": 2,
        "smm_limit_crossings_untold": 1,
        "smm_limit_leases": 1,
    }


@pytest.mark.usefixtures("keeper")
def test_a_lost_redis_shows_until_all_counters_are_back() -> None:
    redis.client().flushall()
    found = read()
    assert found[("smm_limit_counters_whole", "")] == 0
    assert ("smm_limit_snapshot_age_seconds", "") not in found
    rebuild.begin()
    assert read()[("smm_limit_counters_whole", "")] == 0
    rebuild.fill()
    assert read()[("smm_limit_counters_whole", "")] == 1
