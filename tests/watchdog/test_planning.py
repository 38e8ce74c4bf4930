"""Whom the watchdog calls: the same people, in the same thread, with the same words as the engine would."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app import catalog, clock, signals
from app.alerts import raising
from app.alerts.imported import PageState
from app.alerts.matchers import Matcher
from app.alerts.muting import Silence
from app.alerts.oncall import Swap
from app.health import record, sync_catalog
from app.infra.db import read_only, unit_of_work
from app.watchdog import planning
from app.watchdog.known import Known
from tests.health.catalogs import use
from tests.watchdog import paging
from tests.watchdog.paging import RULES, service, webhook

NOW = clock.now()


@pytest.fixture
def catalogue(home: Path, monkeypatch: pytest.MonkeyPatch):
    def written(*parts: str) -> None:
        use(monkeypatch, home, "\n".join(parts) + RULES)

    written(service(), service("postgres"), webhook())
    return written


def silence(**labels: str) -> Silence:
    return Silence(
        id="s1",
        matchers=tuple(Matcher(name, value) for name, value in labels.items()),
        starts_at=NOW - timedelta(hours=1),
        ends_at=NOW + timedelta(hours=1),
        created_by="ann",
        comment="moving house",
    )


@pytest.mark.usefixtures("catalogue")
def test_the_call_has_everything_that_people_and_the_engine_need():
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    (page,) = call.pages
    assert (page.channel, page.destination, page.recipient) == ("ops", "", "channel:ops")
    assert (page.state, page.attempts, page.in_doubt) == (PageState.WAITING, 0, False)
    assert page.message["thread"] == call.thread
    assert page.message["key"] == str(page.id)
    assert page.message["title"] == "SMM_ServiceDown on redis"
    assert page.message["summary"] == "redis is down: connection refused"
    assert page.message["note"] == planning.NOTE
    assert page.message["links"][0]["label"] == "Acknowledge"
    assert call.group["ladder"]["name"] == "critical"
    assert call.group["labels"] == {"alertname": "SMM_ServiceDown", "service": "redis"}


def test_alert_and_thread_are_those_that_the_engine_makes_of_the_recorded_signal(catalogue, database: str):
    fallen = paging.fall()
    with unit_of_work() as uow:
        sync_catalog(uow, catalog.current())
        record(uow, paging.results_of(fallen), source="watchdog", in_maintenance=lambda *_: False)
    with read_only() as session:
        (stored,) = signals.timeline(session, kind="health.down")
    made = planning.signal_of(fallen, NOW)
    assert (made.kind, made.subject, made.labels) == (stored.kind, stored.subject, stored.labels)
    assert made.facts | {"incident_id": None} == stored.facts | {"incident_id": None}
    (call,) = planning.plan(fallen, paging.look()).calls
    with unit_of_work() as uow:
        raising.apply(uow, stored, catalog.current().telling, handler="test", now=NOW)
        (episode,) = uow.execute("SELECT * FROM alert_episodes").all()
    (raised,) = call.raised
    assert (raised.fingerprint, raised.labels, raised.annotations, raised.severity, raised.team) == (
        episode.fingerprint,
        episode.labels,
        episode.annotations,
        episode.severity,
        episode.team,
    )
    assert raised.starts_at == episode.starts_at


@pytest.mark.usefixtures("catalogue")
def test_a_silenced_alert_is_not_called_for_and_the_reason_is_named():
    made = planning.plan(paging.fall(), paging.look(Known((silence(service="redis"),))))
    assert made.calls == ()
    assert made.held == ("SMM_ServiceDown: silence, ann: moving house",)
    assert planning.plan(paging.fall("postgres"), paging.look(Known((silence(service="redis"),)))).calls


@pytest.mark.usefixtures("catalogue")
def test_a_silence_that_is_over_holds_nothing():
    known = Known((silence(service="redis"),))
    assert planning.plan(paging.fall(), paging.look(known, NOW + timedelta(hours=2))).calls


def test_in_a_maintenance_window_nobody_is_called(catalogue):
    start, end = ((NOW + timedelta(hours=hours)).isoformat() for hours in (-1, 1))
    window = f'maintenance = [{{from = {start}, until = {end}, reason = "move"}}]\n'
    catalogue(service(more=window), webhook())
    assert planning.plan(paging.fall(), paging.look()).held == ("maintenance",)


def test_a_fall_that_another_one_explains_is_held_by_the_catalogues_inhibitions(catalogue):
    rule = "source = ['service=\"postgres\"']\ntarget = ['service=\"redis\"']\nreason = 'it is the disk'\n"
    inhibition = f"[[inhibitions]]\n{rule}"
    catalogue(service(), service("postgres"), webhook(), inhibition)
    (cause,) = planning.plan(paging.fall("postgres"), paging.look()).calls
    made = planning.plan(paging.fall(), paging.look(), called=[cause])
    assert made.held == ("SMM_ServiceDown: inhibition, it is the disk",)
    assert planning.plan(paging.fall(), paging.look(), called=[replace(cause, over=True)]).calls


def test_a_fall_is_held_while_a_call_stands_about_what_it_depends_on(catalogue):
    catalogue(service(more="depends_on = ['postgres']\n"), service("postgres"), webhook())
    (cause,) = planning.plan(paging.fall("postgres"), paging.look()).calls
    made = planning.plan(paging.fall(), paging.look(), called=[cause])
    assert made.held == ("SMM_ServiceDown: inhibition, postgres, on which it depends, is down",)
    assert planning.plan(paging.fall(), paging.look(), called=[replace(cause, over=True)]).calls


def test_nobody_to_tell_and_no_rule_are_said(catalogue, home: Path, monkeypatch: pytest.MonkeyPatch):
    catalogue(service(), webhook(more="enabled = false\n"))
    assert planning.plan(paging.fall(), paging.look()).held == ("SMM_ServiceDown: nobody is configured to be told",)
    use(monkeypatch, home, service())
    assert planning.plan(paging.fall(), paging.look()).held == ("no rule raises an alert for it",)


def test_a_rule_that_waits_is_waited_for(catalogue, home: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, home, service() + webhook() + RULES.replace('team = "platform"', 'team = "platform"\nfor = 60'))
    fallen = paging.fall()
    assert planning.plan(fallen, paging.look()).held == ("SMM_ServiceDown: it has not lasted for 60 s yet",)
    assert planning.plan(fallen, paging.look(now=fallen.began_at + timedelta(seconds=61))).calls


def test_whoever_took_over_the_rotation_is_called(catalogue, home: Path, monkeypatch: pytest.MonkeyPatch):
    people = "".join(
        f"[people.{name}]\ncontacts = [{{channel = 'mail', to = '{name}@example.com'}}]\n" for name in ("ann", "ben")
    )
    mail = "[channels.mail]\nkind = 'email'\nhost = 'mail.example.com'\nfrom = 'a@example.com'\n"
    rotation = "[rotations.first]\nmembers = ['ann']\nstart = 2026-01-05\n"
    rules = RULES.replace('notify = ["channel:ops"]\n\n[routing]', 'notify = ["on-call:first"]\n\n[routing]')
    use(monkeypatch, home, service() + webhook() + mail + people + rotation + rules)

    def called(known: Known) -> list[str]:
        (call,) = planning.plan(paging.fall(), paging.look(known)).calls
        return [page.destination for page in call.pages]

    assert called(Known()) == ["ann@example.com"]
    swap = Swap("ben", NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    assert called(Known(swaps={"first": (swap,)})) == ["ben@example.com"]


def test_two_alerts_of_one_fall_in_one_thread_are_one_call(catalogue, home: Path, monkeypatch: pytest.MonkeyPatch):
    second = "[alerts.SMM_Other]\non = 'health.down'\nuntil = 'health.up'\nseverity = 'critical'\n"
    grouped = RULES.replace('["alertname", "service"]', '["service"]')
    use(monkeypatch, home, service() + webhook() + second + grouped)
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    assert [raised.name for raised in call.raised] == ["SMM_Other", "SMM_ServiceDown"]
    assert len(call.pages) == 1
    assert call.pages[0].message["firing"] == 2


def test_another_way_is_the_channels_own_then_those_of_what_it_stands_in_for(catalogue):
    catalogue(
        service(),
        webhook(more="fallback = ['second', 'off', 'third']\n"),
        webhook(name="second"),
        webhook(name="off", more="enabled = false\n"),
        webhook(name="third"),
    )
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    channels, pages = [], list(call.pages)
    while (made := planning.instead(replace(call, pages=tuple(pages)), pages[-1], catalog.current())) is not None:
        pages.append(made)
        channels.append(made.channel)
    assert channels == ["second", "third"]
    assert pages[1].fallback_of == pages[0].id
    assert pages[1].message["key"] == str(pages[1].id)
    assert "Sent here because ops could not deliver it." in pages[1].message["note"]
