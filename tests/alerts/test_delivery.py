"""Notifications are delivered at least once, in order, within rates, or through another channel; nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from app import catalog
from app.alerts import delivery, failover
from app.errors import LeaseLost
from app.infra.db import unit_of_work
from app.jobs import relay, worker
from app.jobs.core import JobState
from app.notify import Event
from tests.alerts.desk import CATALOG, Desk, desk, texts, worker_process
from tests.fixtures.waiting import until
from tests.health.catalogs import use
from tests.notify.servers import LOCAL, TOKEN, ChannelServer, Request, Scripted

__all__ = ["desk"]  # the fixture

BROKEN = Scripted(500, "oh no")
REFUSED = Scripted(400, {"ok": False, "description": "Bad Request: chat not found"})
REPEAT = "may be a repeat"


def hold(server: ChannelServer, *, seconds: float = 20.0) -> threading.Event:
    """Let the server take what it gets and answer only when this is set."""
    gate = threading.Event()
    usual = server.take

    def held(request: Request) -> Scripted:
        answer = usual(request)
        gate.wait(seconds)
        return answer

    server.take = held  # type: ignore[method-assign]
    return gate


def test_a_notification_is_delivered_and_the_ledger_knows_when_and_as_what(desk: Desk) -> None:
    key = desk.tell(to="77")
    assert desk.work(key) is None
    [request] = desk.first.requests
    assert request.json["chat_id"] == 77
    row = desk.row(key)
    assert (row.state, row.attempts, row.http_status, row.provider_id, row.error) == ("delivered", 1, 200, "1", None)
    assert row.finished_at >= row.sent_at
    assert row.latency_ms > 0
    assert desk.history() == ["delivered"]
    assert desk.jobs() == []


def test_the_start_of_a_try_is_committed_before_the_other_side_hears_of_it(desk: Desk) -> None:
    key = desk.tell()
    desk.first.will(Scripted(how="hang"))
    claimed = desk.claim(key)
    assert claimed is not None
    thread = threading.Thread(target=desk.attempt, args=(claimed,))
    thread.start()
    desk.first.got(1)
    row = desk.row(key)
    assert (row.state, row.attempts) == ("sending", 1)
    assert row.sent_at is not None
    thread.join(20)


def test_later_messages_answer_to_the_first_one_that_arrived_there(desk: Desk) -> None:
    desk.work(desk.tell())
    desk.work(desk.tell(event=Event.UPDATED))
    desk.work(desk.tell(to="77", event=Event.UPDATED, reason="elsewhere"))
    first, second, elsewhere = (request.json for request in desk.first.requests)
    assert "reply_to_message_id" not in first
    assert second["reply_to_message_id"] == 1
    assert "reply_to_message_id" not in elsewhere


def test_a_new_generation_of_a_group_does_not_answer_to_the_old_ones_messages(desk: Desk) -> None:
    desk.work(desk.tell())
    desk.close()
    desk._group = None
    desk.work(desk.tell())
    assert "reply_to_message_id" not in desk.first.requests[1].json


def test_passing_trouble_is_tried_again_with_the_ledgers_pauses(desk: Desk) -> None:
    desk.first.will(BROKEN)
    key = desk.tell()
    failed = desk.work(key)
    assert failed is not None
    assert failed.will_retry
    assert "answered 500" in str(failed.__cause__)
    row = desk.row(key)
    assert (row.state, row.attempts, row.http_status, row.finished_at) == ("waiting", 1, 500, None)
    assert "answered 500" in row.error
    assert desk.work(key) is None
    row = desk.row(key)
    assert (row.state, row.attempts, row.error) == ("delivered", 2, None)
    assert REPEAT not in texts(desk.first)[1], "an answer of 500 says that it did not arrive"


def test_the_other_sides_wait_is_kept(desk: Desk) -> None:
    desk.first.will(Scripted(429, {"ok": False, "parameters": {"retry_after": 40}}))
    key = desk.tell()
    failed = desk.work(key)
    assert failed is not None
    assert failed.outcome.delay.total_seconds() >= 40


@pytest.mark.parametrize("how", ["hang", "close", "garbage"])
def test_a_try_without_an_answer_may_have_arrived_and_the_next_one_says_so(desk: Desk, how: Any) -> None:
    desk.first.will(Scripted(how=how))
    key = desk.tell()
    assert desk.work(key) is not None
    assert desk.row(key).http_status is None
    assert desk.work(key) is None
    assert REPEAT in texts(desk.first)[-1]


def test_a_later_refusal_does_not_take_away_the_doubt_about_an_earlier_try(desk: Desk) -> None:
    desk.first.will(Scripted(how="close"), Scripted(500))
    key = desk.tell()
    assert desk.work(key) is not None
    assert desk.work(key) is not None
    assert "answered 500" in desk.row(key).error
    assert desk.work(key) is None
    assert REPEAT in texts(desk.first)[-1]
    assert (desk.row(key).state, desk.row(key).http_status) == ("delivered", 200)


def test_a_channel_that_knows_repeats_is_not_told_in_words(desk: Desk) -> None:
    desk.second.will(Scripted(how="close"))
    key = desk.tell("hook")
    desk.work(key)
    desk.work(key)
    keys = [request.headers["idempotency-key"] for request in desk.second.requests]
    assert keys == [str(key), str(key)]
    assert REPEAT not in texts(desk.second)[1]


def test_an_address_that_does_not_answer_is_left_alone_by_the_next_messages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging channel must cost its time-out once, not once for each message that waits behind it."""
    monkeypatch.setattr(delivery, "REST_SECONDS", 30.0)
    desk.first.will(Scripted(how="close"))
    assert desk.work(desk.tell()) is not None
    heard = len(desk.first.requests)
    second = desk.tell(reason="added-2")
    assert desk.work(second) is None
    assert (len(desk.first.requests), desk.row(second).state, desk.row(second).attempts) == (heard, "waiting", 0)


def test_a_page_of_html_is_no_delivery(desk: Desk) -> None:
    desk.second.will(Scripted(200, "<html>log in</html>", {"Content-Type": "text/html"}))
    key = desk.tell("slack")
    assert desk.work(key) is not None
    assert "web page" in desk.row(key).error


def test_a_refusal_is_final_and_the_next_channel_gets_the_same_message(desk: Desk) -> None:
    desk.first.will(REFUSED)
    key = desk.tell()
    assert desk.work(key) is None, "the job has done its duty"
    row, other = desk.rows()
    assert (row.state, row.http_status, row.attempts) == ("failed", 400, 1)
    assert (other.channel, other.state, other.fallback_of) == ("slack", "waiting", key)
    assert other.reason == f"{row.reason}-instead-of-chat"
    assert (other.step, other.event, other.fact_at) == (row.step, row.event, row.fact_at)
    told = desk.message(other.id)
    assert (told.key, told.title) == (str(other.id), desk.message(key).title)
    assert "because chat could not deliver it" in told.note
    assert desk.work(other.id) is None
    assert "because chat could not deliver it" in texts(desk.second)[0]
    assert desk.history() == ["delivery_failed", "failed_over", "delivered"]


def test_a_chain_goes_through_every_fallback_once(desk: Desk) -> None:
    desk.first.always = REFUSED
    desk.second.always = Scripted(404, "gone")
    key = desk.tell()
    desk.work(key)
    while desk.jobs():
        desk.work(UUID(desk.jobs()[0].key))
    assert [(row.channel, row.state) for row in desk.rows()] == [
        ("chat", "failed"),
        ("slack", "failed"),
        ("hook", "failed"),
    ]
    assert [row.reason for row in desk.rows()][2] == "firing-instead-of-chat-instead-of-slack"


def test_a_person_is_reached_under_their_own_address_of_the_other_channel(desk: Desk) -> None:
    desk.first.will(REFUSED)
    key = desk.tell("chat", to="77", recipient="on-call:primary")
    desk.work(key)
    other = desk.rows()[1]
    assert (other.channel, other.destination, other.recipient) == ("slack", "", "on-call:primary")


def test_what_another_channel_tells_anyway_is_not_told_there_twice(desk: Desk) -> None:
    desk.first.will(REFUSED)
    key = desk.tell()
    desk.tell("slack")
    desk.work(key)
    assert [row.channel for row in desk.rows()] == ["chat", "slack", "hook"]


def test_tries_end_and_then_another_channel_has_its_turn(desk: Desk) -> None:
    desk.first.always = BROKEN
    key = desk.tell()
    assert desk.until_over(key) == delivery.TRIES
    row, other = desk.rows()
    assert (row.state, row.attempts) == ("failed", delivery.TRIES)
    assert other.channel == "slack"
    finished = desk.sql("SELECT state FROM job_history")
    assert [row.state for row in finished] == [JobState.SUCCEEDED]


@pytest.mark.parametrize(("severity", "early"), [("critical", True), ("error", True), ("warning", False)])
def test_an_urgent_message_goes_another_way_after_two_failed_tries(desk: Desk, severity: str, early: bool) -> None:
    desk.first.always = BROKEN
    key = desk.tell(severity=severity)
    desk.work(key)
    assert len(desk.rows()) == 1
    desk.work(key)
    assert [row.channel for row in desk.rows()] == (["chat", "slack"] if early else ["chat"])
    assert desk.row(key).state == "waiting", "its own channel is still tried"
    desk.until_over(key)
    assert [row.channel for row in desk.rows()] == ["chat", "slack"], "once"


def test_a_channel_that_was_switched_off_fails_at_once_without_raising_an_alert(desk: Desk) -> None:
    key = desk.tell("away")
    desk.work(key)
    row, other = desk.rows()
    assert (row.state, row.attempts, row.error) == ("failed", 0, "channel away is switched off")
    assert other.channel == "hook"
    assert desk.signals() == []


@pytest.mark.parametrize("event", [Event.RESOLVED, Event.ACKNOWLEDGED])
def test_what_was_to_be_told_of_an_incident_that_is_over_does_not_end_the_one_in_its_place(
    desk: Desk, event: Event
) -> None:
    desk.work(desk.tell("hook"))
    late = desk.tell("hook", event=event, reason="late")
    desk.second.will(BROKEN)
    desk.work(late)
    assert desk.row(late).state == "waiting"
    desk.close()
    desk.begin_anew()
    again = desk.tell("hook")
    desk.work(again)
    assert desk.row(again).state == "delivered"
    desk.work(late)
    assert (desk.row(late).state, desk.row(late).error) == ("skipped", "it has begun anew before this could be sent")


def test_what_begins_anew_waits_for_the_end_that_is_being_sent(desk: Desk) -> None:
    desk.work(desk.tell("hook"))
    end = desk.tell("hook", event=Event.RESOLVED)
    desk.sql("UPDATE notifications SET state = 'sending', sent_at = now(), attempts = 1 WHERE id = :id", id=end)
    desk.close()
    desk.begin_anew()
    again = desk.tell("hook")
    desk.work(again)
    assert desk.row(again).state == "waiting"


def test_messages_for_a_narrow_address_stand_in_line_the_urgent_ones_first(desk: Desk) -> None:
    keys = [desk.tell("narrow", reason=f"added-{number}") for number in range(4)]
    urgent = desk.tell("narrow", reason="added-9", severity="critical")
    for key in (*keys, urgent):
        desk.work(key)
    rows = desk.sql("SELECT key, extract(epoch FROM not_before - now()) AS wait FROM jobs WHERE state = 'scheduled'")
    waits = {row.key: float(row.wait) for row in rows}
    assert desk.row(keys[0]).state == "delivered"
    assert waits[str(urgent)] < 11
    assert [round(waits[str(key)], -1) for key in keys[1:]] == [20, 30, 30]


def test_a_channel_whose_file_went_away_is_in_trouble_and_another_one_tells_it(
    desk: Desk, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = home / "ca.pem"
    authority.write_text("x")
    mail = f"""
[channels.mail]
kind = "email"
host = "mail.example.com"
from = "a@example.com"
to = ["b@example.com"]
ca_file = "{authority}"
fallback = ["hook"]
"""
    text = CATALOG.format(token=TOKEN, first=desk.first.base, second=desk.second.base, allow=json.dumps(LOCAL))
    use(monkeypatch, home, text + mail)
    key = desk.tell("mail")
    catalog.current()
    authority.unlink()
    desk.work(key)
    row, other = desk.rows()
    assert (row.state, row.error) == ("failed", "channel mail is not valid: channels.mail.ca_file: is no file")
    assert other.channel == "hook"
    assert desk.signals() == [("notify.failed", "channel:mail")]


def test_a_channel_that_left_the_catalogue_fails_at_once(desk: Desk) -> None:
    key = desk.tell("gone")
    desk.work(key)
    assert desk.row(key).error == "there is no channel gone any more"
    assert desk.jobs() == []


def test_a_full_rate_costs_no_try(desk: Desk) -> None:
    first, second = desk.tell("narrow"), desk.tell("narrow", event=Event.UPDATED)
    assert desk.work(first) is None
    assert desk.work(second) is None
    row = desk.row(second)
    assert (row.state, row.attempts, row.sent_at) == ("waiting", 0, None)
    [job] = desk.jobs()
    assert (job.key, job.state, job.attempt) == (str(second), "scheduled", 0)
    [wait] = desk.sql("SELECT extract(epoch FROM not_before - now())::float8 AS seconds FROM jobs")
    assert 5 < wait.seconds <= 10
    assert len(desk.second.requests) == 1


def test_the_same_doorbell_five_times_is_one_message(desk: Desk) -> None:
    key = desk.tell()
    job = desk.job(key)
    claims = [worker.claim(job, worker=f"w{number}") for number in range(5)]
    for claimed in claims:
        if claimed is not None:
            desk.attempt(claimed)
    assert len(desk.first.requests) == 1
    assert sum(claimed is not None for claimed in claims) == 1


def test_two_jobs_for_one_notification_are_one_message(desk: Desk) -> None:
    key = desk.tell()
    claimed = desk.claim(key)
    assert claimed is not None
    with unit_of_work() as uow:
        failover.submit(uow, key)
    desk.attempt(claimed)
    desk.work(key)
    assert len(desk.first.requests) == 1
    assert desk.jobs() == []


def test_a_worker_that_was_given_up_while_it_sent_still_tells_that_it_arrived(desk: Desk) -> None:
    """Its completion is refused, but what happened is a fact: the next worker must not send it a second time."""
    key = desk.tell()
    claimed = desk.claim(key)
    assert claimed is not None
    problems: list[BaseException] = []

    def slow() -> None:
        try:
            desk.attempt(claimed)
        except LeaseLost as lost:
            problems.append(lost)

    gate = hold(desk.first, seconds=1.5)
    thread = threading.Thread(target=slow)
    thread.start()
    desk.first.got(1)
    desk.lapse(key)
    gate.set()
    thread.join(20)
    assert len(problems) == 1
    assert desk.row(key).state == "delivered"
    desk.work(key)
    assert len(desk.first.requests) == 1


def test_a_late_failure_of_a_lost_try_changes_nothing_of_the_next_one(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET state = 'sending', attempts = 1, sent_at = now()")
    claimed = desk.claim(key)
    assert claimed is not None
    desk.first.will(BROKEN)
    original = desk.first.take

    def overtaken(request: Any) -> Any:
        desk.sql("UPDATE notifications SET attempts = 3, sent_at = now() WHERE id = :id", id=key)
        return original(request)

    desk.first.take = overtaken  # type: ignore[method-assign]
    desk.attempt(claimed)
    row = desk.row(key)
    assert (row.state, row.attempts, row.error) == ("sending", 3, None)


def test_a_worker_killed_between_sent_and_recorded_repeats_and_owns_up_to_it(desk: Desk, tmp_path: Path) -> None:
    """A real process dies by SIGKILL while the other side has the message; the next one sends it again and says so."""
    gate = hold(desk.first)
    key = desk.tell()
    process = worker_process([desk.job(key)], tmp_path / "worker.log")
    try:
        desk.first.got(1, seconds=40)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    gate.set()
    row = desk.row(key)
    assert (row.state, row.attempts) == ("sending", 1)
    desk.lapse(key)
    assert desk.work(key) is None
    first, second = texts(desk.first)
    assert REPEAT not in first
    assert REPEAT in second
    assert (desk.row(key).state, desk.row(key).attempts) == ("delivered", 2)


@pytest.fixture
def celery_worker(desk: Desk, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker on the queue of deliveries, whose leases are short."""
    command = "celery -A tasks worker -n critical@%h -Q critical -c 1 --without-mingle --without-gossip"
    root = Path(__file__).parents[2]
    with (tmp_path / "celery.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            env=os.environ | {"SMM_LEASE_SECONDS": "2"},
            stdout=log,
            stderr=log,
            cwd=root,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@pytest.mark.slow
def test_a_celery_worker_killed_while_it_sends_delivers_after_all(
    desk: Desk, celery_worker: subprocess.Popen[bytes]
) -> None:
    gate = hold(desk.first)
    key = desk.tell()
    desk.first.got(1, seconds=60)
    [child] = [process for process in psutil.Process(celery_worker.pid).children() if process.is_running()]
    child.send_signal(signal.SIGKILL)
    gate.set()
    until(lambda: relay.relay() and desk.row(key).state == "delivered", seconds=60, what="it is delivered")
    first, second = texts(desk.first)
    assert REPEAT not in first
    assert REPEAT in second


def test_a_notification_whose_job_died_gets_another(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET state = 'sending', attempts = 1, sent_at = now(), "
             "created_at = now() - interval '5 minutes'")  # fmt: skip
    desk.sql("DELETE FROM jobs")
    with unit_of_work() as uow:
        assert delivery.pick_up(uow) == 1
    with unit_of_work() as uow:
        assert delivery.pick_up(uow) == 0, "it has one now"
    assert desk.work(key) is None
    assert REPEAT in texts(desk.first)[0]


def test_a_notification_that_was_cut_off_at_every_try_is_given_up(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET state = 'sending', attempts = :tries, sent_at = now()", tries=delivery.TRIES)
    desk.work(key)
    row, other = desk.rows()
    assert (row.state, row.error, other.channel) == ("failed", "every try was cut off", "slack")
    assert desk.first.requests == []


def test_what_was_over_before_its_first_try_is_not_told_and_neither_is_its_end(desk: Desk) -> None:
    first, end = desk.tell(), desk.tell(event=Event.RESOLVED)
    desk.close()
    for key in (end, first):
        assert desk.work(key) is None
    assert [row.state for row in desk.rows()] == ["skipped", "skipped"]
    assert desk.row(first).error == "it was over before this could be sent"
    assert desk.row(end).error == "nothing of it had been told here"
    assert desk.first.requests == []
    assert desk.history() == ["delivery_skipped", "delivery_skipped"]


def test_who_was_told_of_the_beginning_is_told_of_the_end(desk: Desk) -> None:
    first = desk.tell()
    desk.work(first)
    desk.close()
    end = desk.tell(event=Event.RESOLVED)
    assert desk.work(end) is None
    assert desk.row(end).state == "delivered"


def test_who_may_have_been_told_is_told_of_the_end_and_then_not_of_the_beginning(desk: Desk) -> None:
    desk.first.will(Scripted(how="close"))
    first = desk.tell()
    assert desk.work(first) is not None
    desk.close()
    end = desk.tell(event=Event.RESOLVED)
    assert desk.work(end) is None
    assert desk.row(end).state == "delivered"
    assert desk.work(first) is None
    assert (desk.row(first).state, desk.row(first).error) == ("skipped", "its end was told here already")
    assert len(desk.first.requests) == 2


def test_an_end_waits_for_the_beginning_that_is_on_its_way(desk: Desk) -> None:
    first = desk.tell()
    desk.sql("UPDATE notifications SET state = 'sending', attempts = 1, sent_at = now()")
    end = desk.tell(event=Event.RESOLVED)
    assert desk.work(end) is None
    assert (desk.row(end).state, desk.row(end).attempts) == ("waiting", 0)
    desk.sql("UPDATE notifications SET state = 'delivered', http_status = 200 WHERE id = :id", id=first)
    assert desk.work(end) is None
    assert desk.row(end).state == "delivered"


def test_nobody_is_urged_after_somebody_answered(desk: Desk) -> None:
    desk.work(desk.tell())
    escalated = desk.tell(event=Event.ESCALATED, step=1)
    desk.sql("UPDATE alert_groups SET acknowledged = true")
    desk.work(escalated)
    assert (desk.row(escalated).state, desk.row(escalated).error) == (
        "skipped",
        "somebody answered before this could be sent",
    )


def test_a_failing_channel_raises_a_signal_and_its_first_success_ends_it(desk: Desk) -> None:
    desk.first.will(REFUSED)
    desk.work(desk.tell())
    assert desk.signals() == [("notify.failed", "channel:chat")]
    [recorded] = desk.sql("SELECT labels, facts FROM signals WHERE kind = 'notify.failed'")
    assert recorded.labels == {"channel": "chat", "kind": "telegram"}
    assert recorded.facts["http_status"] == 400
    assert "chat not found" in recorded.facts["error"]
    desk.work(desk.tell(event=Event.UPDATED))
    assert len(desk.signals()) == 1, "nobody had been alerted yet"
    desk.member(rule=failover.RULE, subject="channel:chat")
    desk.work(desk.tell(event=Event.UPDATED, reason="again"))
    assert desk.signals()[1:] == [("notify.recovered", "channel:chat")]


def test_a_failed_message_about_its_own_channels_failures_raises_nothing(desk: Desk) -> None:
    desk.first.will(REFUSED)
    desk.member(rule=failover.RULE, subject="channel:chat")
    desk.work(desk.tell())
    assert desk.row(desk.rows()[0].id).state == "failed"
    assert desk.signals() == []
    assert desk.rows()[1].channel == "slack", "but it goes another way"


def test_no_secret_of_a_channel_is_kept_with_what_failed(desk: Desk) -> None:
    desk.first.will(Scripted(400, {"ok": False, "description": "bot 123456789:AAtelegram-token-of-tests_0123456789"}))
    desk.work(desk.tell())
    kept = str(
        [desk.sql(f"SELECT to_jsonb(t) FROM {table} t") for table in ("notifications", "signals", "alert_history")]
    )
    assert "AAtelegram" not in kept


def test_a_message_of_a_hundred_kilobytes_is_cut_and_delivered(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET message = jsonb_set(message, '{summary}', to_jsonb(repeat('الخلل ', 20000)))")
    assert desk.work(key) is None
    assert len(desk.first.requests[0].json["text"]) <= 4096


def test_a_message_that_this_version_cannot_read_is_given_up_at_once(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET message = '{}'")
    assert desk.work(key) is None
    assert (desk.row(key).state, desk.row(key).attempts) == ("failed", 0)
    assert "cannot be read" in desk.row(key).error
    assert desk.jobs() == []


def test_notifications_without_a_group_are_delivered_too(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("UPDATE notifications SET group_id = NULL")
    assert desk.work(key) is None
    assert desk.row(key).state == "delivered"


def test_a_notification_that_is_gone_completes_its_job(desk: Desk) -> None:
    key = desk.tell()
    desk.sql("DELETE FROM notifications")
    assert desk.work(key) is None
    assert desk.jobs() == []


def test_three_workers_that_hear_every_doorbell_deliver_each_message_once(desk: Desk, tmp_path: Path) -> None:
    keys = [desk.tell("hook", to=f"address-{number}") for number in range(40)]
    jobs = [desk.job(key) for key in keys]
    processes = [worker_process(jobs, tmp_path / "worker.log") for _ in range(3)]
    for process in processes:
        assert process.wait(60) == 0, (tmp_path / "worker.log").read_text()
    assert {row.state for row in desk.rows()} == {"delivered"}
    got = sorted(request.headers["idempotency-key"] for request in desk.second.requests)
    assert got == sorted(map(str, keys))
