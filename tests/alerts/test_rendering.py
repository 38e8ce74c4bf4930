"""What a message says of one alert, of many, and of their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from app.alerts.core import State
from app.alerts.rendering import MOST_LINES, About, Subject, message_of
from app.notify.message import Event, Link, Message

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SAID = {
    "summary": "shop is down",
    "impact": "no orders",
    "causes": "network\ndisk",
    "recommendation": "restart it",
    "runbook": "https://example.com/shop",
    "dashboard": "the wall",
}


def subject(number: int = 0, **changes: Any) -> Subject:
    values: dict[str, Any] = {
        "id": uuid4(),
        "fingerprint": f"{number:016x}",
        "name": "Down",
        "severity": "critical",
        "state": State.FIRING,
        "labels": {"alertname": "Down", "severity": "critical", "service": "shop", "host": f"h{number}"},
        "annotations": SAID,
        "starts_at": NOW - timedelta(minutes=5),
        "team": "platform",
        "service": "shop",
    }
    return Subject(**values | changes)


def about(event: Event = Event.FIRING) -> About:
    return About(
        key="k", thread="t" * 64, event=event, at=NOW, receiver="ops", route="routing",
        group_labels={"alertname": "Down"}, links=(Link("Acknowledge", "https://example.com/a"),),
    )  # fmt: skip


def fields(message: Message) -> dict[str, str]:
    return dict(message.fields)


def test_what_was_done_about_several_says_about_which() -> None:
    restarted, idle = SAID | {"actions_taken": "restarted"}, SAID
    one, other = subject(annotations=restarted), subject(1, annotations=idle, service="bank")
    assert dict(message_of(about(), [one]).paragraphs)["Actions taken"] == "restarted"
    assert dict(message_of(about(), [one, other]).paragraphs)["Actions taken"] == "shop: restarted"
    assert "Actions taken" not in dict(message_of(about(), [other]).paragraphs)
    assert (
        dict(message_of(about(), [one, subject(2, annotations=restarted)]).paragraphs)["Actions taken"] == "restarted"
    )


def test_one_alert_says_all_that_is_known_of_it() -> None:
    message = message_of(about(), [subject()])
    assert message.title == "Down on shop"
    assert message.summary == "shop is down"
    assert fields(message) | {"Service": "shop", "Team": "platform", "Duration": "5 min 0 s", "host": "h0"} == fields(
        message
    )
    assert fields(message)["Dashboard"] == "the wall"
    assert [label for label, _ in message.paragraphs] == ["Impact", "Possible causes", "What to do"]
    assert [link.label for link in message.links] == ["Acknowledge", "Runbook"]
    assert message.group_key == 'routing:{alertname="Down"}'


def test_many_alerts_are_counted_the_worst_first_and_only_some_are_listed() -> None:
    mild = [subject(number, severity="warning", annotations={"summary": f"{number}"}) for number in range(1, 80)]
    message = message_of(about(), [*mild, subject()])
    assert message.title == "Down on shop"
    assert message.summary == "shop is down (and 79 more)"
    assert (message.firing, message.resolved, len(message.alerts)) == (80, 0, MOST_LINES)
    assert message.alerts[0].severity == "critical"
    assert message.common_labels == {"alertname": "Down", "severity": "critical", "service": "shop"}
    assert "host" not in fields(message)


def test_the_end_tells_how_long_it_lasted() -> None:
    over = subject(state=State.RESOLVED, resolved_at=NOW - timedelta(minutes=1))
    message = message_of(about(Event.RESOLVED), [over])
    assert message.title == "Down on shop", "as before: mail programs keep threads by it"
    assert fields(message)["Duration"] == "4 min 0 s"
    assert (message.firing, message.resolved, message.alerts[0].status) == (0, 1, "resolved")


def test_what_is_stored_is_read_back_whole() -> None:
    message = message_of(about(), [subject(acknowledged_by="ann", flapping=True)])
    assert Message.from_json(message.as_json()) == message
    assert fields(message)["At it"] == "ann"
    assert "Flapping" in fields(message)
