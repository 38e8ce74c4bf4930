"""Due checks claimed, probed, stored; dependants sent for; heartbeats taken."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import tasks.health
from app import health, signals
from app.config import settings
from app.errors import NotFound
from app.health.probing import CannotTell
from app.infra import queue
from app.infra.db import read_only, unit_of_work
from app.jobs import spec
from tasks.celery import celery, compose
from tests.health import catalogs, local
from tests.health.catalogs import catalog_of, tcp


def service(name: str):
    with read_only() as session:
        return session.execute(text("SELECT *, now() AS now FROM services WHERE name = :n"), {"n": name}).one()


def sync(content: str) -> None:
    with unit_of_work() as uow:
        health.sync_catalog(uow, catalog_of(content))


def claim(**more: int) -> list[list[str]]:
    with unit_of_work() as uow:
        return health.claim_due(uow, **more)


def set_(name: str, assignment: str) -> None:
    with unit_of_work() as uow:
        uow.execute(f"UPDATE services SET {assignment} WHERE name = :name", name=name)


@pytest.mark.usefixtures("database")
class TestClaiming:
    def test_a_claimed_check_is_not_due_again_before_its_interval(self):
        sync(tcp("web", interval=30) + tcp("api"))
        assert claim() == [["api", "web"]]
        assert claim() == []
        found = service("web")
        assert timedelta(seconds=29) < found.next_check_at - found.now <= timedelta(seconds=30)

    def test_a_failing_service_comes_sooner_but_never_while_its_probe_may_still_run(self):
        sync(tcp("quick", timeout=1) + tcp("slow", timeout=10))
        for name in ("quick", "slow"):
            set_(name, "failures = 1")
        claim()
        waits = [round((service(name).next_check_at - service(name).now).total_seconds()) for name in ("quick", "slow")]
        assert waits == [5, 12]

    def test_a_service_that_is_down_keeps_its_interval_until_its_first_success(self):
        sync(tcp("web", timeout=1))
        for assignment, wait in (("state = 'down', failures = 9", 60), ("failures = 0, successes = 1", 5)):
            set_("web", f"{assignment}, next_check_at = now()")
            claim()
            assert round((service("web").next_check_at - service("web").now).total_seconds()) == wait

    def test_what_falls_due_before_the_middle_of_the_next_tick_is_taken_now(self):
        sync(tcp("soon") + tcp("later"))
        set_("soon", "next_check_at = now() + interval '2 s'")
        set_("later", "next_check_at = now() + interval '4 s'")
        assert claim() == [["soon"]]

    def test_the_watchdogs_services_and_absent_ones_are_not_the_engines(self):
        sync('[services.db]\nkind = "postgres"\n' + tcp("web") + tcp("gone"))
        sync('[services.db]\nkind = "postgres"\n' + tcp("web"))
        assert claim() == [["web"]]

    def test_batches_are_cut_and_the_limit_is_kept(self):
        sync("".join(tcp(f"s{number:02}") for number in range(12)))
        assert [len(names) for names in claim(limit=10, batch=4)] == [4, 4, 2]
        assert [len(names) for names in claim(limit=10, batch=4)] == [2]

    def test_two_ticks_at_once_share_the_work(self):
        sync("".join(tcp(f"s{number:02}") for number in range(40)))
        both: list[str] = []
        barrier = threading.Barrier(2)

        def take() -> None:
            with unit_of_work() as uow:
                barrier.wait(10)
                both.extend(name for names in health.claim_due(uow, limit=20) for name in names)
                barrier.wait(10)

        threads = [threading.Thread(target=take) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(both) == len(set(both)) == 40

    def test_the_deep_cycle_makes_everything_due(self):
        sync(tcp("web") + tcp("api"))
        claim()
        with unit_of_work() as uow:
            assert health.deep_cycle(uow) == 2
        assert claim() == [["api", "web"]]

    def test_what_the_broker_did_not_take_is_due_again_at_the_next_tick(self, database, home, monkeypatch):
        content = tcp("web") + tcp("api")
        catalogs.use(monkeypatch, home, content)
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{local.closed_port()}/0")
        settings.cache_clear()
        queue.after_fork()
        tasks.health.claim_due()
        assert claim() == [["api", "web"]]


class TestChecking:
    def test_a_batch_is_probed_and_stored_and_names_that_left_are_passed_over(self, database, home, monkeypatch, web):
        content = f'[services.web]\nkind = "http"\nurl = "{web.url}/ok"\n' + tcp("api", local.closed_port())
        catalogs.use(monkeypatch, home, content)
        with unit_of_work() as uow:
            health.sync_current_catalog(uow)
        assert health.check_services(["web", "api", "gone"]) == 2
        assert (service("web").state, service("web").last_result["readings"]) == ("up", {"status_code": 200})
        assert (service("api").failures, service("api").last_result["error"]["code"]) == (1, "refused")

    def test_a_slow_service_does_not_hold_the_others_results(self, database, home, monkeypatch, web, silent_port):
        """The quick one is stored while the slow one is still being probed."""
        content = tcp("slow", silent_port, expect='"x"', timeout=3)
        content += f'[services.quick]\nkind = "http"\nurl = "{web.url}/ok"\n'
        catalogs.use(monkeypatch, home, content)
        sync(content)
        thread = threading.Thread(target=health.check_services, args=(["slow", "quick"],))
        thread.start()
        seen = False
        while thread.is_alive() and not seen:
            seen = service("quick").state == "up" and service("slow").last_result is None
        thread.join(20)
        assert seen
        assert service("slow").last_result["error"]["code"] == "timeout"

    def test_a_check_of_one_service_tells_its_result(self, database, home, monkeypatch, web):
        content = f'[services.web]\nkind = "http"\nurl = "{web.url}/error"\n'
        catalogs.use(monkeypatch, home, content)
        sync(content)
        spec, verdict = health.probe_now("web")
        with unit_of_work() as uow:
            health.store_now(uow, spec, verdict)
        told = health.told(spec, verdict)
        assert (told["service"], told["ok"], told["error"]["code"]) == ("web", False, "status")
        assert service("web").failures == 1

    def test_a_check_of_an_unknown_service_is_refused_by_name(self, home: Path, monkeypatch):
        catalogs.use(monkeypatch, home, tcp("web"))
        with pytest.raises(NotFound, match="no service wbe"):
            health.probe_now("wbe")


class TestHeartbeats:
    content = '[services.cron]\nkind = "heartbeat"\nperiod_seconds = 60\n'

    def test_one_that_calls_is_up_and_one_that_never_called_is_not_judged_yet(self, database, home, monkeypatch):
        catalogs.use(monkeypatch, home, self.content)
        sync(self.content)
        assert isinstance(health.probe_now("cron")[1], CannotTell)
        with unit_of_work() as uow:
            health.beat(uow, "cron")
        assert health.check_services(["cron"]) == 1
        assert service("cron").state == "up"

    def test_a_first_call_is_judged_at_the_next_tick(self, database):
        sync(self.content)
        claim()
        assert claim() == []
        with unit_of_work() as uow:
            health.beat(uow, "cron")
        assert claim() == [["cron"]]

    def test_a_call_for_a_service_of_another_kind_is_refused(self, database):
        sync(tcp("web"))
        with pytest.raises(NotFound, match="no heartbeat service web"), unit_of_work() as uow:
            health.beat(uow, "web")


class TestDependants:
    def test_what_depends_on_a_service_that_changed_is_due_at_once_and_only_for_news(self, database):
        sync(tcp("db") + tcp("web", depends_on='["db"]') + tcp("api"))
        claim()
        with unit_of_work() as uow:
            signal = signals.record(uow, "health.down", "db")
        for expected in (["web"], []):
            with unit_of_work() as uow:
                assert health.on_flip(uow, signal.id, handler="test") == expected
        assert claim() == [["web"]]


def test_the_health_tasks_are_declared_with_their_contracts(database):
    compose()
    assert spec.get("tasks.health.check_service").published
    assert {f"tasks.health.{name}" for name in ("claim_due", "check_batch", "deep_cycle", "on_signal")} <= set(
        celery.tasks
    )
