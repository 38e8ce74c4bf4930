"""What a post does to an open episode, beside a plain model of Alertmanager's own merging."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import merging
from app.alerts.core import Episode, Policy, Reason, State, advance
from app.alerts.merging import SIGNAL, Open
from app.alerts.posted import Posted

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ID = uuid.UUID(int=1)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def post(received: float, starts: float, ends: float, *, explicit: bool = True, **annotations: str) -> Posted:
    return Posted("f", {"a": "b"}, annotations, "", at(starts), at(ends), explicit, at(received), "api")


def opened(first: Posted) -> Open:
    episode = merging.begin(first, ID, first.received_at)
    assert episode is not None
    return episode


def span(episode: Open) -> tuple[datetime, datetime | None, bool]:
    return episode.life.starts_at, episode.life.ends_at, episode.life.ends_explicitly


@dataclass(frozen=True)
class Model:
    """Alertmanager 0.25: types.Alert, mem.Alerts.Put and types.Alert.Merge, word for word, but for two things: the mark
    of a time-out stays with the end it belongs to, and what is over already does not begin anew."""

    starts: datetime
    ends: datetime
    timeout: bool

    def put(self, new: Model, now: datetime) -> Model:
        if (self.starts < new.ends < self.ends) or (self.starts < new.starts < self.ends):
            return self.merge(new, now)
        return new if new.ends > now else replace(new, starts=min(self.starts, new.starts))

    def merge(self, new: Model, now: datetime) -> Model:
        merged = new
        if self.starts < new.starts:
            merged = replace(merged, starts=self.starts)
        if new.ends <= now:  # resolved
            if self.ends <= now and self.ends > new.ends:
                merged = replace(merged, ends=self.ends, timeout=self.timeout)
        elif self.ends > new.ends and not self.timeout:
            merged = replace(merged, ends=self.ends, timeout=False)
        return merged


@st.composite
def posts(draw: st.DrawFn) -> list[Posted]:
    """Posts of one alert, in the order they came."""
    received = sorted(draw(st.lists(st.integers(0, 30), min_size=1, max_size=8)))
    made = []
    for moment in received:
        starts = draw(st.integers(-5, moment + 3))
        explicit = draw(st.booleans())
        ends = draw(st.integers(starts, moment + 10)) if explicit else max(starts, moment + 5)
        made.append(post(moment, starts, ends, explicit=explicit))
    return made


@given(posts())
def test_it_is_what_alertmanager_makes_of_the_same_posts(given_posts: list[Posted]) -> None:
    model: Model | None = None
    episode: Open | None = None
    for one in given_posts:
        new = Model(one.starts_at, one.ends_at, not one.ends_explicitly)
        if episode is None:
            episode = merging.begin(one, ID, one.received_at)
            model = new if episode is not None else None
        else:
            assert model is not None
            episode, model = merging.merge(episode, one), model.put(new, one.received_at)
        if episode is not None and model is not None:
            assert span(episode) == (model.starts, model.ends, not model.timeout)


@given(posts())
def test_it_never_goes_back_and_is_looked_at_in_time(given_posts: list[Posted]) -> None:
    episode = opened(post(0, -5, 5, explicit=False))
    for one in given_posts:
        before, episode = episode, merging.merge(episode, one)
        assert episode.life.state is State.FIRING
        assert episode.occurrences - before.occurrences in (0, 1)
        assert episode.updated_at is not None
        assert before.updated_at is not None
        assert episode.updated_at >= before.updated_at
        assert episode.life.due_at == episode.life.ends_at


@given(posts(), posts())
def test_the_same_post_again_changes_nothing(first: list[Posted], again: list[Posted]) -> None:
    episode = opened(post(0, -5, 5, explicit=False))
    for one in (one for one in (*first, *again) if one.starts_at < one.ends_at):
        once = merging.merge(episode, one)
        assert span(merging.merge(once, one)) == span(once)
        episode = once


def test_what_has_ended_already_opens_nothing() -> None:
    assert merging.begin(post(10, 0, 9), ID, at(10)) is None


def test_an_explicit_end_beats_one_that_stands_for_silence() -> None:
    episode = merging.merge(opened(post(0, 0, 10)), post(1, 0, 6, explicit=False))
    assert span(episode) == (at(0), at(10), True)
    episode = merging.merge(episode, post(2, 0, 7, explicit=False))
    assert span(episode) == (at(0), at(10), True)
    episode = merging.merge(opened(post(0, 0, 10, explicit=False)), post(1, 0, 6))
    assert span(episode) == (at(0), at(6), True)


def test_a_later_post_brings_its_annotations_and_the_earlier_its_beginning() -> None:
    episode = merging.merge(opened(post(0, 0, 5, summary="first", more="x")), post(1, 1, 6, summary="second"))
    assert episode.annotations == {"summary": "second"}
    assert episode.life.starts_at == at(0)


def test_a_refresh_is_no_occurrence_but_coming_back_is() -> None:
    episode = opened(post(0, 0, 5))
    assert merging.merge(episode, post(1, 0, 6)).occurrences == 1
    ended = merging.merge(episode, post(2, 0, 2))
    assert ended.occurrences == 1
    assert merging.merge(ended, post(3, 3, 8)).occurrences == 2
    assert span(merging.merge(ended, post(3, 3, 8))) == (at(3), at(8), True)


def flapping(ended: Posted) -> Open:
    """An episode that flaps and was told to end: that is not believed for ten minutes."""
    episode = opened(post(0, 0, 5))
    episode = merging.merge(replace(episode, life=replace(episode.life, flapping=True)), ended)
    change = advance(episode.life, ended.received_at, Policy(flap_quiet=timedelta(minutes=10)))
    assert change.reason is Reason.FLAP_HELD
    return replace(episode, life=change.episode)


def test_a_held_one_is_held_no_longer_when_it_fires_again() -> None:
    episode = merging.merge(flapping(post(2, 0, 2)), post(3, 3, 8))
    assert not episode.life.held
    assert span(episode) == (at(0), at(8), True)
    assert episode.occurrences == 2


def test_a_held_one_that_is_told_to_end_again_ends_when_it_was_to_end() -> None:
    held = flapping(post(2, 0, 2))
    episode = merging.merge(held, post(4, 0, 3))
    assert episode.life == held.life


def ours(ends: datetime | None = None, state: State = State.FIRING, fires: datetime | None = None) -> Open:
    """An episode that our own signals raised."""
    life = Episode(state=state, starts_at=at(0), ends_at=ends, fires_at=fires)
    return Open(ID, SIGNAL, life, annotations={"summary": "ours", "impact": "much"}, generator_url="ours")


def test_a_signals_episode_lasts_until_somebody_says_that_it_is_over() -> None:
    assert merging.merge(ours(), post(1, 0, 6, explicit=False)).life.ends_at is None
    assert merging.merge(ours(), post(1, 0, 6)).life.ends_at is None
    ended = merging.merge(ours(), post(7, 0, 6))
    assert span(ended) == (at(0), at(6), True)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_post_prolongs_a_signals_episode_and_never_shortens_it(explicit: bool) -> None:
    assert merging.merge(ours(at(30)), post(1, 0, 6, explicit=explicit)).life.ends_at == at(30)
    assert merging.merge(ours(at(5)), post(1, 0, 6, explicit=explicit)).life.ends_at == at(6)


def test_what_our_own_rules_say_of_it_stays_known() -> None:
    episode = merging.merge(ours(), post(1, 0, 6, summary="theirs"))
    assert episode.annotations == {"summary": "theirs", "impact": "much"}
    assert episode.generator_url == "ours"


def test_what_waits_for_confirmation_fires_when_it_is_posted() -> None:
    episode = merging.merge(ours(state=State.PENDING, fires=at(60)), post(1, 0, 6))
    assert episode.life.fires_at == at(1)
    change = advance(episode.life, at(1), Policy())
    assert change.reason is Reason.FIRED
