"""The tick: troubles that are over are closed whoever stands before them, and one service never holds another."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.infra.db import unit_of_work
from app.recovery import control, reading, store, sweeping, told
from app.recovery.core import Done, StepState, Verdict
from tests.fixtures.waiting import until
from tests.recovery.field import PLAYBOOK, service_of


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes up two services."""
    monkeypatch.setattr(sweeping, "MOST", 2)


def window() -> str:
    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return f'[{{from = {begin:%Y-%m-%dT%H:%M:%SZ}, until = {end:%Y-%m-%dT%H:%M:%SZ}, reason = "a move"}}]'


def test_what_stands_for_long_hides_nothing_that_is_over(play: Any, few: None) -> None:
    field = play.begin("".join(service_of(name) for name in ("a", "b", "c", "d")) + PLAYBOOK)
    for name in ("a", "b", "c", "d"):
        field.fall(name)
        field.work()
    field.rise("d")
    field.look()
    assert [run.over_at is not None for run in field.runs()] == [False, False, False, True]


def test_services_in_maintenance_hide_none_that_are_not(play: Any, few: None) -> None:
    field = play.begin(
        "".join(service_of(name, maintenance=window()) for name in ("a", "b", "c")) + service_of("d") + PLAYBOOK
    )
    for name in ("a", "b", "c", "d"):
        field.fall(name)
    field.sql("DELETE FROM jobs")
    field.look()
    assert [run.service for run in field.runs()] == ["d"]


def test_a_service_that_cannot_be_begun_for_holds_no_other(play: Any) -> None:
    field = play.begin(service_of("a") + service_of("b") + PLAYBOOK)
    field.fall("a")
    field.fall("b")
    field.sql("DELETE FROM jobs")
    field.sql("ALTER TABLE recovery_runs ADD CONSTRAINT none_for_a CHECK (service <> 'a')")
    with pytest.raises(Exception, match="a: "):
        sweeping.look()
    assert [run.service for run in field.runs()] == ["b"]


def test_a_failure_is_over_when_its_trouble_is_whatever_people_did(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.rise("qdrant")
    field.start("restart", "qdrant")
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.ESCALATED
    field.look()
    field.look()
    (over,) = field.signals("recovery.over")
    assert (over.subject, over.labels["playbook"], over.facts["run"]) == ("qdrant", "restart", str(run.id))


def test_the_alert_about_a_failure_ends_with_its_trouble(play: Any) -> None:
    shipped = Path("deploy/smm-admin.toml").read_text()
    rule = shipped[shipped.index("[alerts.SMM_RecoveryFailed]") : shipped.index("#[alerts.SMM_ServiceWarning]")]
    field = play.begin(service_of("qdrant") + PLAYBOOK + rule)
    field.rise("qdrant")
    field.start("restart", "qdrant")
    field.work()
    field.work(only="tasks.alerts.on_signal")
    alerts = "SELECT ends_explicitly FROM alert_episodes WHERE name = 'SMM_RecoveryFailed'"
    assert [row.ends_explicitly for row in field.sql(alerts)] == [False]
    field.look()
    field.work(only="tasks.alerts.on_signal")
    assert [row.ends_explicitly for row in field.sql(alerts)] == [True]


def test_one_failure_of_two_that_is_over_is_not_the_end_of_the_other(play: Any) -> None:
    text = PLAYBOOK + PLAYBOOK[PLAYBOOK.index("[playbooks.restart]") :].replace("restart]", "other]").replace(
        '"health.down"', '["health.down", "health.degraded"]'
    )
    field = play.begin(service_of("qdrant") + text)
    field.fall("qdrant")
    field.work()
    field.age(seconds=6)
    field.work()
    assert [run.verdict for run in field.runs()] == [Verdict.ESCALATED] * 2
    field.sql("UPDATE services SET state = 'degraded', announced = 'degraded' WHERE name = 'qdrant'")
    field.look()
    assert field.signals("recovery.over") == []
    field.rise("qdrant")
    field.look()
    assert len(field.signals("recovery.over")) == 1


def test_a_service_that_flaps_is_a_matter_for_people_once(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    for _ in range(6):
        field.work()
        field.sql("UPDATE services SET state = 'up', flapping = true WHERE name = 'qdrant'")
        field.look()
        field.sql("UPDATE services SET state = 'down' WHERE name = 'qdrant'")
        field.look()
    assert len(field.runs()) == 1
    assert len(field.signals("recovery.escalated")) == 1
    field.sql("UPDATE services SET state = 'up', announced = 'up', flapping = false WHERE name = 'qdrant'")
    field.look()
    assert field.runs()[0].over_at is not None


def test_what_rose_while_others_decided_is_left_alone(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    with unit_of_work() as uow:
        store.take_guards(uow)
        looking = threading.Thread(target=sweeping.look)
        looking.start()
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: field.sql(waits))
        field.rise("qdrant")
    looking.join()
    assert field.runs() == []


def test_a_dry_run_does_not_keep_the_real_one_waiting(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("cooldown = 0", "cooldown = 60"))
    field.start("restart", "qdrant", dry_run=True)
    field.work()
    field.fall("qdrant")
    field.work()
    assert len(field.poke.asked) == 1


def test_when_dry_runs_are_over_what_is_still_down_is_repaired(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("cooldown = 0", "cooldown = 0\ndry_run = true"))
    field.fall("qdrant")
    field.work()
    field.look()
    assert [run.verdict for run in field.runs()] == [Verdict.SIMULATED]
    play.begin(service_of("qdrant") + PLAYBOOK)
    field.look()
    assert [run.verdict for run in field.runs()] == [Verdict.SIMULATED, Verdict.ESCALATED]


def test_an_alert_says_for_what_a_repair_waits(play: Any) -> None:
    shipped = Path("deploy/smm-admin.toml").read_text()
    rule = shipped[shipped.index("[alerts.SMM_ServiceDown]") : shipped.index("[alerts.SMM_ServiceDegraded]")]
    field = play.begin(
        "".join(service_of(name, severity='"critical"') for name in ("one", "two"))
        + PLAYBOOK.replace("after = 0", "after = 30")
        + rule
    )
    for name in ("one", "two"):
        field.fall(name)
        field.work(only="tasks.alerts.on_signal")
    field.work()
    (alert,) = field.sql("SELECT annotations FROM alert_episodes WHERE service = 'two'")
    assert alert.annotations["actions_taken"] == (
        "waits: one is under repair, and so few critical services may be at once"
    )


def test_an_alert_says_what_was_done_last_however_much_was_done(play: Any) -> None:
    plenty = "cooldown = 0\nrestarts_per_service = 99\nrestarts_in_all = 99"
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("cooldown = 0", plenty))
    field.poke.result = lambda work: Done(f"poked it for the {len(field.poke.asked)}th time")
    for _ in range(25):
        field.start("restart", "qdrant")
        field.work()
    with unit_of_work() as uow:
        lines = told.lines_of(uow.session, "qdrant", clock.now())
        shown = reading.action_taken(uow.session, clock.now())
    assert "poked it for the 25th time" in "\n".join(lines)
    assert shown is not None
    assert shown.index("the 24th") < shown.index("the 25th")


def test_a_run_that_its_watchdog_left_ends_and_the_engine_repairs(play: Any) -> None:
    field = play.begin(service_of("qdrant", watched_by='"watchdog"') + PLAYBOOK)
    field.start("restart", "qdrant")
    play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    field.look()
    assert len(field.runs()) == 1, "the watchdog may yet end it by itself"
    field.age(minutes=6)
    field.look()
    field.look()
    assert [run.verdict for run in field.runs()] == [Verdict.ABORTED, Verdict.ESCALATED]


def test_an_abort_that_no_watchdog_carries_out_is_carried_out(play: Any) -> None:
    field = play.begin(service_of("qdrant", watched_by='"watchdog"') + PLAYBOOK)
    run_id = field.start("restart", "qdrant")
    field.age(minutes=6)
    field.look()
    assert field.runs()[0].ended_at is None
    with unit_of_work() as uow:
        control.abort(uow, run_id, by="ann")
    field.age(minutes=6)
    field.look()
    (run,) = field.runs()
    assert (run.verdict, {step.state for step in run.steps}) == (Verdict.ABORTED, {StepState.SKIPPED})


def test_what_a_watchdog_has_just_ended_is_not_called_over_by_what_was_stored_before_it(play: Any) -> None:
    field = play.begin(service_of("qdrant", watched_by='"watchdog"') + PLAYBOOK)
    field.rise("qdrant")
    field.start("restart", "qdrant")
    field.sql("UPDATE recovery_runs SET verdict = 'escalated', ended_at = now(), due_at = NULL, started_by = 'signal'")
    field.look()
    assert field.runs()[0].over_at is None
    field.age(minutes=6)
    field.look()
    assert field.runs()[0].over_at is not None
