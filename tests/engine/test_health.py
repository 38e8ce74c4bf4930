"""The health cycle as users see it: `smm-admin up`, the test alert, a service added by hand, stopped and started."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.engine.watched import Watched
from tests.fixtures.stack import eventually, free_port
from tests.health import local

pytestmark = pytest.mark.slow


def service(product: Watched, name: str) -> dict[str, Any]:
    found: dict[str, Any] = product.stack.health()["services"].get(name, {})
    return found


def test_the_test_alert_is_told_soon_after_a_start_and_nothing_else_is(watched: Watched) -> None:
    def synthetic() -> list[str]:
        labels = [body["commonLabels"] for body in watched.bodies()]
        return [each["alertname"] for each in labels if "synthetic" in each]

    # It waits until the engine has been up for half a minute, like everything that is not critical.
    eventually(synthetic, within=90, what=lambda: f"the test alert was told: {story(watched)}")
    assert synthetic() == ["SMM_SyntheticAlert"]
    assert watched.messages() == []


def story(product: Watched) -> list[Any]:
    """What the ledger knows of the test alert."""
    found = product.stack.sql(
        "SELECT e.state, e.starts_at, e.muted, g.held, g.told_at, n.channel, n.state AS sent, n.error,"
        " c.synthetic_outcome"
        " FROM alert_clock c LEFT JOIN alert_episodes e ON e.name = 'SMM_SyntheticAlert'"
        " LEFT JOIN alert_group_members m ON m.episode_id = e.id LEFT JOIN alert_groups g ON g.id = m.group_id"
        " LEFT JOIN notifications n ON n.group_id = g.id"
    )
    return [tuple(map(str, row)) for row in found]


def test_the_product_watches_itself_and_is_healthy(watched: Watched) -> None:
    services = watched.stack.health()["services"]
    assert set(services) >= {"postgres", "redis", "workers", "beat", "web", "flower", "disk", "memory"}
    assert services["redis"]["memory_mb"] > 0
    assert services["workers"]["workers"] == 6
    assert all(queue["workers"] == 1 for queue in services["workers"]["queues"].values())
    assert watched.stack.command("status").returncode == 0
    eventually(lambda: service(watched, "postgres")["connections"] > 0, within=30, what="connections are counted")


def test_a_service_added_to_the_file_falls_and_rises_with_its_times(watched: Watched) -> None:
    port = free_port()
    text = f'\n[services.shop]\nkind = "http"\nurl = "http://127.0.0.1:{port}/ok"\ninterval = 5\ntimeout = 2\n'
    with watched.stack.with_catalogue(text):
        with local.web(port=port):
            eventually(lambda: service(watched, "shop").get("status") == "up", within=30, what="shop is up")
            assert watched.smm("check", "shop")[1]["readings"] == {"status_code": 200}
            stopped = time.time()
        eventually(lambda: service(watched, "shop")["status"] == "down", within=60, what="shop is down")
        noticed = time.time() - stopped
        assert noticed < 45
        ran = watched.stack.command("check", "shop", "--json", check=False)
        assert (ran.returncode, json.loads(ran.stdout)["error"]["code"]) == (1, "refused")
        with local.web(port=port):
            eventually(lambda: service(watched, "shop")["status"] == "up", within=60, what="shop is up again")
        incident = watched.smm("incidents", "--service", "shop")[1]["incidents"][0]
        assert 8 < incident["detection_seconds"] < 30
        assert incident["recovery_seconds"] > incident["detection_seconds"]
        see_it_in_the_figures_after_the_next_rollup(watched)
    eventually(lambda: not service(watched, "shop"), within=30, what="shop is gone again")


def see_it_in_the_figures_after_the_next_rollup(product: Watched) -> None:
    assert product.smm("schedule", "run", "health-rollup")[0] == 0
    eventually(
        lambda: product.stack.api("availability/shop")["uptime"]["24h"]["down_seconds"] > 0,
        within=30,
        what=lambda: f"shop was down: {product.smm('availability', 'shop')}",
    )
    found = product.smm("availability", "shop")[1]
    assert found["uptime"]["24h"]["incidents"] == found["recovery_seconds"]["count"] == 1
    assert found["uptime"]["24h"]["down_seconds"] == pytest.approx(found["recovery_seconds"]["mean"], abs=0.01)
    assert product.smm("availability")[1]["stack"]["uptime"]["24h"]["percent"] is not None
