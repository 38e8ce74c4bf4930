"""The pipeline over a real database: what is told, what is held back, and what survives the loss of a pass."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app import clock, signals
from app.alerts import explain, history, inbox, pipeline, raising, silences
from app.alerts.matchers import Matcher
from app.infra.db import read_only, unit_of_work
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.health.catalogs import use

__all__ = ["pipe"]  # the fixture


def silence(minutes: float, **labels: str) -> str:
    now = clock.now()
    with unit_of_work() as uow:
        made = silences.create(
            uow,
            matchers=[Matcher(name, value) for name, value in labels.items()],
            starts_at=now,
            ends_at=now + timedelta(minutes=minutes),
            created_by="ann",
            comment="known",
            now=now,
        )
    return str(made.id)


def test_one_problem_is_told_once_and_its_end_once(pipe: Pipe) -> None:
    episode = pipe.fire()
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    assert pipe.episode(episode).told_at is not None
    for _ in range(3):
        pipe.later(minutes=1)
    pipe.end(episode)
    pipe.run()
    pipe.run()
    assert pipe.told() == [("first", "ops"), ("resolved", "ops")]
    assert pipe.groups()[0].closed_at is not None
    first, last = pipe.messages()
    assert first["thread"] == last["thread"]
    assert (first["event"], last["event"]) == ("firing", "resolved")


def test_a_storm_is_one_message_to_each_address(pipe: Pipe) -> None:
    for number in range(300):
        pipe.fire("Storm", instance=f"host-{number}")
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    assert pipe.messages()[0]["firing"] == 300
    assert len(pipe.messages()[0]["alerts"]) == 50


def test_a_critical_alert_goes_up_the_ladder_until_somebody_answers(pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    assert pipe.told() == [("first", "ops"), ("first", "pager")]
    pipe.later(minutes=29)
    assert len(pipe.told()) == 2
    pipe.later(minutes=2)
    assert pipe.told()[2:] == [("escalated", "ops")]
    pipe.acknowledge(episode, 60)
    pipe.run()
    assert pipe.told()[3:] == [("acknowledged", "pager")]
    pipe.later(minutes=50)
    assert len(pipe.told()) == 4
    pipe.later(minutes=11)
    assert pipe.told()[4:] == [("again", "ops"), ("again", "pager")], "the acknowledgement has run out"


def test_an_escalation_goes_on_after_every_process_was_away(pipe: Pipe) -> None:
    """The next step is a column, not a timer: it is taken by whoever comes next, however late."""
    pipe.fire(severity="critical")
    pipe.run()
    pipe.age(timedelta(minutes=45))
    pipe.run()
    assert ("escalated", "ops") in pipe.told()


def test_two_passes_at_once_tell_once(pipe: Pipe) -> None:
    for number in range(40):
        pipe.fire(f"Alert{number}")
    threads = [threading.Thread(target=pipe.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    pipe.run()
    told = pipe.told()
    assert (len(told), set(told)) == (40, {("first", "ops")})
    assert len(pipe.groups()) == 40


def test_a_pass_that_dies_before_its_commit_has_told_nothing_and_the_next_one_does(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.fire()
    with monkeypatch.context() as patched:
        patched.setattr("app.alerts.telling._submit", lambda *_: (_ for _ in ()).throw(SystemExit("killed")))
        with pytest.raises(SystemExit, match="killed"):
            pipe.run()
    assert pipe.told() == []
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    assert pipe.sql("SELECT count(*) FROM jobs WHERE task = 'tasks.alerts.deliver'")[0][0] == 1


def test_a_silence_holds_back_and_its_end_tells(pipe: Pipe) -> None:
    key = silence(60, alertname="Trouble")
    episode = pipe.fire()
    pipe.run()
    assert pipe.told() == []
    assert pipe.episode(episode).muted[0]["by"] == "silence"
    assert "ann" in pipe.episode(episode).muted[0]["reason"]
    with unit_of_work() as uow:
        silences.expire(uow, UUID(key), by="ann", now=clock.now())
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    assert pipe.episode(episode).muted is None


def test_a_silence_stops_a_ladder_that_is_being_climbed(pipe: Pipe) -> None:
    pipe.fire(severity="critical")
    pipe.run()
    silence(600, alertname="Trouble")
    pipe.later(minutes=31)
    assert len(pipe.told()) == 2


def test_a_cause_silences_its_symptoms_in_the_same_cluster_only(pipe: Pipe) -> None:
    database = pipe.fire("Database", cluster="a")
    symptom, other = pipe.fire("Symptom", cluster="a"), pipe.fire("Symptom", cluster="b")
    pipe.run()
    assert pipe.episode(symptom).muted[0]["by"] == "inhibition"
    assert pipe.episode(other).muted is None
    counts = [message["firing"] for message in pipe.messages()]
    assert counts == [1, 1], "what is held back is not spoken of"
    pipe.end(database)
    pipe.run()
    pipe.later(minutes=1)
    assert pipe.episode(symptom).muted is None
    assert ("added", "ops") in pipe.told()


def test_after_a_start_symptoms_wait_for_their_cause(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inhibited alert must not be told because its cause arrives a moment later, after a restart or a reload."""
    use(monkeypatch, home, CATALOG.replace("hold_after_start = 0", "hold_after_start = 30"))
    pipe.fire("Symptom", cluster="a")
    critical = pipe.fire("Worse", severity="critical")
    pipe.run()
    assert {channel for _, channel in pipe.told()} == {"pager", "ops"}
    assert pipe.episode(critical).told_at is not None
    pipe.fire("Database", cluster="a")
    pipe.later(seconds=31)
    names = [message["alerts"][0]["name"] for message in pipe.messages()]
    assert "Database" in names
    assert "Symptom" not in names


def test_an_alert_that_comes_back_at_once_is_quiet_for_a_while_but_a_critical_one_is_not(pipe: Pipe) -> None:
    warning, critical = pipe.fire(), pipe.fire("Worse", severity="critical")
    pipe.run()
    pipe.end(warning, critical)
    pipe.run()
    before = len(pipe.told())
    back, _ = pipe.fire(), pipe.fire("Worse", severity="critical")
    pipe.run()
    assert sorted(pipe.told()[before:]) == [("first", "ops"), ("first", "pager")]
    assert pipe.episode(back).muted[0]["by"] == "cooldown"
    pipe.later(minutes=16)
    assert pipe.told()[before + 2 :] == [("first", "ops")]


def test_one_that_flaps_stays_open_is_told_once_and_its_end_when_it_is_one(pipe: Pipe) -> None:
    for _ in range(3):
        episode = pipe.fire(severity="critical")
        pipe.run()
        pipe.end(episode)
        pipe.later(minutes=1)
    episode = pipe.fire(severity="critical")
    pipe.run()
    assert pipe.episode(episode).flapping
    before = len(pipe.told())
    pipe.end(episode)
    pipe.later(minutes=1)
    assert (pipe.episode(episode).state, pipe.episode(episode).held) == ("firing", True)
    assert len(pipe.told()) == before
    pipe.later(minutes=10)
    assert pipe.episode(episode).state == "resolved"
    assert [why for why, _ in pipe.told()[before:]] == ["resolved", "resolved"]


def test_without_anybody_to_tell_it_says_so_and_tells_when_there_is(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, CATALOG.replace('notify = ["channel:ops"]', 'notify = ["team-lead"]'))
    episode = pipe.fire()
    pipe.run()
    assert pipe.told() == []
    with read_only() as session:
        told = explain.explain_episode(session, episode, now=clock.now())
    assert "nobody is configured to be told" in told["groups"][0]["not_told"]
    use(monkeypatch, home, CATALOG)
    pipe.later(minutes=2)
    assert pipe.told() == [("first", "ops")]


def test_a_change_of_who_is_told_is_on_the_timeline(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe.run()
    use(monkeypatch, home, CATALOG.replace("group_interval = 30", "group_interval = 60"))
    pipe.run()
    pipe.run()
    rows = pipe.sql("SELECT facts FROM signals WHERE kind = 'alerts.routing_changed'")
    assert [row.facts["changed"] for row in rows] == [["routing"]]


def test_explanations_name_who_when_and_why_not(pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    silence(60, alertname="Quiet")
    with read_only() as session:
        told = explain.explain_episode(session, episode, now=clock.now())
        loud = explain.dry_run(session, {"alertname": "New", "severity": "critical"}, now=clock.now())
        quiet = explain.dry_run(session, {"alertname": "Quiet", "severity": "critical"}, now=clock.now())
    group = told["groups"][0]
    assert [item["channel"] for item in group["recipients"]] == ["pager", "ops"]
    assert group["ladder"][0]["notify"] == ["person:head"]
    assert "step 1 of the ladder at" in group["next"]
    assert {item["reason"] for item in group["notifications"]} == {"first"}
    assert loud["told"]
    assert loud["routes"][0]["first_message_at"] == loud["at"]
    assert not quiet["told"]
    assert quiet["muted"][0]["by"] == "silence"
    assert quiet["routes"][0]["first_message_at"] is None


def test_an_idle_pass_looks_and_finds_nothing(pipe: Pipe) -> None:
    assert pipeline.run() == {"posted": 0, "advanced": 0, "grouped": 0, "looked_at": 0}


def test_an_alert_in_the_words_of_others_goes_where_ours_would(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another vocabulary of severities must not keep a page from the pager."""
    use(monkeypatch, home, CATALOG + '[alerts.Foreign]\nteam = "data"\n')
    labels = {"alertname": "Foreign", "severity": "page"}
    post = [{"labels": labels, "annotations": {}}]
    pipe.sql(
        "INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES (now(), 'api', 1, :body)",
        body=inbox.pack(json.dumps(post).encode()),
    )
    pipe.run()
    assert {channel for _, channel in pipe.told()} == {"pager", "ops"}
    with read_only() as session:
        dry = explain.dry_run(session, labels, now=clock.now())
    assert (dry["severity"], dry["team"], dry["routes"][0]["receiver"]) == ("critical", "data", "pages")


def test_what_a_rule_raised_ends_when_the_rule_is_gone(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = '[alerts.Down]\non = ["health.down"]\nuntil = ["health.up"]\n'
    use(monkeypatch, home, CATALOG + rule)
    pipe.run()
    with unit_of_work() as uow:
        signal = signals.record(uow, "health.down", "shop", labels={"service": "shop"})
        raising.on_signal(uow, signal.id, handler="test")
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    use(monkeypatch, home, CATALOG)
    pipe.run()
    pipe.run()
    assert pipe.told() == [("first", "ops"), ("resolved", "ops")]


def test_the_story_is_told_in_the_order_in_which_it_happened(pipe: Pipe) -> None:
    episode = pipe.fire()
    pipe.run()
    pipe.end(episode)
    pipe.run()
    with read_only() as session:
        story = [item["event"] for item in history.of_episode(session, episode)]
    assert story == ["group_opened", "told", "resolved", "told", "group_closed"]


def test_the_test_alert_is_marked_goes_to_its_own_recipients_and_its_end_bothers_nobody(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = '[channels.hook]\nkind = "slack"\nwebhook_url = "http://127.0.0.1:9/services/a/b/c"\n'
    wanted = 'synthetic = ["channel:hook", "channel:pager"]\nhold_after_start = 0'
    use(monkeypatch, home, CATALOG.replace("hold_after_start = 0", wanted) + hook)
    episode = pipe.fire("SMM_SyntheticAlert", severity="info", synthetic="true")
    pipe.run()
    assert pipe.told() == [("first", "hook"), ("first", "pager")]
    assert {message["event"] for message in pipe.messages()} == {"test"}
    pipe.later(hours=30)
    assert len(pipe.told()) == 2, "nobody is woken a second time for a test"
    pipe.end(episode)
    pipe.run()
    assert pipe.told()[2:] == [("resolved", "pager")], "a program would keep it open"
