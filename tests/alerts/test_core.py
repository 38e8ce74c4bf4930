"""The life of an episode, also against a simple model of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.alerts import core
from app.alerts.advancing import run
from app.alerts.core import OPEN, SOUNDING, Episode, Policy, Reason, State

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy(flap_quiet=timedelta(minutes=10))


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def firing(**changes: object) -> Episode:
    values: dict[str, object] = {"state": State.FIRING, "starts_at": START, "fired_at": START}
    return Episode(**values | changes)  # type: ignore[arg-type]


def test_a_pending_episode_fires_when_it_has_lasted() -> None:
    pending = Episode(State.PENDING, START, fires_at=after(5))
    assert core.advance(pending, after(4.9), POLICY).reason is None
    change = core.advance(pending, after(5), POLICY)
    assert (change.reason, change.episode.state, change.episode.fired_at) == (Reason.FIRED, State.FIRING, after(5))


def test_a_pending_episode_that_ends_was_never_an_alert() -> None:
    pending = Episode(State.PENDING, START, fires_at=after(5), ends_at=after(3), ends_explicitly=True)
    change = core.advance(pending, after(6), POLICY)
    assert (change.reason, change.episode.state) == (Reason.NEVER_CONFIRMED, State.RESOLVED)


def test_what_is_not_refreshed_ends_and_says_so() -> None:
    change = core.advance(firing(ends_at=after(5)), after(5), POLICY)
    assert (change.reason, change.episode.resolved_at) == (Reason.TIMED_OUT, after(5))
    told = core.advance(firing(ends_at=after(5), ends_explicitly=True), after(5), POLICY)
    assert told.reason is Reason.RESOLVED


def test_the_end_of_a_flapping_one_is_believed_only_after_a_quiet_time() -> None:
    flapping = firing(ends_at=after(5), ends_explicitly=True, flapping=True)
    held = core.advance(flapping, after(5), POLICY)
    assert (held.reason, held.episode.state, held.episode.ends_at) == (Reason.FLAP_HELD, State.FIRING, after(15))
    assert core.advance(held.episode, after(14), POLICY).reason is None
    assert core.advance(held.episode, after(15), POLICY).reason is Reason.RESOLVED


def test_an_acknowledgement_runs_out() -> None:
    taken = core.acknowledge(firing(), START, by="ann", until=after(30)).episode
    assert taken.due_at == after(30)
    change = core.advance(taken, after(30), POLICY)
    assert (change.reason, change.episode.state) == (Reason.ACKNOWLEDGEMENT_EXPIRED, State.FIRING)
    assert change.episode.acknowledged_by is None


def test_only_what_sounds_can_be_acknowledged() -> None:
    pending = Episode(State.PENDING, START)
    assert core.acknowledge(pending, START, by="ann", until=None).reason is None
    over = core.close(firing(), after(1)).episode
    assert core.acknowledge(over, after(2), by="ann", until=None).reason is None
    assert core.close(over, after(3)).reason is None


def test_everything_that_is_due_happens_in_one_look() -> None:
    late = Episode(State.PENDING, START, fires_at=after(1), ends_at=None)
    episode, reasons = run(late, after(60), POLICY)
    assert (episode.state, reasons) == (State.FIRING, [Reason.FIRED])
    assert episode.due_at is None


@dataclass
class Model:
    """The same in the simplest words: what a person would say of the alert."""

    confirmed_at: datetime | None
    sounding: bool
    over: bool = False
    end: datetime | None = None
    flapping: bool = False
    quiet_from: datetime | None = None
    answered_until: datetime | None = None


class Life(RuleBasedStateMachine):
    """Time passes, ends are told and taken back, people answer: the episode and the model stay of one mind."""

    @initialize(wait=st.integers(0, 5), flapping=st.booleans())
    def begin(self, wait: int, flapping: bool) -> None:
        self.now = START
        confirmed = START + timedelta(minutes=wait) if wait else None
        state = State.PENDING if wait else State.FIRING
        self.episode = Episode(state, START, fires_at=confirmed, flapping=flapping)
        self.model = Model(confirmed, sounding=not wait, flapping=flapping)
        self.reasons: list[Reason] = []

    @rule(minutes=st.integers(0, 40))
    def time_passes(self, minutes: int) -> None:
        # A look each minute, as the tick does: the model knows nothing of looks that come late.
        for _ in range(minutes):
            self.now += timedelta(minutes=1)
            self._look()

    def _look(self) -> None:
        self.episode, reasons = run(self.episode, self.now, POLICY)
        self.reasons += reasons
        model = self.model
        if model.over:
            return
        if model.end is not None and model.end <= self.now:
            if model.sounding and model.flapping and model.quiet_from is None:
                model.quiet_from, model.end = self.now, self.now + POLICY.flap_quiet
            else:
                model.over, model.sounding = True, False
                return
        if model.confirmed_at is not None and model.confirmed_at <= self.now:
            model.confirmed_at, model.sounding = None, True
        if model.answered_until is not None and model.answered_until <= self.now:
            model.answered_until = None

    @precondition(lambda self: self.episode.state in OPEN)
    @rule(minutes=st.integers(0, 10))
    def an_end_is_told(self, minutes: int) -> None:
        if self.model.quiet_from is not None:
            return
        end = self.now + timedelta(minutes=minutes)
        self.episode = core.replace(self.episode, ends_at=end, ends_explicitly=True)
        self.model.end = end
        self._look()

    @precondition(lambda self: self.episode.state in OPEN)
    @rule()
    def it_is_raised_again(self) -> None:
        self.episode = core.replace(self.episode, ends_at=None, ends_explicitly=False, held=False)
        self.model.end = self.model.quiet_from = None

    @rule(minutes=st.integers(1, 60))
    def somebody_answers(self, minutes: int) -> None:
        until = self.now + timedelta(minutes=minutes)
        change = core.acknowledge(self.episode, self.now, by="ann", until=until)
        self.episode = change.episode
        if self.model.sounding:
            self.model.answered_until = until
        assert (change.reason is not None) == self.model.sounding

    @rule()
    def somebody_gives_it_back(self) -> None:
        self.episode = core.unacknowledge(self.episode).episode
        self.model.answered_until = None

    @rule()
    def somebody_closes_it(self) -> None:
        self.episode = core.close(self.episode, self.now).episode
        self.model.over, self.model.sounding = True, False

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "episode"):
            return
        expected = (
            State.RESOLVED
            if self.model.over
            else State.PENDING
            if not self.model.sounding
            else State.ACKNOWLEDGED
            if self.model.answered_until
            else State.FIRING
        )
        assert self.episode.state is expected
        assert (self.episode.resolved_at is not None) == (expected is State.RESOLVED)
        assert (self.episode.acknowledged_by is not None) == (expected is State.ACKNOWLEDGED) or self.model.over
        assert self.episode.held == (self.model.quiet_from is not None) or self.model.over

    @invariant()
    def nothing_that_is_due_is_left(self) -> None:
        if hasattr(self, "episode"):
            due = self.episode.due_at
            assert self.episode.state not in SOUNDING or due is None or due > self.now - timedelta(minutes=1)


TestLife = Life.TestCase
TestLife.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
