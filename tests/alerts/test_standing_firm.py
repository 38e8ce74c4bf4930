"""What must not stop the pipeline or lose a page: odd values, files that went away, groups with nothing to say."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app import clock
from app.alerts import auditing, explain, history, silences, store, synthetic
from app.alerts.matchers import Matcher
from app.infra.db import unit_of_work
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.fixtures.waiting import until
from tests.health.catalogs import use

__all__ = ["pipe"]  # the fixture


def never_open() -> str:
    """Business hours that begin in six hours at the earliest, wherever the clock of this test stands."""
    day = (clock.now().astimezone(ZoneInfo("UTC")) + timedelta(days=2)).strftime("%A").lower()
    return f'{{days = ["{day}"], from = "10:00", to = "11:00", timezone = "UTC"}}'


def silence(**labels: str) -> None:
    now = clock.now()
    with unit_of_work() as uow:
        silences.create(
            uow,
            matchers=[Matcher(name, value) for name, value in labels.items()],
            starts_at=now,
            ends_at=now + timedelta(hours=8),
            created_by="ann",
            comment="known",
            now=now,
        )


def test_answered_groups_of_which_one_alert_ended_do_not_keep_others_from_being_told(pipe: Pipe) -> None:
    lasting, ending = [], []
    for number in range(105):
        lasting.append(pipe.fire(f"Known{number}", instance="a"))
        ending.append(pipe.fire(f"Known{number}", instance="b"))
    pipe.run()
    for episode in (*lasting, *ending):
        pipe.acknowledge(episode, 240)
    pipe.run()
    pipe.end(*ending)
    pipe.later(minutes=2)
    assert pipe.run()["looked_at"] == 0
    new = pipe.fire("New", severity="critical")
    pipe.run()
    assert pipe.episode(new).told_at is not None


def test_a_critical_alert_in_a_group_that_waits_for_business_hours_is_told_at_once(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = CATALOG.replace('[[routing.routes]]\nmatchers = [\'severity="critical"\']\nreceiver = "pages"\n', "")
    catalog += f"""
[ladders.warning]
business_hours = true
steps = [{{after_minutes = 240, notify = ["person:head"]}}]

[teams.shop]
hours = {never_open()}
"""
    use(monkeypatch, home, catalog)
    pipe.fire("Disk", severity="warning", team="shop")
    pipe.sql("UPDATE alert_episodes SET team = 'shop'")
    pipe.run()
    assert pipe.told() == []
    worse = pipe.fire("Disk", severity="critical", team="shop")
    pipe.sql("UPDATE alert_episodes SET team = 'shop'")
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    assert pipe.episode(worse).told_at is not None
    pipe.later(minutes=31)
    assert pipe.told()[1:] == [("escalated", "ops")]


def test_a_silenced_alert_is_not_spoken_of_in_the_message_of_its_group(pipe: Pipe) -> None:
    silence(instance="known")
    pipe.fire("Disk", severity="error", instance="known")
    pipe.fire("Disk", severity="warning", instance="new")
    pipe.run()
    [message] = pipe.messages()
    assert [alert["labels"]["instance"] for alert in message["alerts"]] == ["new"]
    assert (message["severity"], message["firing"]) == ("warning", 1)


def test_a_receiver_that_reaches_nobody_leaves_the_ladder_to_be_climbed(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = CATALOG.replace(
        'routing_key = "0123456789abcdef0123456789abcdef"',
        'routing_key = "0123456789abcdef0123456789abcdef"\nenabled = false',
    )
    catalog = catalog.replace('notify = ["channel:pager", "channel:ops"]', 'notify = ["channel:pager"]')
    use(monkeypatch, home, catalog)
    with pipe.read() as session:
        planned = explain.dry_run(session, {"alertname": "Down", "severity": "critical"}, now=clock.now())["routes"][0]
    assert [item["shown"] for item in planned["recipients"]] == ["person:head by ops"]
    assert planned["not_told"] == ["the receiver reaches nobody: step 1 of the ladder is told at once"]
    pipe.fire("Down", severity="critical")
    pipe.run()
    assert pipe.told() == [("first", "ops")], "the head of technology can be reached"
    pipe.later(minutes=31)
    assert pipe.told()[1:] == [("escalated", "ops")]


def test_a_value_that_looks_like_a_time_before_all_times_does_not_stop_the_pipeline(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = CATALOG + '\n[alerts.Down]\nsummary = "{labels.platform} is down"\n'
    use(monkeypatch, home, catalog)
    odd = pipe.fire("Down", platform="0001-01-01 00:00:00+14:00")
    pipe.sql("UPDATE alert_episodes SET annotations = '{}'")
    other = pipe.fire("Other")
    pipe.run()
    assert pipe.episode(other).told_at is not None
    assert pipe.episode(odd).told_at is not None


def test_a_certificate_file_that_went_away_does_not_keep_other_channels_from_being_told(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = home / "ca.pem"
    ca.write_text("x")
    mail = f"""
[channels.mail]
kind = "email"
host = "mail.example.com"
from = "a@example.com"
to = ["b@example.com"]
ca_file = "{ca}"
"""
    use(monkeypatch, home, CATALOG + mail)
    pipe.run()
    ca.unlink()
    pipe.fire("Other")
    pipe.run()
    assert pipe.told() == [("first", "ops")]


def test_maintenance_without_an_end_does_not_stop_the_pipeline(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = (
        CATALOG
        + """
[[mutes]]
matchers = ['alertname="Old"']
window = {from = 2020-01-01T00:00:00Z, until = 9999-12-31T23:59:59-05:00, reason = "for ever"}
"""
    )
    use(monkeypatch, home, catalog)
    pipe.fire("Old")
    pipe.fire("New")
    pipe.run()
    assert pipe.told() == [("first", "ops")]


def test_a_group_that_cannot_be_told_keeps_no_other_from_being_told_and_is_found(
    pipe: Pipe,
) -> None:
    odd, other = pipe.fire("Odd"), pipe.fire("Other")
    pipe.run()
    told = len(pipe.told())
    pipe.sql("UPDATE alert_groups SET timing = '{}' WHERE labels ->> 'alertname' = 'Odd'")
    pipe.end(odd, other)
    pipe.run()
    assert pipe.told()[told:] == [("resolved", "ops")]
    with pipe.read() as session:
        assert "groups of alerts that can be told to nobody: 1" in auditing.audit(session, clock.now()).findings
    pipe.sql("""UPDATE alert_groups SET timing = '{"wait": 0, "interval": 30, "repeat": 3600}'""")
    pipe.later(minutes=2)
    assert pipe.told()[told:] == [("resolved", "ops"), ("resolved", "ops")]


def test_alerts_that_nobody_is_told_of_are_a_finding(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, CATALOG.replace('notify = ["channel:ops"]', 'notify = ["team-lead"]'))
    pipe.fire()
    pipe.run()
    with pipe.read() as session:
        assert auditing.audit(session, clock.now()).clean, "not at once"
    pipe.later(minutes=6)
    with pipe.read() as session:
        assert "groups of alerts that can be told to nobody: 1" in auditing.audit(session, clock.now()).findings


def test_the_test_alert_goes_to_whom_the_catalogue_names_for_it(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(
        monkeypatch,
        home,
        CATALOG.replace("[alerting]", '[alerting]\nsynthetic = ["channel:pager"]'),
    )
    with unit_of_work() as uow:
        synthetic.begin(uow)
    pipe.fire()
    pipe.run()
    assert sorted(pipe.told()) == [("first", "ops"), ("first", "pager")]
    with unit_of_work() as uow:
        uow.execute("UPDATE alert_episodes SET ends_at = now(), due_at = now() WHERE source = 'synthetic'")
    pipe.run()
    assert pipe.told()[-1] == ("resolved", "pager")


def test_the_test_alert_is_neither_cooled_down_nor_taken_for_flapping(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "hold_after_start = 0\ncooldown = 86400\nflap_changes = 2\nflap_window = 86400\nflap_quiet = 86400"
    use(monkeypatch, home, CATALOG.replace("hold_after_start = 0", odd))
    for _ in range(3):
        with unit_of_work() as uow:
            synthetic.begin(uow)
        pipe.run()
        pipe.later(minutes=60)
    assert [why for why, _ in pipe.told()] == ["first", "resolved"] * 3


def test_what_others_probes_found_is_no_test_alert(pipe: Pipe) -> None:
    pipe.fire("CheckoutDown", severity="critical", synthetic="checkout")
    pipe.run()
    pipe.later(minutes=31)
    assert ("escalated", "ops") in pipe.told()


def test_the_end_is_told_where_the_beginning_may_have_arrived(pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    pipe.sql("UPDATE notifications SET state = 'failed', attempts = 8, sent_at = now(), finished_at = now()")
    pipe.sql("UPDATE notifications SET http_status = 404 WHERE channel = 'ops'")
    pipe.end(episode)
    pipe.run()
    assert pipe.told()[2:] == [("resolved", "pager")]


def test_a_muted_alert_in_an_answered_group_is_looked_at_at_leisure(pipe: Pipe) -> None:
    answered = pipe.fire("Disk", instance="known")
    pipe.fire("Disk", instance="quiet")
    pipe.run()
    silence(instance="quiet")
    pipe.acknowledge(answered, 240)
    pipe.run()
    pipe.later(hours=2)
    [group] = pipe.groups()
    assert group.due_at > clock.now()


def test_what_is_about_a_service_in_maintenance_is_held_back_until_that_is_over(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 'maintenance = [{from = 2020-01-01T00:00:00Z, until = 2100-01-01T00:00:00Z, reason = "moving house"}]'
    use(monkeypatch, home, CATALOG.replace("[alerting]", f"{window}\n\n[alerting]"))
    moving, other = pipe.fire("Down", service="shop", severity="critical"), pipe.fire("Down", service="till")
    pipe.sql("UPDATE alert_episodes SET service = labels ->> 'service'")
    pipe.run()
    assert pipe.episode(moving).told_at is None
    assert pipe.episode(moving).muted[0]["reason"] == "moving house"
    assert pipe.episode(moving).muted[0]["id"] == "services.shop.maintenance[0]"
    assert pipe.episode(other).told_at is not None
    use(monkeypatch, home, CATALOG)
    pipe.later(seconds=20)
    assert pipe.episode(moving).told_at is not None


def test_whoever_wakes_all_groups_locks_them_in_the_order_of_everybody_else(pipe: Pipe) -> None:
    pipe.fire("First")
    pipe.fire("Second")
    pipe.run()
    first, second = (group.id for group in pipe.groups())
    pipe.sql("UPDATE alert_groups SET due_at = now() + interval '2 days' WHERE id = :id", id=first)
    pipe.sql("UPDATE alert_groups SET due_at = now() + interval '1 day' WHERE id = :id", id=second)
    pipe.sql("CREATE INDEX by_due_at ON alert_groups (due_at)")
    pipe.sql("CLUSTER alert_groups USING by_due_at")
    failed: list[BaseException] = []

    def wake() -> None:
        try:
            with unit_of_work() as uow:
                store.wake(uow)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=wake)
    with unit_of_work() as uow:
        uow.execute("SELECT id FROM alert_groups WHERE id = :id FOR UPDATE", id=first)
        thread.start()
        until(lambda: pipe.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0] == 1)
        uow.execute("SELECT id FROM alert_groups WHERE id = :id FOR UPDATE", id=second)
    thread.join()
    assert not failed


def test_the_end_is_told_of_a_group_whose_told_alerts_ended_before_one_that_was_held_back(pipe: Pipe) -> None:
    ended, lasting = pipe.fire("Disk", instance="ended"), pipe.fire("Disk", instance="lasting")
    pipe.run()
    silence(instance="quiet")
    quiet = pipe.fire("Disk", instance="quiet")
    pipe.end(ended)
    pipe.later(minutes=1)
    assert pipe.told() == [("first", "ops"), ("ended", "ops")]
    pipe.end(lasting)
    pipe.later(minutes=1)
    pipe.end(quiet)
    pipe.run()
    assert pipe.told()[2:] == [("resolved", "ops")]
    assert [alert["labels"]["instance"] for alert in pipe.messages()[-1]["alerts"]] == ["lasting"]


def test_alerts_that_came_and_went_do_not_make_a_group_that_lasts_slow(pipe: Pipe) -> None:
    lasting, gone = pipe.fire("Disk", instance="lasting"), pipe.fire("Disk", instance="gone")
    pipe.run()
    pipe.end(gone)
    pipe.later(minutes=1)
    [group] = pipe.groups()
    with pipe.read() as session:
        assert [row.id for row in store.members_of(session, [group.id])[group.id]] == [lasting]


def test_the_story_of_one_alert_is_read_by_indexes(pipe: Pipe) -> None:
    episode = pipe.fire()
    pipe.run()
    pipe.sql("INSERT INTO alert_history (id, group_id, event) SELECT gen_random_uuid(), gen_random_uuid(), 'told'"
             " FROM generate_series(1, 20000)")  # fmt: skip
    pipe.sql("ANALYZE alert_history")
    with pipe.read() as session:
        story = history.of_episode(session, episode)
        looked_at = session.execute(
            text(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
                " WHERE relname LIKE 'alert_history%'"
            )
        ).scalar_one()
    assert "told" in [entry["event"] for entry in story]
    assert looked_at < 1000
