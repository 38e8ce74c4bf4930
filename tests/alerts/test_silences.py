"""Silences: what may be asked for, what a change does, who is told of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.alerts import silences
from app.alerts.matchers import Matcher, parse, parse_all
from app.alerts.muting import SilenceState
from app.alerts.silences import Kept
from app.errors import Invalid, NotFound
from app.infra.db import execute_once, read_only, unit_of_work

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USUAL: dict[str, Any] = {
    "matchers": (Matcher("alertname", "Trouble"),),
    "starts_at": NOW,
    "ends_at": NOW + HOUR,
    "created_by": "ann",
    "comment": "we know",
}


def create(now: datetime = NOW, **fields: Any) -> Kept:
    with unit_of_work() as uow:
        return silences.create(uow, **{**USUAL, **fields}, now=now)


def update(silence: Kept, now: datetime = NOW, **fields: Any) -> Kept:
    """Say again what it says, with `fields` in it."""
    said = {name: getattr(silence, name) for name in USUAL}
    with unit_of_work() as uow:
        return silences.update(uow, uuid.UUID(silence.id), **{**said, **fields}, now=now)


def expire(silence: Kept, now: datetime = NOW) -> Kept:
    with unit_of_work() as uow:
        return silences.expire(uow, uuid.UUID(silence.id), by="bob", now=now)


def get(silence: Kept) -> Kept:
    with read_only() as session:
        return silences.get(session, uuid.UUID(silence.id))


def active(now: datetime) -> list[str]:
    with read_only() as session:
        return [silence.id for silence in silences.active(session, now)]


def wrong(**fields: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        create(**fields)
    return {problem.field: problem.message for problem in caught.value.problems}


def history() -> list[tuple[str, str, dict[str, Any]]]:
    rows = execute_once("SELECT event, by, facts FROM alert_history ORDER BY id")
    return [(row.event, row.by, row.facts) for row in rows]


def test_it_holds_from_its_beginning_until_before_its_end(database: str) -> None:
    silence = create(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    assert active(NOW) == []
    assert active(NOW + HOUR) == [silence.id]
    assert active(NOW + 2 * HOUR) == []
    assert get(silence) == silence


def test_it_begins_now_at_the_earliest(database: str) -> None:
    assert create(starts_at=NOW - HOUR).starts_at == NOW


def test_everything_that_is_wrong_is_named(database: str) -> None:
    assert wrong(ends_at=NOW) == {"ends_at": "start time must be before end time"}
    assert wrong(starts_at=NOW - 2 * HOUR, ends_at=NOW - HOUR) == {"ends_at": "end time can't be in the past"}
    assert set(wrong(created_by="x" * 201, comment="x" * 2001)) == {"created_by", "comment"}
    assert set(wrong(matchers=())) == {"matchers"}
    assert set(wrong(matchers=[Matcher("a", str(number)) for number in range(51)])) == {"matchers"}
    bad = wrong(matchers=[Matcher("a", "b"), Matcher("a-b", "x"), Matcher("c", "\x00")])
    assert set(bad) == {"matchers.1.name", "matchers.2.value"}
    assert execute_once("SELECT FROM alert_silences") == []


@pytest.mark.parametrize("text", ['a=""', 'a=~".*"', 'a=~"x|"', 'a="",b=~".*"'])
def test_what_would_silence_every_alert_is_refused(database: str, text: str) -> None:
    assert wrong(matchers=parse_all(text)) == {"matchers": "at least one matcher must not match the empty string"}


@pytest.mark.parametrize("text", ['a="",b="c"', 'a!="b"', 'a=~".+"', 'a!~"b.*"', 'a!=""'])
def test_what_names_something_is_not(database: str, text: str) -> None:
    assert create(matchers=parse_all(text)).matchers == parse_all(text)


def test_its_end_author_and_comment_change_under_the_same_id(database: str) -> None:
    silence = create(now=NOW)
    changed = update(
        silence, now=NOW + HOUR / 2, ends_at=NOW + 3 * HOUR, comment="longer", starts_at=NOW.replace(microsecond=999)
    )
    assert changed.id == silence.id
    assert get(silence).ends_at == NOW + 3 * HOUR
    assert (get(silence).comment, get(silence).starts_at) == ("longer", NOW)
    assert get(silence).updated_at == NOW + HOUR / 2
    assert get(silence).created_at == NOW


@pytest.mark.parametrize("change", [{"matchers": (parse('other="x"'),)}, {"starts_at": NOW - HOUR}])
def test_what_would_rewrite_history_ends_it_and_begins_another(database: str, change: dict[str, Any]) -> None:
    silence = create(now=NOW)
    later = NOW + timedelta(minutes=10)
    other = update(silence, now=later, **change)
    assert other.id != silence.id
    assert other.starts_at == later
    assert get(silence).ends_at == later
    assert get(silence).state(later) is SilenceState.EXPIRED
    assert active(later) == [other.id]


def test_a_pending_one_may_begin_at_another_time_that_is_to_come(database: str) -> None:
    silence = create(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    moved = update(silence, starts_at=NOW + HOUR / 2)
    assert (moved.id, moved.starts_at) == (silence.id, NOW + HOUR / 2)
    begun = update(moved, now=NOW + HOUR / 4, starts_at=NOW)
    assert begun.id != silence.id
    assert get(silence).state(NOW + HOUR / 4) is SilenceState.EXPIRED


def test_an_expired_one_never_comes_back(database: str) -> None:
    silence = expire(create(), now=NOW + HOUR / 2)
    other = update(silence, now=NOW + 2 * HOUR, ends_at=NOW + 3 * HOUR)
    assert other.id != silence.id
    assert get(silence).ends_at == NOW + HOUR / 2
    assert active(NOW + 2 * HOUR) == [other.id]


def test_expiring_ends_it_now_once(database: str) -> None:
    running, pending = create(), create(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    for silence in (running, pending):
        ended = expire(silence, now=NOW + HOUR / 2)
        assert ended.state(NOW + HOUR / 2) is SilenceState.EXPIRED
        assert expire(silence, now=NOW + HOUR) == ended
    assert active(NOW + HOUR) == []
    assert [event for event, _, _ in history()].count("silence_expired") == 2


def test_one_that_is_unknown_is_not_found(database: str) -> None:
    unknown = create()
    execute_once("DELETE FROM alert_silences")
    for act in (lambda: update(unknown), lambda: expire(unknown), lambda: get(unknown)):
        with pytest.raises(NotFound):
            act()


def test_every_change_is_kept_with_who_made_it(database: str) -> None:
    silence = create()
    other = update(silence, now=NOW + HOUR / 4, matchers=(parse('b="c"'),), created_by="cid")
    expire(other, now=NOW + HOUR / 2)
    begun, *both, over = history()
    ended, replaced = sorted(both, key=lambda entry: entry[0])
    assert (begun[0], begun[1], begun[2]["matchers"]) == ("silenced", "ann", '{alertname="Trouble"}')
    assert (ended[0], ended[1], ended[2]["silence"]) == ("silence_expired", "cid", silence.id)
    assert (replaced[0], replaced[2]["silence"], replaced[2]["replaces"]) == ("silenced", other.id, silence.id)
    assert (over[0], over[1]) == ("silence_expired", "bob")


def test_every_change_lets_the_next_pass_look_at_the_open_groups(database: str) -> None:
    execute_once(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing, due_at)"
        " VALUES (gen_random_uuid(), 't', 'routing', '{}', 'warning', '{}', now() + interval '1 hour')"
    )
    due = "SELECT due_at <= now() AS is_due FROM alert_groups"
    rest = "UPDATE alert_groups SET due_at = now() + interval '1 hour'"
    silence = create()
    assert execute_once(due)[0].is_due
    execute_once(rest)
    update(silence, comment="other")
    assert execute_once(due)[0].is_due
    execute_once(rest)
    expire(silence)
    assert execute_once(due)[0].is_due


def test_they_are_listed_as_alertmanager_lists_them(database: str) -> None:
    soon = create(ends_at=NOW + HOUR, comment="soon over")
    late = create(ends_at=NOW + 9 * HOUR, comment="late over")
    waits = create(starts_at=NOW + 5 * HOUR, ends_at=NOW + 6 * HOUR, comment="begins later")
    first = create(starts_at=NOW + 4 * HOUR, ends_at=NOW + 6 * HOUR, comment="begins")
    over = expire(create(comment="over"), now=NOW + timedelta(minutes=1))
    last = expire(create(comment="last over"), now=NOW + timedelta(minutes=2))

    def listed(session: Session, *texts: str) -> list[str]:
        found = silences.list_silences(session, NOW + timedelta(minutes=3), matchers=map(parse, texts))
        return [silence.id for silence in found]

    with read_only() as session:
        assert listed(session) == [one.id for one in (soon, late, first, waits, last, over)]
        assert listed(session, 'alertname=~"Tr.*"', 'b=""') == listed(session)
        assert listed(session, 'alertname="Other"') == []


def test_text_that_postgres_refuses_is_cleaned(database: str) -> None:
    silence = create(comment="a\x00b\ud800", created_by=" ann\x00 ")
    assert (get(silence).comment, get(silence).created_by) == ("ab?", "ann")


def test_a_silence_for_ever_can_be_counted_with(database: str) -> None:
    silence = create(ends_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert silence.ends_at + timedelta(days=365) > NOW
