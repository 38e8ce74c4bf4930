"""The test alert: told as every other one, verified later, and its failure is a fact that people hear of."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from app import clock, signals
from app.alerts import synthetic
from app.infra.db import read_only, unit_of_work
from tests.alerts.pipe import Pipe, pipe

__all__ = ["pipe"]


def begin() -> bool:
    with unit_of_work() as uow:
        return synthetic.begin(uow)


def verify(pipe: Pipe) -> Any:
    with unit_of_work() as uow:
        return synthetic.verify(uow, state(pipe).synthetic_at)


def state(pipe: Pipe) -> Any:
    return pipe.sql("SELECT * FROM alert_clock")[0]


def delivered(pipe: Pipe, after: float = 1.0) -> None:
    pipe.sql(
        "UPDATE notifications SET state = 'delivered', finished_at = created_at + make_interval(secs => :after)",
        after=after,
    )


def kinds() -> list[str]:
    with read_only() as session:
        return [signal.kind for signal in signals.timeline(session, subject=synthetic.SUBJECT)]


def test_it_goes_the_way_of_every_alert_and_is_verified_after_five_minutes(pipe: Pipe):
    assert begin()
    pipe.run()
    assert pipe.told() == [("first", "ops")]
    (message,) = pipe.messages()
    assert message["common_labels"] == synthetic.LABELS
    (job,) = pipe.sql("SELECT * FROM jobs WHERE task = :task", task=synthetic.VERIFY)
    assert job.not_before > state(pipe).synthetic_at + synthetic.WITHIN
    delivered(pipe)
    assert verify(pipe).seconds < 10
    assert kinds() == ["alerts.synthetic_delivered"]
    assert state(pipe).synthetic_outcome.startswith("delivered in")


def test_it_is_verified_once_and_only_the_last_one(pipe: Pipe):
    begin()
    pipe.run()
    delivered(pipe)
    with unit_of_work() as uow:
        assert synthetic.verify(uow, clock.now() - timedelta(hours=1)) is None
    assert verify(pipe) is not None
    assert verify(pipe) is None
    assert len(kinds()) == 1


def test_what_did_not_arrive_in_time_is_a_failure_that_names_the_channel(pipe: Pipe):
    begin()
    pipe.run()
    pipe.sql("UPDATE notifications SET error = 'answered 500'")
    assert "channel:ops by ops: answered 500" in verify(pipe).outcome
    assert kinds() == ["alerts.synthetic_failed"]


def test_late_is_failed(pipe: Pipe):
    begin()
    pipe.run()
    delivered(pipe, after=301)
    assert verify(pipe).kind == "alerts.synthetic_failed"


def test_without_a_tick_or_a_receiver_it_failed_because_nobody_was_told(pipe: Pipe):
    begin()
    assert verify(pipe).outcome.startswith("failed: nobody was told")


def test_one_that_somebody_silenced_is_no_failure(pipe: Pipe):
    begin()
    pipe.sql("""UPDATE alert_episodes SET muted = '[{"by": "silence", "reason": "ann: moving house"}]'""")
    verdict = verify(pipe)
    assert (verdict.kind, verdict.outcome) == (None, "held back: silence, ann: moving house")
    assert kinds() == []


def test_while_one_is_under_way_no_second_one_begins(pipe: Pipe):
    assert begin()
    assert not begin()
    assert pipe.sql("SELECT count(*) FROM alert_episodes")[0].count == 1
    pipe.age(timedelta(minutes=11))
    assert begin()


def test_the_next_one_is_a_new_episode_in_the_same_thread_and_nothing_is_told_in_between(pipe: Pipe):
    begin()
    pipe.run()
    delivered(pipe)
    verify(pipe)
    for _ in range(59):
        pipe.later(minutes=1)
    assert [reason for reason, _ in pipe.told() if reason not in ("first", "resolved")] == []
    assert begin()
    pipe.later(minutes=1)
    assert pipe.sql("SELECT count(*) FROM alert_episodes")[0].count == 2
    assert [reason for reason, _ in pipe.told()].count("first") == 2


class Row:
    """A notification, as `judge` sees it."""

    def __init__(self, recipient: str, state: str, after: float | None = None, channel: str = "slack") -> None:
        self.recipient, self.state, self.channel, self.error = recipient, state, channel, None
        self.finished_at = None if after is None else NOON + timedelta(seconds=after)


NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([Row("person:ann", "delivered", 2)], "alerts.synthetic_delivered"),
        ([Row("person:ann", "failed", 2), Row("person:ann", "delivered", 9)], "alerts.synthetic_delivered"),
        ([Row("person:ann", "delivered", 2), Row("person:ben", "waiting")], "alerts.synthetic_failed"),
        ([Row("person:ann", "skipped", 2)], "alerts.synthetic_failed"),
        ([], "alerts.synthetic_failed"),
    ],
)
def test_everybody_must_have_got_it_by_one_channel_or_another(rows: list[Row], kind: str):
    assert synthetic.judge(rows, None, NOON).kind == kind
