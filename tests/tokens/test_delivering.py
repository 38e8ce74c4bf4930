"""Messages to owners arrive once, with a link made for them; what is true no more is dropped, what fails is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.config import settings
from app.errors import LeaseLost
from app.infra.db import unit_of_work
from app.tokens import connect_links, delivering, telling
from app.tokens.rows import Account
from tests.notify.servers import Scripted
from tests.tokens.letterbox import CHAT, MAIL, NOW, PUBLIC, Letterbox, box

__all__ = ["box"]  # the fixture

BROKEN = Scripted(500, "oh no")
REFUSED = Scripted(400, {"ok": False, "description": "Bad Request: chat not found"})
REPEAT = "You may have had this message before"
LINK = re.compile(rf"{re.escape(PUBLIC)}/connect/([\w.-]+)")


def told(box: Letterbox) -> list[str]:
    """The texts that the chat got."""
    return [request.json["text"] for request in box.chats.requests]


def planned(box: Letterbox, *contacts: dict[str, str], **given: Any) -> tuple[Account, UUID]:
    """An account, and its one message."""
    account = box.account("studio.berlin", *contacts or (CHAT,), **given)
    box.plan(account)
    return account, box.jobs()[0]


def test_a_letter_arrives_with_a_link_that_was_made_for_it_and_stored_nowhere(box: Letterbox) -> None:
    account, message = planned(box, MAIL)
    assert box.work(message) is None
    [letter] = box.mail.letters
    assert letter.to == ("ann@studio.example",)
    assert letter.mail["Subject"] == "Please log in to Instagram again for studio.berlin"
    assert "Monday 8 March at 13:00 (Berlin time)" in letter.body("plain")
    found = LINK.search(letter.body("plain"))
    assert found is not None
    link = connect_links.read(settings(), found[1], now=box.now)
    assert (link.account_id, link.generation) == (account.id, 3)
    [row] = box.rows(account)
    assert (row.state, row.tries, row.in_doubt, row.error) == ("sent", 1, False, "")
    assert row.sent_at is not None
    tables = ("token_messages", "token_history", "job_history", "signals")
    assert [name for name in tables if found[1] in str(box.sql(f"SELECT * FROM {name}"))] == []


def test_a_chat_gets_the_same_words_and_later_ones_answer_to_the_first(box: Letterbox) -> None:
    account, message = planned(box)
    box.work(message)
    box.becomes(account, told="urgent", expires_at=NOW + timedelta(days=2))
    box.plan(account, "urgent", now=NOW + timedelta(days=6))
    box.work(box.jobs()[0])
    first, second = (request.json for request in box.chats.requests)
    assert first["chat_id"] == 77
    assert "<b>Please log in to Instagram again for studio.berlin</b>" in first["text"]
    assert LINK.search(first["text"])
    assert "reply_to_message_id" not in first
    assert (second["reply_to_message_id"], "Urgent" in second["text"]) == (1, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"told": ""}, "connected"),
        ({"told": "last"}, "higher_step"),
        ({"climb": 2}, "another_climb"),
    ],
)
def test_what_is_true_no_more_when_its_turn_comes_is_dropped(
    box: Letterbox, change: dict[str, Any], reason: str
) -> None:
    account, message = planned(box)
    box.becomes(account, **change)
    assert box.work(message) is None
    [row] = box.rows(account)
    assert (row.state, row.tries, row.error) == ("dropped", 0, reason)
    assert box.chats.requests == []


def test_the_owner_of_an_account_that_was_switched_off_or_removed_is_left_alone(box: Letterbox) -> None:
    account, message = planned(box)
    box.sql("UPDATE accounts SET disabled_at = now() WHERE id = :id", id=account.id)
    box.work(message)
    assert box.states(account) == [("reconnect", "chat", "dropped")]
    removed = box.account("removed", CHAT)
    box.plan(removed)
    [second] = box.jobs()
    box.sql("DELETE FROM accounts WHERE id = :id", id=removed.id)
    assert box.work(second) is None
    assert box.chats.requests == []


def test_the_end_is_told_where_the_trouble_was_told_and_not_when_there_is_new_trouble(box: Letterbox) -> None:
    account, message = planned(box)
    box.work(message)
    box.becomes(account, told="")
    box.plan(account, "restored", now=NOW + timedelta(hours=1))
    [restored] = box.jobs()
    box.becomes(account, told="reconnect", climb=2)
    box.work(restored)
    assert box.states(account)[-1] == ("restored", "chat", "dropped")
    box.becomes(account, told="", climb=1)
    box.sql("UPDATE token_messages SET state = 'waiting' WHERE id = :id", id=restored)
    with unit_of_work() as uow:
        telling.submit(uow, [restored])
    box.work(restored)
    assert "studio.berlin is connected to Instagram again" in told(box)[-1]
    assert "/connect/" not in told(box)[-1]


def test_passing_trouble_is_tried_again_and_the_other_sides_wait_is_kept(box: Letterbox) -> None:
    box.chats.will(BROKEN, Scripted(429, {"ok": False, "parameters": {"retry_after": 40}}))
    account, message = planned(box)
    failed = box.work(message)
    assert failed is not None
    assert failed.will_retry
    assert box.rows(account)[0].state == "waiting"
    failed = box.work(message)
    assert failed is not None
    assert failed.outcome.delay.total_seconds() >= 40


def test_a_try_without_an_answer_may_have_arrived_and_the_next_one_says_so(box: Letterbox) -> None:
    box.chats.will(Scripted(how="close"), BROKEN)
    account, message = planned(box)
    assert box.work(message) is not None
    assert box.rows(account)[0].in_doubt
    assert box.work(message) is not None
    assert box.work(message) is None
    assert [REPEAT in text for text in told(box)] == [False, True, True]
    assert box.rows(account)[0].state == "sent"


def test_a_refusal_is_final_is_written_down_and_the_staff_hears_of_it(box: Letterbox) -> None:
    box.chats.will(REFUSED)
    account, message = planned(box)
    assert box.work(message) is None
    [row] = box.rows(account)
    assert (row.state, row.in_doubt) == ("failed", False)
    failed = box.history(account)[-1]
    assert (failed.kind, failed.reason, failed.facts["channel"]) == ("told", "failed", "chat")
    [(kind, facts)] = box.signals()
    assert (kind, facts["others"], facts["severity"]) == ("tokens.telling_failed", 0, "error")
    assert "chat not found" in facts["error"]


def test_a_refusal_is_a_warning_while_another_way_is_open_and_over_when_the_address_works(box: Letterbox) -> None:
    box.chats.will(REFUSED)
    account = box.account("studio.berlin", MAIL, CHAT)
    box.plan(account)
    box.all()
    assert [(kind, facts.get("severity")) for kind, facts in box.signals()] == [("tokens.telling_failed", "warning")]
    box.becomes(account, told="urgent")
    box.plan(account, "urgent", now=NOW + timedelta(days=5))
    box.all()
    assert [kind for kind, _ in box.signals()] == ["tokens.telling_failed", "tokens.told"]
    assert len(box.mail.letters) == 2


def test_a_failure_after_the_trouble_is_over_alarms_nobody(box: Letterbox) -> None:
    box.chats.will(Scripted(how="close"), REFUSED)
    account, message = planned(box)
    box.work(message)
    box.becomes(account, told="")
    box.plan(account, "restored", now=NOW + timedelta(hours=1))
    box.work(box.jobs()[-1])
    assert box.states(account)[-1] == ("restored", "chat", "failed")
    assert box.signals() == []


def test_a_fallback_that_takes_the_same_address_gets_the_letter_instead(box: Letterbox) -> None:
    box.mail.refused.add("ann@studio.example")
    account, message = planned(box, MAIL)
    box.work(message)
    assert box.states(account) == [("reconnect", "letters", "failed"), ("reconnect", "spare", "waiting")]
    assert box.history(account)[-1].facts["instead"] == "spare"
    box.work(box.jobs()[0])
    assert [letter.to for letter in box.spare.letters] == [("ann@studio.example",)]
    assert box.signals() == []


def test_the_last_try_ends_in_failure_and_not_in_a_dead_job(box: Letterbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "TRIES", 2)
    box.chats.always = BROKEN
    account, message = planned(box)
    assert box.work(message) is not None
    assert box.work(message) is None
    assert box.states(account) == [("reconnect", "chat", "failed")]
    assert box.jobs() == []


def test_a_channel_that_left_the_file_meanwhile_fails_with_its_reason(box: Letterbox) -> None:
    account, message = planned(box)
    box.sql("UPDATE token_messages SET channel = 'off' WHERE id = :id", id=message)
    box.work(message)
    assert box.rows(account)[0].error == "channel off is switched off"


def test_two_workers_with_one_message_send_it_once(box: Letterbox) -> None:
    account, message = planned(box)
    claimed = box.claim(message)
    assert claimed is not None
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: _ignoring_a_lost_lease(box, claimed), range(2)))
    assert len(box.chats.requests) == 1
    assert box.states(account) == [("reconnect", "chat", "sent")]


def _ignoring_a_lost_lease(box: Letterbox, claimed: Any) -> None:
    try:
        box.attempt(claimed)
    except LeaseLost:
        return


def test_a_narrow_address_puts_the_rest_in_line_without_counting_tries(box: Letterbox) -> None:
    narrow = {"channel": "narrow", "to": "88"}
    accounts = [box.account(f"shop-{number}", narrow) for number in range(3)]
    for number, account in enumerate(accounts):
        box.plan(account, now=NOW + timedelta(seconds=number))
    box.all()
    assert len(box.chats.requests) == 1
    assert [box.rows(account)[0].tries for account in accounts] == [1, 0, 0]
    rows = box.sql("SELECT extract(epoch FROM not_before - now()) AS seconds FROM jobs ORDER BY not_before")
    assert [round(row.seconds / 10) for row in rows] == [1, 2]


def test_an_end_does_not_overtake_what_is_on_its_way_to_the_same_address(box: Letterbox) -> None:
    account, message = planned(box)
    box.sql("UPDATE token_messages SET state = 'sending', tried_at = now(), in_doubt = true WHERE id = :id", id=message)
    box.becomes(account, told="")
    assert box.plan(account, "restored", now=NOW + timedelta(hours=1)) == 1
    box.work(box.jobs()[-1])
    assert box.states(account)[-1] == ("restored", "chat", "waiting")
    assert box.chats.requests == []


def test_a_worker_that_is_killed_while_it_sends_leaves_a_message_that_says_it_may_be_a_repeat(
    box: Letterbox, tmp_path: Path
) -> None:
    account, message = planned(box)
    box.chats.will(Scripted(how="hang"))
    code = (
        "import sys\nfrom uuid import UUID\nfrom tasks.celery import compose\ncompose()\n"
        "from app.jobs import spec, worker\nfrom tasks.tokens_telling import tell\n"
        "claimed = worker.claim(UUID(sys.argv[1]), worker='process')\n"
        "worker.run(claimed, spec.get(claimed.task), tell)\n"
    )
    [job] = box.sql("SELECT id FROM jobs WHERE key = :key", key=str(message))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (tmp_path / "log").open("wb") as output:
        command = [sys.executable, "-c", code, str(job.id)]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    box.chats.got(1)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert (box.rows(account)[0].state, box.rows(account)[0].in_doubt) == ("sending", True)
    box.ledger.lapse(job.id)
    assert box.work(message) is None
    assert len(box.chats.requests) == 1, "it is not known yet that nobody sends it any more"
    box.sql("UPDATE token_messages SET tried_at = tried_at - interval '2 minutes'")
    assert box.work(message) is None
    assert [REPEAT in text for text in told(box)] == [False, True]
    assert box.states(account) == [("reconnect", "chat", "sent")]


def test_a_message_whose_job_has_died_gets_another_one(box: Letterbox) -> None:
    account, message = planned(box)
    box.sql("DELETE FROM jobs")
    box.sql("UPDATE token_messages SET created_at = now()")
    with unit_of_work() as uow:
        assert delivering.pick_up(uow) == 0, "it was written this moment"
    box.sql("UPDATE token_messages SET created_at = now() - interval '10 minutes'")
    with unit_of_work() as uow:
        assert delivering.pick_up(uow) == 1
    box.work(message)
    assert box.states(account) == [("reconnect", "chat", "sent")]


def test_a_program_gets_the_letter_as_what_an_alertmanager_posts(box: Letterbox) -> None:
    account, message = planned(box, {"channel": "hook"})
    box.work(message)
    body = box.chats.requests[0].json
    assert (body["status"], body["groupKey"]) == ("firing", f"account:instagram/{account.external_id}")
    assert body["commonLabels"]["step"] == "reconnect"
    assert LINK.search(body["commonAnnotations"]["link"])
