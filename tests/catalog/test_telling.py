"""The tables about telling people as an operator writes them, and what is said of their mistakes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from app.catalog import (
    Alerting,
    AlertRule,
    BusinessHours,
    Condition,
    Contact,
    Override,
    Route,
    Step,
    Telling,
    lines_of,
    parse,
    routes_of,
)
from app.errors import Invalid

SERVICE = '[services.web]\nkind = "http"\n'
ANN = '[channels.mail]\nkind = "email"\n[people.ann]\ncontacts = [{channel = "mail"}]\n'


def read(text: str, **environment: str) -> Telling:
    return parse(SERVICE + text, lookup=environment.get).telling


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(text + "\n" + SERVICE, subject="smm.toml", lookup={}.get)
    return [line.removeprefix("smm.toml:") for line in lines_of(caught.value)]


def test_without_these_tables_nobody_is_told_anything() -> None:
    assert read("") == Telling()


def test_a_channel_has_its_defaults_and_keeps_its_kinds_own_keys() -> None:
    channel = read('[channels.ops]\nkind = "slack"\nurl = "https://example.com/hook"\nfallback = "ops"\n').channels[
        "ops"
    ]
    assert (channel.enabled, channel.timeout, channel.send_resolved) == (True, 10, True)
    assert (channel.rate_per_second, channel.burst, channel.allow) == (None, None, ())
    assert channel.fallback == ("ops",)
    assert channel.options == {"url": "https://example.com/hook"}


def test_a_channels_secrets_come_from_the_environment_and_stay_out_of_sight() -> None:
    text = '[channels.ops]\nkind = "slack"\ndescription = "to ${ROOM}"\nurl = "${HOOK}"\nheaders = {X-Key = "${KEY}"}\n'
    channel = read(text, HOOK="https://example.com/hunter2", KEY="hunter3", ROOM="ops").channels["ops"]
    assert channel.options["headers"] == {"X-Key": "hunter3"}
    assert channel.references == {
        ("description",): "to ${ROOM}",
        ("options", "url"): "${HOOK}",
        ("options", "headers", "X-Key"): "${KEY}",
    }
    assert "hunter" not in repr(channel)


def test_people_teams_rotations_and_receivers_are_read() -> None:
    found = read(
        ANN
        + """
[people.bob]
full_name = "Bob B."
contacts = [{channel = "mail", to = "bob@example.com"}, {channel = "mail"}]
[teams.data]
hours = {days = ["sunday"], from = "08:00", to = 16:30:00, timezone = "Asia/Jerusalem", holidays = [2026-12-25]}
rotation = "data"
lead = "bob"
receiver = "data"
[rotations.data]
members = ["ann", "bob"]
start = 2026-03-02
handover = "10:00"
days = 1
timezone = "Europe/Berlin"
overrides = [{person = "bob", from = 2026-03-04T08:00:00Z, until = 2026-03-05T08:00:00+01:00}]
[receivers.data]
notify = ["channel:mail", "person:ann", "on-call:data", "team:data", "receiver:data", "team-on-call", "team-lead"]
"""
    )
    assert found.people["bob"].contacts == (Contact(channel="mail", to="bob@example.com"), Contact(channel="mail"))
    hours = found.teams["data"].hours
    assert (hours.days, hours.begin, hours.to, hours.holidays) == (
        ("sunday",),
        time(8),
        time(16, 30),
        (date(2026, 12, 25),),
    )
    rotation = found.rotations["data"]
    assert (rotation.members, rotation.start, rotation.handover, rotation.days) == (
        ("ann", "bob"),
        date(2026, 3, 2),
        time(10),
        1,
    )
    moments = {"from": datetime(2026, 3, 4, 8, tzinfo=UTC), "until": datetime(2026, 3, 5, 7, tzinfo=UTC)}
    assert rotation.overrides == (Override.model_validate({"person": "bob", **moments}),)
    assert len(found.receivers["data"].notify) == 7


def test_a_team_works_from_nine_to_five_on_weekdays_unless_it_says_otherwise() -> None:
    assert read("[teams.data]\n").teams["data"].hours == BusinessHours()
    assert BusinessHours().days == ("monday", "tuesday", "wednesday", "thursday", "friday")
    assert (BusinessHours().begin, BusinessHours().to, BusinessHours().timezone) == (time(9), time(17), "UTC")


def test_a_tree_of_routes_is_read_and_every_route_has_its_place() -> None:
    root = read(
        ANN
        + """
[receivers.ops]
notify = ["person:ann"]
[ladders.night]
steps = [{after_minutes = 0.5, notify = ["person:ann"], repeat = 2}]
[routing]
receiver = "ops"
group_by = ["alertname", "..."]
[[routing.routes]]
matchers = ['team="data"']
continue = true
group_wait = 0
routes = [{matchers = ["a=b"], ladder = "night"}, {}]
[[routing.routes]]
"""
    ).routing
    assert root.group_by == ("alertname", "...")
    assert (root.routes[0].go_on, root.routes[0].group_wait, root.routes[0].receiver) == (True, 0, None)
    assert [path for path, _ in routes_of(root)] == [
        "routing",
        "routing.routes[0]",
        "routing.routes[0].routes[0]",
        "routing.routes[0].routes[1]",
        "routing.routes[1]",
    ]
    assert list(routes_of(root))[-1][1] == Route()


def test_ladders_inhibitions_and_mutes_are_read() -> None:
    found = read(
        ANN
        + """
[ladders.critical]
answer_minutes = 10
acknowledge_minutes = 60
business_hours = true
steps = [{after_minutes = 30, notify = ["person:ann"]}]
[[inhibitions]]
source = ["alertname=Down"]
target = ["alertname!=Down"]
equal = ["service"]
reason = "it is down"
[[mutes]]
matchers = ["service=web"]
window = {from = 2026-03-01T22:00:00Z, until = 2026-03-02T02:00:00Z, reason = "move"}
[[mutes]]
matchers = ["service=web"]
window = {days = ["friday"], from = "22:00", to = "02:00", reason = "updates"}
"""
    )
    assert found.ladders["critical"].steps == (Step(after_minutes=30, notify=("person:ann",)),)
    assert found.inhibitions[0].equal == ("service",)
    assert [mute.window.reason for mute in found.mutes] == ["move", "updates"]


def test_rules_of_alerts_are_read_with_one_text_or_several_and_what_they_wait_for() -> None:
    found = read(
        """
[alerting]
cooldown = 60
[alerts.SMM_Down]
on = "health.down"
until = ["health.up", "health.removed"]
for = 5
labels = {kind = "{labels.kind}"}
when = {"labels.kind" = ["http", "tcp"], "facts.share" = {over = 5}, "facts.essential" = true, "facts.code" = 500}
unless = {"subject" = "web"}
[alerts.Described]
"""
    )
    rule = found.alerts["SMM_Down"]
    assert (rule.on, rule.until, rule.wait) == (("health.down",), ("health.up", "health.removed"), 5)
    assert rule.when == {
        "labels.kind": ("http", "tcp"),
        "facts.share": Condition(over=5),
        "facts.essential": True,
        "facts.code": 500,
    }
    assert rule.when["facts.essential"] is True
    assert rule.unless == {"subject": "web"}
    assert found.alerts["Described"] == AlertRule(name="Described")
    assert found.alerting == Alerting(cooldown=60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels = 3", "1: channels: must be a table of tables, [channels.NAME] each"),
        ("people = {ann = 1}", "1: people.ann: must be a table"),
        ("inhibitions = {a = 1}", "1: inhibitions: must be a list of tables, [[inhibitions]] each"),
        ("alerting = 3", "1: alerting: must be a table"),
        ("routing = []", "1: routing: must be a table"),
        ("[channels.x]", "1: channels.x.kind: is required"),
        ('[channels.X]\nkind = "a"', "1: channels.X.name: must match ^[a-z][a-z0-9_-]{0,62}$"),
        ('[channels.x]\nkind = "a"\ntimeout = 61', "3: channels.x.timeout: must be at most 60"),
        ('[channels.x]\nkind = "a"\nurl = "${URL}"', "3: channels.x.url: the environment variable URL is not set"),
        ("[people.ann]\ncontacts = []", "2: people.ann.contacts: must not be empty"),
        ('[teams.a]\nhours = {from = "17:00", to = "09:00"}', "2: teams.a.hours: `to` must be after `from`"),
        (
            '[teams.a]\nhours = {timezone = "Berlin"}',
            "2: teams.a.hours.timezone: is no IANA time zone, such as Europe/Berlin",
        ),
        (
            '[teams.a]\nhours = {from = "09:00Z"}',
            "2: teams.a.hours.from: must have no offset: `timezone` says where the clock hangs",
        ),
        (
            ANN + '[rotations.a]\nmembers = ["ann"]\nstart = 2026-01-01\nhandover = "09:00Z"',
            "8: rotations.a.handover: must have no offset: `timezone` says where the clock hangs",
        ),
        ("[rotations.a]\nmembers = []\nstart = 2026-01-01", "2: rotations.a.members: must not be empty"),
        (
            ANN + '[rotations.a]\nmembers = ["ann"]\nstart = 2026-01-01\noverrides = [{person = "ann", '
            "from = 2026-01-01T00:00:00, until = 2026-01-02T00:00:00Z}]",
            "8: rotations.a.overrides[0].from: must have an offset, such as 2026-03-01T22:00:00Z",
        ),
        (
            ANN + '[rotations.a]\nmembers = ["ann"]\nstart = 2026-01-01\noverrides = [{person = "ann", '
            "from = 2026-01-02T00:00:00Z, until = 2026-01-02T00:00:00Z}]",
            "8: rotations.a.overrides[0]: `until` must be after `from`",
        ),
        (
            '[routing]\nroutes = [{routes = [{reciever = "x"}]}]',
            '2: routing.routes[0].routes[0].reciever: is not known (did you mean "receiver"?)',
        ),
        (
            '[routing]\ngroup_by = ["a-b"]',
            r"2: routing.group_by[0]: must match ^[a-zA-Z_][a-zA-Z0-9_]{0,99}$|^\.\.\.$",
        ),
        ("[routing]\ngroup_wait = -1", "2: routing.group_wait: must be at least 0"),
        (
            '[ladders.critical]\nsteps = [{after_minutes = 0, notify = ["team-lead"]}]',
            "2: ladders.critical.steps[0].after_minutes: must be more than 0",
        ),
        ('[[inhibitions]]\nsource = ["a=b"]', "1: inhibitions[0].target: is required"),
        ('[[mutes]]\nmatchers = ["a=b"]', "1: mutes[0].window: is required"),
        ("[alerts.down-x]", "1: alerts.down-x.name: must match ^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
        ('[alerts.Down]\nseverty = "x"', '2: alerts.Down.severty: is not known (did you mean "severity"?)'),
        (
            '[alerts.Down]\nwhen = {"facts.x" = {above = 3}}',
            '2: alerts.Down.when.facts.x.range.above: is not known (did you mean "over"?)',
        ),
        ("[alerts.Down]\nfor = -1", "2: alerts.Down.for: must be at least 0"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text: str, said: str) -> None:
    assert problems(text) == [said]


def test_a_misspelled_table_is_told() -> None:
    (said,) = problems("[alertin]")
    assert said.startswith('1: alertin: is not known (did you mean "alerting"?): the catalogue has services, ')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[channels.a]\nkind = "x"\nfallback = "b"', ["3: channels.a.fallback: there is no [channels.b]"]),
        ('[people.ann]\ncontacts = [{channel = "slack"}]', ["2: people.ann.contacts: there is no [channels.slack]"]),
        (
            ANN + '[teams.a]\nrotation = "x"\nlead = "an"\nreceiver = "z"',
            [
                "6: teams.a.rotation: there is no [rotations.x]",
                '7: teams.a.lead: there is no [people.an] (did you mean "ann"?)',
                "8: teams.a.receiver: there is no [receivers.z]",
            ],
        ),
        (
            '[rotations.a]\nmembers = ["ann"]\nstart = 2026-01-01\noverrides = [{person = "bob", '
            "from = 2026-01-01T00:00:00Z, until = 2026-01-02T00:00:00Z}]",
            [
                "2: rotations.a.members: there is no [people.ann]",
                "4: rotations.a.overrides: there is no [people.bob]",
            ],
        ),
        (
            '[receivers.a]\nnotify = ["channel:x", "person:x", "on-call:x", "team:x", "receiver:x", "team-lead"]',
            [
                f"2: receivers.a.notify: there is no [{table}.x]"
                for table in ("channels", "people", "rotations", "teams", "receivers")
            ],
        ),
        (
            '[routing]\nroutes = [{receiver = "y", ladder = "z"}]',
            [
                "2: routing.routes[0].ladder: there is no [ladders.z]",
                "2: routing.routes[0].receiver: there is no [receivers.y]",
            ],
        ),
        (
            '[ladders.critical]\nsteps = [{after_minutes = 5, notify = ["person:x"]}]',
            ["2: ladders.critical.steps[0].notify: there is no [people.x]"],
        ),
        ('[alerting]\nsynthetic = ["person:x"]', ["2: alerting.synthetic: there is no [people.x]"]),
    ],
)
def test_names_that_no_table_declares_are_told(text: str, said: list[str]) -> None:
    assert problems(text) == said


def test_a_table_that_is_broken_is_there_all_the_same() -> None:
    text = '[channels.a]\nkind = "x"\nfallback = "b"\n[channels.b]\nkind = 3'
    assert problems(text) == ["5: channels.b.kind: must be a text"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "[[mutes]]\n[routing]\nladder = 3\n[alerts.A]\ncount = 0\n[people.ann]\n[channels.a]\n"
    lines = [line.split(":")[0] for line in problems(text)]
    assert lines == ["1", "1", "3", "5", "6", "7"]


def test_rotations_stay_within_the_calendar() -> None:
    until = '{person = "ann", from = 2026-03-01T00:00:00Z, until = 9999-12-31T23:59:59-05:00}'
    rotation = '[rotations.ops]\nmembers = ["ann"]\nstart = {}\noverrides = [{}]\n'
    assert problems(ANN + rotation.format("2026-03-02", until)) == [
        "8: rotations.ops.overrides[0]: `until` must not lie after the year 9000"
    ]
    assert problems(ANN + rotation.format("9999-12-31", "")) == ["7: rotations.ops.start: must be at most 9000-01-01"]
