"""What an operator is told about alerting that cannot work, with the line."""

from __future__ import annotations

import pytest

from app.alerts.catalog_check import catalog_problems
from app.catalog import lines_of, parse
from app.errors import Invalid

SERVICE = '[services.web]\nkind = "http"\n'
CHANNEL = '[channels.slack]\nkind = "slack"\n'
GOOD = """
[channels.slack]
kind = "slack"
[people.ann]
contacts = [{channel = "slack"}]
[teams.data]
receiver = "data"
[receivers.ops]
notify = ["channel:slack", "receiver:data"]
[receivers.data]
notify = ["person:ann"]
[ladders.critical]
steps = [{after_minutes = 30, notify = ["person:ann"]}]
[ladders.data]
[routing]
receiver = "ops"
group_by = ["alertname", "service"]
routes = [
    {matchers = ['team="data"', "service!~a|b"], ladder = "data", group_by = ["..."], continue = true},
    {matchers = ["team=~.+"], routes = [{matchers = ['severity="info"'], group_by = []}]},
]
[[inhibitions]]
source = ["alertname=Down"]
target = ['alertname!="Down"']
equal = ["service"]
[[mutes]]
matchers = ["team!=data", "service=web"]
window = {days = ["friday"], from = "15:00", to = "17:00", reason = "updates"}
[alerts.Down]
severity = "critical"
team = "data"
summary = "{subject} is down"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(SERVICE + text, [catalog_problems], subject="smm.toml")
    return [line.removeprefix("smm.toml:") for line in lines_of(caught.value)]


def test_what_can_work_is_left_alone() -> None:
    assert catalog_problems(parse(SERVICE + GOOD, [catalog_problems])) == []


def test_matchers_that_cannot_be_read_are_told_where_they_stand() -> None:
    text = """[routing]
routes = [
    {matchers = ["a=b", "c"], routes = [{matchers = [
        'x=~"("',
    ]}]},
]
[[inhibitions]]
source = ["a=b", "=c"]
target = ['a="b']
[[mutes]]
matchers = ["a"]
window = {from = 2026-03-01T22:00:00Z, until = 2026-03-02T02:00:00Z, reason = "move"}
"""
    assert problems(text) == [
        "5: routing.routes[0].matchers[1]: is no matcher, such as severity=\"critical\": 'c'",
        "6: routing.routes[0].routes[0].matchers[0]: is no regular expression: missing ): (",
        "10: inhibitions[0].source[1]: is no matcher, such as severity=\"critical\": '=c'",
        "11: inhibitions[0].target[0]: the value must end with its only bare quote: '\"b'",
        "13: mutes[0].matchers[0]: is no matcher, such as severity=\"critical\": 'a'",
    ]


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        ('matchers = ["a=b"]', "4: routing.matchers: must not be there: the first route takes what no other one does"),
        ("continue = true", "4: routing.continue: must not be there: nothing comes after the first route"),
        ('group_by = ["...", "a"]', '4: routing.group_by: "..." stands for all labels: it must be alone'),
        ('routes = [{group_by = ["a", "b", "a"]}]', "4: routing.routes[0].group_by[2]: is there twice"),
    ],
)
def test_a_tree_that_alertmanager_would_refuse_is_refused(routing: str, said: str) -> None:
    assert problems(f"[routing]\n{routing}\n") == [said]


@pytest.mark.parametrize("matchers", ['["team=~.*"]', '["team="]', '["team!=data", "service!~web"]'])
def test_a_mute_that_asks_for_nothing_is_refused(matchers: str) -> None:
    window = '{days = ["friday"], from = "15:00", to = "17:00", reason = "updates"}'
    assert problems(f"[[mutes]]\nmatchers = {matchers}\nwindow = {window}\n") == [
        "4: mutes[0].matchers: would hold back what has none of these labels: one must ask for a value"
    ]


def test_a_ladder_that_nothing_leads_to_is_told() -> None:
    text = "[routing]\nrepeat_interval = 3600\n[ladders.criticl]\n[ladders.error]\n[ladders.night]\n"
    assert problems(text) == [
        '5: ladders.criticl: is neither a severity\'s nor named by any route (did you mean "critical"?)',
        "7: ladders.night: is neither a severity's nor named by any route",
    ]


def test_receivers_that_lead_back_to_themselves_are_told() -> None:
    text = CHANNEL + (
        '[teams.data]\nreceiver = "one"\n'
        '[receivers.one]\nnotify = ["receiver:two", "channel:slack"]\n'
        '[receivers.two]\nnotify = ["team:data"]\n'
        '[receivers.three]\nnotify = ["receiver:one"]\n'
        '[receivers.four]\nnotify = ["receiver:four"]\n'
    )
    assert problems(text) == [
        "8: receivers.one.notify: leads back to itself",
        "10: receivers.two.notify: leads back to itself",
        "14: receivers.four.notify: leads back to itself",
    ]


def test_rules_are_looked_at_too() -> None:
    text = '[teams.data]\n[alerts.Slow]\nseverity = "bad"\nteam = "date"\nsummary = "{service} is slow"\n'
    assert [line.split(": ")[1] for line in problems(text)] == [
        "alerts.Slow.severity",
        "alerts.Slow.team",
        "alerts.Slow.summary",
    ]


def test_business_hours_of_a_few_moments_are_a_mistake() -> None:
    assert problems('[teams.data]\nhours = {from = "09:00", to = "09:10"}\n') == [
        "4: teams.data.hours: `to` must be at least 15 minutes after `from`"
    ]
