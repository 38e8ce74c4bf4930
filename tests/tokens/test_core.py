"""The ladder: when a token is tried, where it stands, and when somebody looks again, with nothing but moments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog import App
from app.catalog import Tokens as Settings
from app.tokens import core
from app.tokens.core import Daily, Grant, Ladder, Level, Place, Step, Token
from app.tokens.provider import Traits
from app.tokens.providers import platforms

SETTINGS = Settings()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLATFORMS = sorted(platforms())


@dataclass(frozen=True)
class Life:
    """A token left alone with time, each try of it failing, until nobody would look at it again."""

    platform: str
    token: Token
    zone: str = "UTC"
    daily_at: time = time(9)
    app: App | None = None
    tries: list[datetime] = field(default_factory=list)
    told: dict[Step, datetime] = field(default_factory=dict)
    looks: list[tuple[datetime, Place]] = field(default_factory=list)

    @property
    def traits(self) -> Traits:
        return platforms()[self.platform].TRAITS

    @property
    def ladder(self) -> Ladder:
        return core.ladder_of(SETTINGS, self.traits, self.app)

    @property
    def daily(self) -> Daily:
        return Daily(self.daily_at, ZoneInfo(self.zone))

    @property
    def paused_at(self) -> datetime | None:
        return next((moment for moment, place in self.looks if place.paused), None)

    @property
    def local(self) -> list[str]:
        """When it was tried, as its tenant's clock shows."""
        return [f"{moment.astimezone(ZoneInfo(self.zone)):%d %H:%M}" for moment in self.tries]

    def lived(self, start: datetime = NOW, *, span: timedelta = timedelta(days=90), most: int = 400) -> Life:
        """From `start` on, for `span`."""
        token, moment = self.token, start
        for _ in range(most):
            due = core.try_at(token, self.ladder, self.traits, self.daily, moment)
            if due is not None and due <= moment:
                token = replace(token, attempts=token.attempts + 1, tried_at=moment, wait_until=None)
                self.tries.append(moment)
            place = core.place_of(token, self.ladder, self.traits, moment)
            self.looks.append((moment, place))
            if place.step.height > max((step.height for step in self.told), default=0):
                self.told[place.step] = moment
            following = core.look_at(token, self.ladder, self.traits, self.daily, moment)
            if following is None or following > start + span:
                return self
            assert following > moment, "it is looked at again and again"
            moment = following
        raise AssertionError("it is looked at without end")


def good(end: datetime, **more: object) -> Token:
    given = {"issued_at": end - timedelta(days=60), "has_refresh": True} | more
    return Token(1, Grant.GOOD, expires_at=end, **given)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 12, day, hour, minute, tzinfo=UTC)


def test_a_token_of_weeks_gets_three_tries_an_hour_apart_and_then_one_a_day_until_it_expires() -> None:
    life = Life("instagram", good(at(20, 15))).lived()
    assert life.local[:5] == ["11 09:00", "11 10:00", "11 11:00", "12 09:00", "13 09:00"]
    assert life.local[5:] == [f"{day} 09:00" for day in range(14, 21)]


def test_its_owner_is_told_after_the_third_try_urgently_at_three_days_and_its_operations_pause_at_one() -> None:
    life = Life("instagram", good(at(20, 15))).lived()
    assert life.told == {
        Step.RECONNECT: at(11, 11),
        Step.URGENT: at(18, 9),
        Step.LAST: at(19, 15),
        Step.EXPIRED: at(20, 15),
    }
    assert life.paused_at == at(19, 15)


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2027, 3, 28, 12, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 12, tzinfo=UTC)),
    ],
)
def test_the_daily_time_is_the_tenants_also_when_its_clock_is_changed(zone: str, change: datetime) -> None:
    life = Life("instagram", good(change + 5 * DAY), zone=zone).lived(change - 20 * DAY)
    shown = [moment.astimezone(ZoneInfo(zone)) for moment in life.tries]
    assert [moment.hour for moment in shown[:3]] == [9, 10, 11]
    assert {(moment.hour, moment.minute) for moment in shown[3:]} == {(9, 0)}
    assert len({moment.date() for moment in shown}) == len(shown) - 2
    days = [moment.date() for moment in shown[2:]]
    assert all(later - earlier == DAY for earlier, later in pairwise(days))


def test_a_daily_time_that_a_clock_change_skips_comes_right_after_it_and_one_that_comes_twice_comes_once() -> None:
    daily = Daily(time(2, 30), ZoneInfo("Europe/Berlin"))
    spring = daily.after(datetime(2027, 3, 28, 0, tzinfo=UTC))
    assert spring == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    autumn = daily.after(datetime(2026, 10, 24, 22, tzinfo=UTC))
    assert autumn == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert daily.after(autumn + timedelta(seconds=1)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_third_try_late_in_the_evening_does_not_make_the_next_one_wait_for_two_days() -> None:
    token = good(NOW + 9 * DAY, attempts=3, tried_at=NOW.replace(hour=20))
    life = Life("instagram", token).lived(NOW.replace(hour=20, minute=1))
    assert life.tries[0] == (NOW + DAY).replace(hour=9)


@pytest.mark.parametrize("platform", ["reddit", "tiktok", "x"])
def test_a_short_lived_token_gets_its_three_tries_before_its_end(platform: str) -> None:
    traits = platforms()[platform].TRAITS
    end = NOW + traits.life
    life = Life(platform, good(end, issued_at=NOW)).lived(span=traits.life + 3 * HOUR)
    assert life.tries[0] == end - traits.lead
    assert len([moment for moment in life.tries if moment < end]) >= 3
    assert life.told[Step.RECONNECT] == life.tries[2] < end
    assert life.paused_at == life.told[Step.EXPIRED] == end
    assert [later - earlier for earlier, later in pairwise(life.tries[3:])] == [HOUR] * (len(life.tries) - 4)


def test_the_tries_of_x_and_reddit_are_a_third_of_their_lead_apart() -> None:
    x = Life("x", good(NOW + 2 * HOUR, issued_at=NOW)).lived(span=2 * HOUR)
    assert [(NOW + 2 * HOUR - moment) // timedelta(minutes=1) for moment in x.tries] == [60, 40, 20]
    reddit = Life("reddit", good(NOW + HOUR, issued_at=NOW)).lived(span=HOUR)
    assert [(NOW + HOUR - moment) // timedelta(minutes=1) for moment in reddit.tries] == [30, 20, 10]


def test_an_answer_with_a_shorter_life_than_usual_gets_its_tries_in_it_and_is_not_refreshed_without_end() -> None:
    end = NOW + 2 * HOUR
    life = Life("tiktok", good(end, issued_at=NOW)).lived(span=2 * HOUR)
    assert [(end - moment) // timedelta(minutes=1) for moment in life.tries[:3]] == [90, 60, 30]


def test_an_app_cannot_have_its_tokens_refreshed_as_soon_as_they_are_given() -> None:
    eager = App(name="x", refresh_minutes=100_000)
    life = Life("x", good(NOW + 2 * HOUR, issued_at=NOW), app=eager).lived(span=2 * HOUR)
    assert life.tries[0] == NOW + timedelta(minutes=30)
    assert not life.ladder.daily
    always = core.ladder_of(Settings(refresh_days=90), platforms()["instagram"].TRAITS)
    assert always.lead == 45 * DAY


def test_a_consent_that_ends_on_a_day_is_asked_for_at_ten_three_and_one_days_and_what_it_gave_goes_on() -> None:
    for platform, life in (("linkedin", 60 * DAY), ("tiktok", DAY)):
        rules = Life(platform, good(NOW))
        for days, step in ((11, Step.NONE), (10, Step.RECONNECT), (3, Step.URGENT), (1, Step.LAST), (0, Step.LAST)):
            token = good(NOW + life / 2, issued_at=NOW - life / 2, refresh_expires_at=NOW + days * DAY)
            found = core.place_of(token, rules.ladder, rules.traits, NOW)
            assert (found.step, found.paused) == (step, False)
            assert (found.login, found.client) == (step is not Step.NONE,) * 2


def test_nothing_is_tried_where_the_consent_ends_with_the_token() -> None:
    life = Life("linkedin", good(at(20, 15), refresh_expires_at=at(20, 15))).lived()
    assert life.tries == []
    assert life.told == {
        Step.RECONNECT: at(11, 9),
        Step.URGENT: at(18, 9),
        Step.LAST: at(19, 15),
        Step.EXPIRED: at(20, 15),
    }
    assert life.paused_at == at(19, 15)
    longer = Life("linkedin", good(at(20, 15), refresh_expires_at=at(30, 15))).lived()
    assert longer.local[0] == "11 09:00"


def test_a_consent_that_is_dead_is_told_at_once_without_a_try_and_pauses_when_its_token_is_of_no_use() -> None:
    dead = {name: Life(name, replace(good(NOW + 20 * DAY), grant=Grant.DEAD)) for name in ("instagram", "linkedin")}
    dead["x"] = Life("x", replace(good(NOW + HOUR, issued_at=NOW - HOUR), grant=Grant.DEAD))
    for life in dead.values():
        life.lived()
        assert life.tries == []
        assert next(iter(life.told.values())) == NOW
        assert life.looks[0][1].login
    assert dead["instagram"].told[Step.LAST] == dead["instagram"].paused_at == NOW
    assert dead["linkedin"].paused_at == NOW + 19 * DAY
    assert dead["x"].told == {Step.RECONNECT: NOW, Step.EXPIRED: NOW + HOUR}
    assert dead["x"].paused_at == NOW + HOUR


def test_a_rotated_token_that_got_lost_is_told_at_once_and_pauses_at_its_end() -> None:
    life = Life("tiktok", replace(good(NOW + 10 * HOUR), grant=Grant.LOST)).lived()
    assert life.told == {Step.RECONNECT: NOW, Step.EXPIRED: NOW + 10 * HOUR}
    assert life.tries == []


def test_a_token_without_a_refresh_token_is_told_at_ten_three_and_one_days() -> None:
    life = Life("linkedin", good(at(20, 15), has_refresh=False)).lived()
    assert life.told == {
        Step.RECONNECT: at(11, 9),
        Step.URGENT: at(18, 9),
        Step.LAST: at(19, 15),
        Step.EXPIRED: at(20, 15),
    }
    assert life.tries == []
    assert all(place.login for _, place in life.looks if place.step is not Step.NONE)


def test_an_account_of_x_without_a_refresh_token_is_told_at_once() -> None:
    life = Life("x", good(NOW + 2 * HOUR, issued_at=NOW, has_refresh=False)).lived()
    assert life.told == {Step.RECONNECT: NOW, Step.EXPIRED: NOW + 2 * HOUR}


def test_one_token_that_has_expired_is_not_tried_any_more_and_a_refresh_token_is() -> None:
    for platform, tries in (("threads", False), ("linkedin", True), ("x", True)):
        life = Life(platform, good(NOW - DAY)).lived(span=2 * DAY)
        assert bool(life.tries) is tries
        assert life.told == {Step.EXPIRED: NOW}


def test_a_token_that_is_too_young_waits_until_it_is_old_enough() -> None:
    young = good(NOW + 5 * DAY, issued_at=NOW - HOUR)
    assert Life("instagram", young).lived().tries[0] == datetime(2026, 11, 23, 9, tzinfo=UTC)
    late = good(NOW + 2 * DAY, issued_at=NOW - HOUR)
    assert Life("instagram", late).lived().tries[0] == NOW + 23 * HOUR


def test_a_token_that_ends_before_it_may_be_refreshed_is_told_at_its_end_and_not_at_its_next_try() -> None:
    brief = good(NOW + HOUR, issued_at=NOW)
    assert Life("instagram", brief).lived().told == {Step.EXPIRED: NOW + HOUR}
    waiting = good(NOW + HOUR, wait_until=NOW + 5 * HOUR)
    assert Life("facebook", waiting).lived().told == {Step.EXPIRED: NOW + HOUR}


def test_a_platform_that_asked_for_time_gets_it() -> None:
    token = good(NOW + 5 * DAY, attempts=1, tried_at=NOW, wait_until=NOW + 3 * HOUR)
    assert Life("instagram", token).lived().tries[0] == NOW + 3 * HOUR


def test_while_its_app_is_held_a_token_climbs_without_tries_and_its_owner_has_nothing_to_do() -> None:
    token = good(at(20, 15), blocked=True, wait_until=NOW + 90 * DAY)
    life = Life("instagram", token).lived()
    assert life.tries == []
    assert life.told == {Step.URGENT: at(18, 9), Step.LAST: at(19, 15), Step.EXPIRED: at(20, 15)}
    # An expired token that cannot be refreshed is the owner's business, whoever is to blame.
    assert [place.client for _, place in life.looks] == [False, False, False, True]


@pytest.mark.parametrize("token", [replace(good(NOW - DAY), disabled=True), Token(0, Grant.NONE)])
def test_a_token_that_is_disabled_or_was_never_there_stands_nowhere(token: Token) -> None:
    life = Life("instagram", token).lived()
    assert (life.looks, life.tries) == ([(NOW, core.NOWHERE)], [])
    assert core.level_of(token, life.ladder, life.traits, NOW) is None


def test_a_token_that_never_expires_is_left_alone() -> None:
    life = Life("facebook", Token(1, Grant.GOOD, issued_at=NOW)).lived()
    assert (life.looks, life.tries) == ([(NOW, core.NOWHERE)], [])


def test_levels_are_those_of_the_daily_report() -> None:
    levels = {
        "healthy": good(NOW + 11 * DAY),
        "expiring_soon": good(NOW + 9 * DAY),
        "critical": good(NOW + 2 * DAY, attempts=3),
    }
    ladder, traits = Life("instagram", levels["healthy"]).ladder, platforms()["instagram"].TRAITS
    assert {core.level_of(token, ladder, traits, NOW) for token in levels.values()} == set(Level)
    for name, token in levels.items():
        assert core.level_of(token, ladder, traits, NOW) == name
    assert core.level_of(replace(levels["healthy"], grant=Grant.DEAD), ladder, traits, NOW) is Level.CRITICAL


def test_the_refreshes_of_a_day_are_spread_and_each_account_keeps_its_place() -> None:
    ladder = Life("instagram", good(NOW)).ladder
    places = [core.daily_of(SETTINGS, ladder, "UTC", UUID(int=number * 7919)).offset for number in range(300)]
    assert min(places) >= timedelta()
    assert max(places) < timedelta(minutes=SETTINGS.spread_minutes)
    assert len({place // timedelta(minutes=1) for place in places}) > 25
    assert core.daily_of(SETTINGS, ladder, "UTC", UUID(int=7919)).offset == places[1]


_SPANS = st.timedeltas(min_value=-5 * DAY, max_value=40 * DAY).map(lambda span: span - span % timedelta(seconds=1))


@st.composite
def lives(draw: st.DrawFn, *, grants: tuple[Grant, ...] = tuple(Grant)) -> Life:
    """Any token, of any platform."""
    platform = draw(st.sampled_from(PLATFORMS))
    moments = st.none() | _SPANS.map(lambda span: NOW + span)
    attempts = draw(st.integers(0, 5))
    token = Token(
        1,
        draw(st.sampled_from(grants)),
        has_refresh=draw(st.booleans()),
        blocked=draw(st.booleans()),
        issued_at=draw(st.none() | _SPANS.map(lambda span: NOW - abs(span))),
        expires_at=draw(moments),
        refresh_expires_at=draw(moments),
        attempts=attempts,
        tried_at=NOW - timedelta(minutes=draw(st.integers(0, 3000))) if attempts else None,
        wait_until=draw(st.none() | st.just(NOW + HOUR)),
    )
    return Life(platform, token, zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia"])))


@settings(max_examples=150, deadline=None)
@given(life=lives(), earlier=_SPANS, more=_SPANS)
def test_steps_and_pauses_only_come_as_time_passes_without_success(life: Life, earlier, more) -> None:
    first, then = NOW + earlier, NOW + earlier + abs(more)
    before, after = (core.place_of(life.token, life.ladder, life.traits, moment) for moment in (first, then))
    assert before.step.height <= after.step.height
    assert before.paused <= after.paused
    assert (before.client, before.login) <= (after.client, after.login)


@settings(max_examples=150, deadline=None)
@given(life=lives(grants=(Grant.GOOD,)))
def test_somebody_looks_again_at_every_good_token_that_has_an_end(life: Life) -> None:
    following = core.look_at(life.token, life.ladder, life.traits, life.daily, NOW)
    if life.token.expires_at is not None and life.token.expires_at > NOW:
        assert following is not None
        assert following <= life.token.expires_at


@settings(max_examples=60, deadline=None)
@given(life=lives(), samples=st.lists(st.timedeltas(timedelta(), 30 * DAY), max_size=5))
def test_whatever_becomes_of_it_a_token_pauses_in_time_and_is_never_looked_at_in_a_loop(life: Life, samples) -> None:
    life.lived(span=30 * DAY, most=1500)
    token = life.token
    for span in samples:
        seen = [place for moment, place in life.looks if moment <= NOW + span][-1]
        now = core.place_of(token, life.ladder, life.traits, NOW + span)
        assert seen.paused >= now.paused
    if token.expires_at is not None and token.expires_at <= NOW + 30 * DAY and token.grant is not Grant.NONE:
        assert life.looks[-1][1].paused
        assert Step.EXPIRED in life.told or life.told == {}
