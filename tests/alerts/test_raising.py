"""Signals become episodes in Postgres: once, in order, two at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

import celeryconfig
from app import signals
from app.alerts import advancing, raising, rules
from app.alerts.core import Policy
from app.catalog import AlertRule, Telling
from app.infra.db import read_only, unit_of_work
from app.jobs import spec, worker
from app.signals import Signal
from tasks.alerts import ON_SIGNAL, on_signal
from tests.fixtures.ledger import Ledger
from tests.fixtures.waiting import until
from tests.health.catalogs import tcp, use

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HANDLER = "tests.handler"
DOWN = {"on": "thing.down", "until": ["thing.up", "thing.gone"], "labels": {"thing": "{subject}"}}
WARNS = {"on": "thing.warns", "until": ["thing.warns_no_more", "thing.gone"], "labels": {"thing": "{subject}"}}
EVENT = {"on": "thing.dead", "expires_after": 60}

pytestmark = pytest.mark.usefixtures("database")


def telling(**written: dict[str, Any]) -> Telling:
    written = written or {"Down": DOWN, "Warns": WARNS, "Dead": EVENT}
    return Telling(alerts={name: AlertRule(name=name, **rule) for name, rule in written.items()})


def record(kind: str, subject: str = "x", **facts: Any) -> Signal:
    with unit_of_work() as uow:
        return signals.record(uow, kind, subject, labels={"a": "b"}, facts=facts)


def handle(signal: Signal, rules_: Telling | None = None, now: datetime = NOW) -> list[UUID]:
    with unit_of_work() as uow:
        return raising.apply(uow, signal, rules_ or telling(), handler=HANDLER, now=now)


def rows(query: str, **parameters: object) -> list[Any]:
    with read_only() as session:
        return list(session.execute(text(query), parameters))


def episodes(where: str = "true") -> list[Any]:
    return rows(f"SELECT * FROM alert_episodes WHERE {where} ORDER BY name, opened_at")


def history() -> list[str]:
    return [row.event for row in rows("SELECT event FROM alert_history ORDER BY at, id")]


def pass_time(now: datetime) -> None:
    with unit_of_work() as uow:
        advancing.advance_due(uow, now, Policy())


def test_a_signal_opens_an_episode_that_says_everything() -> None:
    rule = DOWN | {"severity": "error", "team": "platform", "summary": "{subject}: {facts.error}"}
    signal = record("thing.down", error="refused", since="2026-03-01 10:00:00+00:00")
    [episode] = handle(signal, telling(Down=rule))
    [row] = episodes()
    labels = {"alertname": "Down", "severity": "error", "team": "platform", "thing": "x"}
    assert (row.id, row.labels, row.annotations) == (episode, labels, {"summary": "x: refused"})
    assert (row.name, row.rule, row.subject, row.severity, row.team) == ("Down", "Down", "x", "error", "platform")
    assert (row.source, row.state, row.fired_at, row.opened_at, row.due_at) == ("signal", "firing", NOW, NOW, None)
    assert row.starts_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (row.occurrences, row.recent, row.routed, row.fingerprint) == (1, [signal.at], False, row.fingerprint)
    [told] = rows("SELECT * FROM alert_history")
    assert (told.event, told.episode_id) == ("opened", episode)
    assert told.facts == {"signal": str(signal.id), "kind": "thing.down", "source": "signal", "state": "firing"}


def test_the_same_again_is_one_more_occurrence_with_newer_words() -> None:
    rule = telling(Down=DOWN | {"summary": "{facts.error}", "impact": "{facts.impact}"})
    [first] = handle(record("thing.down", error="one", impact="much"), rule)
    [second] = handle(record("thing.down", error="two"), rule, NOW + timedelta(seconds=9))
    [row] = episodes()
    assert first == second == row.id
    assert (row.occurrences, row.updated_at, row.fired_at) == (2, NOW + timedelta(seconds=9), NOW)
    assert row.annotations == {"summary": "two", "impact": "much"}
    assert history() == ["opened"]


def test_an_end_is_for_its_rule_and_subject_only_and_time_resolves() -> None:
    for subject in ("x", "y"):
        handle(record("thing.down", subject))
        handle(record("thing.warns", subject))
    over = record("thing.up")
    [ended] = handle(over, now=over.at + timedelta(seconds=1))
    [row] = episodes("ends_explicitly")
    assert (row.id, row.rule, row.subject, row.state) == (ended, "Down", "x", "firing")
    assert row.ends_at == row.due_at == max(over.at, row.starts_at)
    pass_time(over.at + timedelta(seconds=2))
    [row] = episodes("state = 'resolved'")
    assert (row.id, row.resolved_by) == (ended, "resolved")
    assert handle(record("thing.up")) == []
    [new] = handle(record("thing.down"), now=over.at + timedelta(seconds=3))
    assert new != ended


def test_an_end_that_time_has_not_seen_is_taken_back() -> None:
    [first] = handle(record("thing.down"))
    handle(record("thing.up"))
    [again] = handle(record("thing.down"))
    [row] = episodes()
    assert (first, row.ends_at, row.ends_explicitly, row.due_at) == (again, None, False, None)
    assert history() == ["opened", "raised_again"]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_signals_of_one_subject_may_be_handled_in_any_order(order: tuple[int, ...]) -> None:
    made = [record("thing.down"), record("thing.up"), record("thing.down")]
    for place in order:
        handle(made[place])
    assert [row.state for row in episodes("NOT ends_explicitly")] == ["firing"]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_what_ended_before_it_was_handled_never_fires(order: tuple[int, ...]) -> None:
    made = [record("thing.warns"), record("thing.down"), record("thing.gone")]
    for place in order:
        handle(made[place])
    pass_time(NOW + timedelta(days=400))
    assert [row.state for row in episodes("state <> 'resolved'")] == []


@pytest.mark.parametrize("order", list(permutations(range(2))), ids=str)
def test_two_facts_of_one_moment_hide_neither_from_the_other(order: tuple[int, ...]) -> None:
    handle(record("thing.warns"))
    made = [record("thing.warns_no_more"), record("thing.down")]
    for place in order:
        handle(made[place])
    assert [(row.rule, row.ends_explicitly) for row in episodes()] == [("Down", False), ("Warns", True)]


def test_what_nothing_ends_is_raised_by_every_signal_however_late() -> None:
    made = [record("thing.dead") for _ in range(3)]
    for signal in reversed(made):
        handle(signal)
    [row] = episodes()
    assert (row.occurrences, row.ends_at, row.due_at) == (3, NOW + timedelta(seconds=60), NOW + timedelta(seconds=60))
    pass_time(NOW + timedelta(seconds=60))
    assert [row.resolved_by for row in episodes()] == ["timed_out"]


def test_failures_in_a_row_wait_for_the_last_one_and_an_end_breaks_the_row() -> None:
    rule = telling(Down=DOWN | {"count": 3})
    seen = []
    for kind in ("down", "down", "up", "down", "down", "down"):
        handle(record(f"thing.{kind}"), rule, NOW)
        seen.append(episodes("state <> 'resolved'")[0].state)
    assert seen == ["pending"] * 5 + ["firing"]
    assert history() == ["opened", "raised_again", "fired"]


def test_a_row_that_time_saw_broken_begins_with_a_new_episode() -> None:
    rule = telling(Down=DOWN | {"count": 2})
    handle(record("thing.down"), rule)
    last = record("thing.up")
    handle(last, rule, last.at)
    pass_time(last.at)
    handle(record("thing.down"), rule, last.at)
    assert sorted(row.state for row in episodes()) == ["pending", "resolved"]


def test_what_must_last_fires_when_time_says_so() -> None:
    rule = telling(Down=DOWN | {"for": 30})
    handle(record("thing.down"), rule)
    [row] = episodes()
    assert (row.state, row.due_at) == ("pending", NOW + timedelta(seconds=30))
    pass_time(NOW + timedelta(seconds=30))
    assert [row.state for row in episodes()] == ["firing"]


def test_a_window_that_passes_leaves_nothing_behind() -> None:
    rule = telling(Dead=EVENT | {"count": 3, "within": 10, "expires_after": 3600})
    handle(record("thing.dead"), rule)
    pass_time(NOW + timedelta(seconds=71))
    assert [row.resolved_by for row in episodes()] == ["never_confirmed"]


def test_an_alert_that_somebody_else_opened_becomes_ours_to_end() -> None:
    handle(record("thing.down"))
    with unit_of_work() as uow:
        uow.execute("UPDATE alert_episodes SET source = 'prometheus', rule = NULL, subject = NULL")
    handle(record("thing.down"))
    [row] = episodes()
    assert (row.source, row.rule, row.subject) == ("prometheus", "Down", "x")
    handle(record("thing.up"))
    assert episodes()[0].ends_explicitly


def test_one_alert_is_raised_without_a_signal() -> None:
    signal = Signal(UUID(int=1), "thing.down", "x", 1, {}, {}, NOW)
    raised = rules.raised(telling().alerts["Down"], signal)
    with unit_of_work() as uow:
        first = raising.raise_now(uow, raised, NOW, source="watchdog", facts={"spooled": True})
    with unit_of_work() as uow:
        assert raising.raise_now(uow, raised, NOW, source="watchdog") == first
    [row] = episodes()
    assert (row.id, row.source, row.occurrences) == (first, "watchdog", 2)
    [told] = rows("SELECT facts FROM alert_history")
    assert told.facts == {"spooled": True, "source": "watchdog", "state": "firing"}
    handle(record("thing.up"))
    assert episodes()[0].ends_explicitly


def test_what_a_forgotten_rule_raised_is_ended() -> None:
    handle(record("thing.down"))
    handle(record("thing.warns"))
    with unit_of_work() as uow:
        assert len(raising.end_forgotten(uow, telling(Down=DOWN), NOW)) == 1
        assert raising.end_forgotten(uow, telling(Down=DOWN), NOW) == []
    assert [(row.rule, row.ends_explicitly) for row in episodes()] == [("Down", False), ("Warns", True)]


def at_once(*actions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)


def test_two_transactions_that_open_one_alert_open_it_once() -> None:
    first, second = record("thing.dead"), record("thing.dead", "y")
    with unit_of_work() as uow:
        [mine] = raising.apply(uow, first, telling(), handler=HANDLER, now=NOW)
        found: list[UUID] = []
        waiting = threading.Thread(target=lambda: found.extend(handle(second)))
        waiting.start()
        until(lambda: rows("SELECT 1 FROM pg_locks WHERE NOT granted"), what="the second one waits for the first")
        assert found == []
    waiting.join(timeout=30)
    assert found == [mine]
    [row] = episodes()
    assert row.occurrences == 2


def test_of_a_crowd_none_is_lost() -> None:
    made = [record("thing.dead", f"s{number}") for number in range(12)]
    at_once(*[lambda signal=signal: handle(signal) for signal in made])
    assert [(row.occurrences, row.state) for row in episodes()] == [(12, "firing")]
    assert history() == ["opened"]


def test_when_the_first_one_is_rolled_back_the_second_one_opens_it() -> None:
    first, second = record("thing.dead"), record("thing.dead", "y")
    waiting = threading.Thread(target=lambda: handle(second))
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        raising.apply(uow, first, telling(), handler=HANDLER, now=NOW)
        waiting.start()
        until(lambda: rows("SELECT 1 FROM pg_locks WHERE NOT granted"), what="the second one waits for the first")
        raise ZeroDivisionError
    waiting.join(timeout=30)
    assert [row.occurrences for row in episodes()] == [1]


@pytest.fixture
def subscribed(ledger: Ledger) -> Iterator[Ledger]:
    signals.configure(celeryconfig.SUBSCRIPTIONS)
    yield ledger
    signals.configure(celeryconfig.SUBSCRIPTIONS)


def run_jobs(ledger: Ledger) -> None:
    """Run every waiting job of ours as a worker would."""
    for row in ledger.sql("SELECT id FROM jobs WHERE task = :task ORDER BY id", task=ON_SIGNAL):
        claimed = ledger.claim(row.id)
        assert claimed is not None
        worker.run(claimed, spec.get(ON_SIGNAL), on_signal)


def test_a_recorded_signal_becomes_an_alert_by_the_catalogue_in_force(
    subscribed: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = '[alerts.Down]\non = "health.down"\nuntil = "health.up"\nseverity = "{labels.severity}"\n'
    use(monkeypatch, home, tcp("web", team='"platform"') + rule)
    with unit_of_work() as uow:
        signals.record(uow, "health.down", "web", labels={"service": "web", "severity": "critical"})
    run_jobs(subscribed)
    [row] = episodes()
    assert (row.name, row.service, row.severity, row.team) == ("Down", "web", "critical", "platform")
    with unit_of_work() as uow:
        signals.record(uow, "health.up", "web", labels={"service": "web", "severity": "critical"})
    run_jobs(subscribed)
    assert episodes()[0].ends_explicitly


def test_that_the_handler_itself_died_raises_nothing_without_looking_at_the_catalogue(
    subscribed: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, "this is no catalogue")
    with unit_of_work() as uow:
        signals.record(uow, "jobs.dead", f"task:{ON_SIGNAL}", labels={"task": ON_SIGNAL, "queue": "critical"})
    run_jobs(subscribed)
    assert episodes() == []
    assert subscribed.sql("SELECT 1 FROM jobs") == []


LIMITED = {
    "on": "limits.crossed",
    "until": "limits.reset",
    "about": "{subject} {labels.limit}",
    "labels": {"limit": "{labels.limit}"},
}


def limited(kind: str, limit: str) -> Signal:
    with unit_of_work() as uow:
        return signals.record(uow, kind, "account", labels={"limit": limit})


def test_what_ends_one_thing_of_a_subject_leaves_the_others_of_the_same_rule() -> None:
    found = telling(Limited=LIMITED)
    for limit in ("hourly", "daily"):
        handle(limited("limits.crossed", limit), found)
    handle(limited("limits.reset", "hourly"), found)
    assert {row.labels["limit"]: row.ends_explicitly for row in episodes()} == {"hourly": True, "daily": False}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_things_of_a_subject_do_not_overtake_one_another(order: tuple[int, ...]) -> None:
    found = telling(Limited=LIMITED)
    told = [
        limited("limits.crossed", "hourly"), limited("limits.crossed", "daily"), limited("limits.reset", "hourly"),
    ]  # fmt: skip
    for place in order:
        handle(told[place], found)
    still = {row.labels["limit"] for row in episodes("NOT ends_explicitly")}
    assert still == {"daily"}
