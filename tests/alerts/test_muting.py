"""What holds an alert back: each reason for itself, and many at once as each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.fingerprint import fingerprint
from app.alerts.matchers import Matcher, matches_all, parse, parse_all
from app.alerts.muting import By, Mute, Muting, Silence, SilenceState, cooldown, outside_hours
from app.catalog import BusinessHours, Inhibition
from app.catalog import Mute as Maintenance
from app.errors import Invalid

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)  # a Friday
HOUR = timedelta(hours=1)
Labels = dict[str, str]


def silence(matchers: str, *, begin: timedelta = -HOUR, end: timedelta = HOUR, name: str = "s") -> Silence:
    return Silence(name, parse_all(matchers), NOW + begin, NOW + end, "ann", "moving")


def rule(source: str, target: str, *equal: str, reason: str = "") -> Inhibition:
    texts = [[str(matcher) for matcher in parse_all(side)] for side in (source, target)]
    return Inhibition.model_validate({"source": texts[0], "target": texts[1], "equal": equal, "reason": reason})


def maintenance(matcher: str, window: dict[str, Any]) -> Maintenance:
    return Maintenance.model_validate({"matchers": [matcher], "window": {"reason": "updates", **window}})


def firing(*alerts: Labels) -> list[tuple[str, Labels]]:
    return [(fingerprint(labels), labels) for labels in alerts]


def inhibitors(labels: Labels, rules: list[Inhibition], *alerts: Labels) -> list[str | None]:
    return [mute.id for mute in Muting((), rules, (), firing(labels, *alerts)).of(labels, NOW)]


def test_a_silence_holds_back_what_it_matches_until_its_end() -> None:
    muting = Muting([silence("team=data")], (), (), ())
    assert muting.of({"team": "data"}, NOW) == (Mute(By.SILENCE, "ann: moving", NOW + HOUR, "s"),)
    assert muting.of({"team": "web"}, NOW) == ()


def test_a_silence_is_pending_then_active_then_expired() -> None:
    found = silence("a=b")
    moments = [-2 * HOUR, -HOUR, timedelta(), HOUR, 2 * HOUR]
    assert [found.state(NOW + moment) for moment in moments] == [
        SilenceState.PENDING,
        SilenceState.ACTIVE,
        SilenceState.ACTIVE,
        SilenceState.EXPIRED,
        SilenceState.EXPIRED,
    ]
    muting = Muting([found], (), (), ())
    assert [bool(muting.of({"a": "b"}, NOW + moment)) for moment in moments] == [False, True, True, False, False]


def test_all_silences_that_match_are_told() -> None:
    every = [silence("a=b", name="1"), silence("a=c", name="2"), silence("a=~.*", name="3")]
    assert [mute.id for mute in Muting(every, (), (), ()).of({"a": "b"}, NOW)] == ["1", "3"]


CAUSE = {"alertname": "RackDown", "rack": "7", "severity": "critical"}
SYMPTOM = {"alertname": "HostDown", "rack": "7", "severity": "warning"}


def test_a_cause_that_fires_holds_back_its_symptoms() -> None:
    rules = [rule("alertname=RackDown", "severity=warning", "rack", reason="the rack is down")]
    found = Muting((), rules, (), firing(CAUSE, SYMPTOM)).of(SYMPTOM, NOW)
    assert found == (Mute(By.INHIBITION, "the rack is down", None, fingerprint(CAUSE)),)
    assert Muting((), rules, (), firing(CAUSE, SYMPTOM)).of(CAUSE, NOW) == ()
    assert Muting((), rules, (), firing(SYMPTOM)).of(SYMPTOM, NOW) == ()


def test_a_rule_without_a_reason_names_its_source() -> None:
    rules = [rule("severity=critical", "severity=warning")]
    assert [mute.reason for mute in Muting((), rules, (), firing(CAUSE)).of(SYMPTOM, NOW)] == ["RackDown fires"]
    nameless = {"severity": "critical"}
    (found,) = Muting((), rules, (), firing(nameless)).of(SYMPTOM, NOW)
    assert found.reason == f"{fingerprint(nameless)} fires"


def test_other_values_of_a_label_that_must_be_equal_do_not_hold_back() -> None:
    rules = [rule("alertname=RackDown", "severity=warning", "rack", "room")]
    assert inhibitors(SYMPTOM, rules, CAUSE) == [fingerprint(CAUSE)]
    assert inhibitors(SYMPTOM, rules, {**CAUSE, "rack": "8"}) == []
    assert inhibitors({**SYMPTOM, "room": "1"}, rules, CAUSE) == []


def test_a_label_missing_on_both_sides_or_empty_is_equal() -> None:
    rules = [rule("alertname=RackDown", "severity=warning", "rack", "room")]
    assert inhibitors({**SYMPTOM, "room": ""}, rules, CAUSE) == [fingerprint(CAUSE)]


def test_alerts_that_are_source_and_target_of_a_rule_do_not_hold_back_one_another_or_themselves() -> None:
    rules = [rule("severity=~critical|warning", "severity=~critical|warning")]
    assert inhibitors(SYMPTOM, rules) == []
    assert inhibitors(SYMPTOM, rules, CAUSE) == []


def test_an_alert_that_is_both_is_held_back_by_one_that_is_only_a_source() -> None:
    rules = [rule("alertname=~RackDown|HostDown", "severity=warning")]
    both = {**SYMPTOM, "rack": "8"}
    assert inhibitors(SYMPTOM, rules, both) == []
    assert inhibitors(SYMPTOM, rules, both, CAUSE) == [fingerprint(CAUSE)]
    only_target = {"alertname": "Slow", "severity": "warning"}
    assert inhibitors(only_target, rules, both) == [fingerprint(both)]


def test_every_rule_tells_its_first_source_and_each_cause_is_told_once() -> None:
    rules = [
        rule("severity=critical", "severity=warning", reason="worse"),
        rule("severity=critical", "alertname=HostDown", reason="worse"),
        rule("alertname=Fire", "severity=warning", reason="fire"),
    ]
    fire = {"alertname": "Fire"}
    later = {**CAUSE, "rack": "9"}
    found = Muting((), rules, (), firing(CAUSE, later, fire)).of(SYMPTOM, NOW)
    assert [(mute.id, mute.reason) for mute in found] == [(fingerprint(CAUSE), "worse"), (fingerprint(fire), "fire")]


def test_what_fires_is_not_read_before_a_target_comes() -> None:
    read = []

    def alerts() -> Iterator[tuple[str, Labels]]:
        read.append(True)
        yield from firing(CAUSE)

    muting = Muting((), [rule("severity=critical", "severity=warning")], (), alerts())
    assert muting.of({"severity": "info"}, NOW) == ()
    assert not read
    for _ in range(2):
        assert muting.of(SYMPTOM, NOW)
    assert read == [True]


def test_maintenance_holds_back_until_its_window_closes() -> None:
    once = maintenance("team=data", {"from": NOW, "until": NOW + HOUR})
    friday = {"days": ["friday"], "from": "11:00", "to": "13:30", "timezone": "Europe/Berlin"}
    muting = Muting((), (), [once, maintenance("team=~.+", friday)], ())
    assert muting.of({"team": "data"}, NOW) == (
        Mute(By.MAINTENANCE, "updates", NOW + HOUR, "mutes[0]"),
        Mute(By.MAINTENANCE, "updates", NOW + HOUR / 2, "mutes[1]"),
    )
    assert muting.of({"team": "data"}, NOW + HOUR) == ()
    assert muting.of({}, NOW) == ()


def test_everything_that_holds_back_is_told_silences_first() -> None:
    muting = Muting(
        [silence("severity=warning")],
        [rule("severity=critical", "severity=warning")],
        [maintenance("severity=warning", {"from": NOW, "until": NOW + HOUR})],
        firing(CAUSE),
    )
    assert [mute.by for mute in muting.of(SYMPTOM, NOW)] == [By.SILENCE, By.INHIBITION, By.MAINTENANCE]


def test_a_catalogue_that_was_not_checked_is_refused() -> None:
    with pytest.raises(Invalid):
        Muting((), [Inhibition(source=("a",), target=("b=c",))], (), ())


def test_outside_business_hours_it_waits_for_the_next_morning() -> None:
    hours = BusinessHours.model_validate({"timezone": "Europe/Berlin"})
    assert outside_hours(hours, NOW) is None
    night = datetime(2026, 3, 6, 18, tzinfo=UTC)
    assert outside_hours(hours, night) == Mute(
        By.BUSINESS_HOURS,
        "outside business hours (09:00 to 17:00, Europe/Berlin)",
        datetime(2026, 3, 9, 8, tzinfo=UTC),
    )


def test_what_is_back_within_its_cooldown_is_held_back_unless_it_is_critical() -> None:
    until = NOW + HOUR
    assert cooldown(until, NOW, severity="error") == Mute(By.COOLDOWN, "the same alert was told not long ago", until)
    assert cooldown(until, NOW, severity="critical") is None
    assert cooldown(until, until, severity="error") is None
    assert cooldown(None, NOW, severity="error") is None


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["", "1", "2"])
MATCHERS = st.one_of(
    st.builds(Matcher, NAMES, VALUES, st.just(value=False), st.booleans()),
    st.builds(Matcher, NAMES, st.sampled_from(["1|2", ".*", "1?"]), st.just(value=True), st.booleans()),
)
SIDES = st.lists(MATCHERS, min_size=1, max_size=2).map(lambda matchers: tuple(map(str, matchers)))
RULES = st.builds(
    Inhibition,
    source=SIDES,
    target=SIDES,
    equal=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    reason=st.just("x"),
)
SILENCES = st.lists(
    st.builds(
        Silence,
        st.uuids().map(str),
        st.lists(MATCHERS, min_size=1, max_size=2).map(tuple),
        st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
        st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
        st.just("ann"),
        st.just("x"),
    ),
    max_size=4,
)
ALERTS = st.lists(st.dictionaries(NAMES, VALUES), max_size=6)


def alertmanagers_inhibition(labels: Labels, rules: list[Inhibition], alerts: list[tuple[str, Labels]]) -> set[str]:
    """As Alertmanager's `InhibitRule.hasEqual` says it, rule by rule and source by source."""
    found = set()
    for one in rules:
        source, target = [parse(text) for text in one.source], [parse(text) for text in one.target]
        if not matches_all(target, labels):
            continue
        exclude_both = matches_all(source, labels)
        for other, its in alerts:
            if not matches_all(source, its) or any(its.get(name, "") != labels.get(name, "") for name in one.equal):
                continue
            if exclude_both and matches_all(target, its):
                continue
            found.add(other)
            break
    return found


@given(SILENCES, st.lists(RULES, max_size=5), ALERTS)
def test_many_at_once_say_what_each_says_for_itself(
    silences: list[Silence], rules: list[Inhibition], alerts: list[Labels]
) -> None:
    fires = firing(*alerts)
    muting = Muting(silences, rules, (), fires)
    for labels in [*alerts, *alerts]:
        found = muting.of(labels, NOW)
        assert [mute.id for mute in found if mute.by is By.SILENCE] == [
            one.id for one in silences if one.state(NOW) is SilenceState.ACTIVE and matches_all(one.matchers, labels)
        ]
        inhibiting = [mute.id for mute in found if mute.by is By.INHIBITION]
        assert set(inhibiting) == alertmanagers_inhibition(labels, rules, fires)
        assert len(inhibiting) == len(set(inhibiting))
