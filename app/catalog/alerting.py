"""The catalogue's tables about telling people: channels, people, teams, rotations, routes, ladders, mutes and rules."""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from app.catalog.toml_lines import Path
from app.catalog.values import NAME, Count, Figure, Label, Seconds, Severity
from app.catalog.windows import Day, Window

ALERT_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
LABEL_NAME = r"^[a-zA-Z_][a-zA-Z0-9_]{0,99}$"
RECIPIENT = r"^((channel|person|on-call|team|receiver):[a-z][a-z0-9_-]{0,62}|team-on-call|team-lead)$"
"""Who is told: `channel:NAME`, `person:NAME`, `on-call:ROTATION`, `team:NAME` (its receiver), `receiver:NAME`; and, of
the team that the alert belongs to, `team-on-call` and `team-lead`."""

FARTHEST = date(9000, 1, 1)
"""Reckoning with time zones must not leave the calendar."""

Recipient = Annotated[str, Field(pattern=RECIPIENT)]
Matcher = Annotated[str, Field(min_length=1, max_length=1000)]
"""As Prometheus writes them: `severity="critical"`, `team=~"a|b"`, `x!="y"`, `x!~"y"`. Parsed by app.alerts."""
LabelName = Annotated[str, Field(pattern=LABEL_NAME)]
GroupLabel = Annotated[str, Field(pattern=LABEL_NAME + r"|^\.\.\.$")]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One text, or a list of them."""


class Table(BaseModel):
    """What all tables have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no IANA time zone, such as Europe/Berlin") from None
    return value


def _plain(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must have no offset: `timezone` says where the clock hangs")
    return value


class Channel(Table):
    """[channels.NAME]: one way out. What is None is the kind's default."""

    name: str = Field(pattern=NAME, exclude=True)
    kind: Label = Field(description="telegram, slack, discord, pagerduty, email, teams, webhook, console")
    enabled: bool = Field(
        default=True, description="false: nothing is sent through it, and that is shown as the reason"
    )
    description: str = Field(default="", max_length=500, description="for people")
    fallback: Texts = Field(default=(), description="channels tried in order when this one cannot deliver")
    timeout: Seconds = Field(default=10, gt=0, le=60, description="seconds one delivery may take")
    rate_per_second: Figure | None = Field(default=None, gt=0, le=1000, description="messages a second to one address")
    burst: Count | None = Field(default=None, ge=1, le=1000, description="messages at once before the rate counts")
    send_resolved: bool = Field(default=True, description="also tell when a problem is over")
    allow: Texts = Field(default=(), description="private networks (CIDR) that this channel's address may lie in")
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="every other key: the kind's own")
    references: dict[Path, str] = Field(default_factory=dict, repr=False, exclude=True)


CHANNEL_FIELDS = frozenset(Channel.model_fields) - {"name", "options", "references"}
"""Keys of a channel that mean the same for every kind."""


class Contact(Table):
    """How one person is reached: a channel, and the address there where the channel has many."""

    channel: Label = Field(description="name of a channel")
    to: str | None = Field(default=None, min_length=1, max_length=320, description="address, chat or key there")


class Person(Table):
    """[people.NAME]."""

    name: str = Field(pattern=NAME, exclude=True)
    full_name: str = Field(default="", max_length=200, description="for people")
    contacts: tuple[Contact, ...] = Field(min_length=1, description="every way in which this person is told")


class BusinessHours(Table):
    """`{days = [...], from = "09:00", to = "17:00", timezone = "Europe/Berlin", holidays = [2026-12-25]}`."""

    days: tuple[Day, ...] = Field(
        default=("monday", "tuesday", "wednesday", "thursday", "friday"), min_length=1, description="working days"
    )
    begin: time = Field(default=time(9), alias="from", description="first minute")
    to: time = Field(default=time(17), description="first minute after work")
    timezone: Annotated[str, Field(description="IANA name, such as Europe/Berlin")] = "UTC"
    holidays: tuple[date, ...] = Field(default=(), description="days off")

    _zone = field_validator("timezone")(_zone)
    _plain = field_validator("begin", "to")(_plain)

    @model_validator(mode="after")
    def _in_order(self) -> BusinessHours:
        if self.to <= self.begin:
            raise ValueError("`to` must be after `from`")
        return self


class Team(Table):
    """[teams.NAME]: who answers for what."""

    name: str = Field(pattern=NAME, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    hours: BusinessHours = Field(default_factory=BusinessHours, description="when warnings are told")
    rotation: Label | None = Field(default=None, description="whose turn it is: `team-on-call`")
    lead: Label | None = Field(default=None, description="person that `team-lead` stands for")
    receiver: Label | None = Field(default=None, description="receiver that `team:NAME` stands for")


class Override(Table):
    """`{person = "ann", from = 2026-03-01T08:00:00Z, until = 2026-03-02T08:00:00Z}`."""

    person: Label = Field(description="who takes over")
    begin: AwareDatetime = Field(alias="from", description="first moment, with its offset")
    until: AwareDatetime = Field(description="first moment after it")

    @model_validator(mode="after")
    def _in_order(self) -> Override:
        if self.until <= self.begin:
            raise ValueError("`until` must be after `from`")
        if self.until.year > FARTHEST.year:
            raise ValueError(f"`until` must not lie after the year {FARTHEST.year}")
        return self


class Rotation(Table):
    """[rotations.NAME]: people take turns; the turn changes at a time of day on the wall of `timezone`."""

    name: str = Field(pattern=NAME, exclude=True)
    members: tuple[Label, ...] = Field(min_length=1, description="people in their order; the first one begins")
    start: date = Field(le=FARTHEST, description="day on which the first member's first turn begins")
    handover: time = Field(default=time(9), description="time of day at which the turn changes")
    days: Count = Field(default=7, ge=1, le=365, description="days of one turn")
    timezone: Annotated[str, Field(description="IANA name")] = "UTC"
    overrides: tuple[Override, ...] = Field(default=(), description="exceptions; the last one that matches counts")

    _zone = field_validator("timezone")(_zone)
    _plain = field_validator("handover")(_plain)


class Receiver(Table):
    """[receivers.NAME]: whom a route tells."""

    name: str = Field(pattern=NAME, exclude=True)
    notify: tuple[Recipient, ...] = Field(min_length=1, description="recipients, all told at once")


class Route(Table):
    """[routing] and each entry of its `routes`: a tree as Alertmanager's. What is None is the parent's."""

    matchers: tuple[Matcher, ...] = Field(default=(), description="an alert goes here when all match")
    receiver: Label | None = Field(default=None, description="whom to tell")
    group_by: tuple[GroupLabel, ...] | None = Field(
        default=None, description='labels whose equal values make one message; ["..."]: every alert alone'
    )
    group_wait: Seconds | None = Field(default=None, ge=0, le=3600, description="before the first message of a group")
    group_interval: Seconds | None = Field(default=None, ge=1, le=86_400, description="between messages of a group")
    repeat_interval: Seconds | None = Field(default=None, ge=60, le=2_592_000, description="until it is told again")
    ladder: Label | None = Field(default=None, description="ladder instead of that of the severity")
    go_on: bool = Field(default=False, alias="continue", description="also try the routes after this one")
    routes: tuple[Route, ...] = Field(default=(), description="tried first, in their order")


class Step(Table):
    """One step up: `{after_minutes = 30, notify = ["person:head-of-technology"]}`."""

    after_minutes: Figure = Field(gt=0, le=43_200, description="minutes without acknowledgement since the step before")
    notify: tuple[Recipient, ...] = Field(min_length=1, description="who is told in addition")
    repeat: Count = Field(default=0, ge=0, le=100, description="times it is told again, `after_minutes` apart")


class Ladder(Table):
    """[ladders.NAME]: what happens when nobody acknowledges. Named like a severity, it is that severity's."""

    name: str = Field(pattern=NAME, exclude=True)
    answer_minutes: Figure | None = Field(default=None, gt=0, description="wanted time to an acknowledgement")
    acknowledge_minutes: Figure = Field(default=240, gt=0, le=43_200, description="how long one holds")
    business_hours: bool = Field(default=False, description="minutes count, and messages leave, in business hours only")
    steps: tuple[Step, ...] = Field(default=(), description="after the route's own receiver")


class Inhibition(Table):
    """[[inhibitions]]: while a source fires, targets with equal labels are held back."""

    source: tuple[Matcher, ...] = Field(min_length=1, description="the cause")
    target: tuple[Matcher, ...] = Field(min_length=1, description="its symptoms")
    equal: tuple[LabelName, ...] = Field(default=(), description="labels that must have the same values in both")
    reason: str = Field(default="", max_length=500, description="shown beside what is held back")


class Mute(Table):
    """[[mutes]]: a maintenance window for whatever matches."""

    matchers: tuple[Matcher, ...] = Field(min_length=1, description="what is held back")
    window: Window = Field(description="when, and why")


class Condition(Table):
    """`{over = 80}`, `{under = 5}`, both limits excluded."""

    over: Figure | None = Field(default=None)
    under: Figure | None = Field(default=None)


def _kind_of_wanted(value: object) -> str:
    match value:
        case dict() | Condition():
            return "range"
        case bool():
            return "flag"
        case int() | float():
            return "number"
        case list() | tuple():
            return "texts"
        case _:
            return "text"


Wanted = Annotated[
    Annotated[Condition, Tag("range")]
    | Annotated[bool, Tag("flag")]
    | Annotated[float, Tag("number")]
    | Annotated[tuple[str, ...], Tag("texts")]
    | Annotated[str, Tag("text")],
    Discriminator(_kind_of_wanted),
]
"""A number's range, one value, or one of several texts."""


class AlertRule(Table):
    """[alerts.NAME]: an alert that people may get, what raises it, and what they should know.

    Texts may hold `{subject}`, `{labels.NAME}` and `{facts.NAME}` of the signal (for alerts from outside, their labels
    and annotations); what is not there is left out. Without `on` it describes alerts that others raise by that name.
    """

    name: str = Field(pattern=ALERT_NAME, exclude=True)
    on: Texts = Field(default=(), description="kinds of signals that raise it (`health.down`, `jobs.*`)")
    until: Texts = Field(default=(), description="kinds of signals of the same subject that end it")
    when: dict[str, Wanted] = Field(default_factory=dict, description="paths (`labels.kind`) and what must be there")
    unless: dict[str, Wanted] = Field(default_factory=dict, description="paths; any one that matches prevents it")
    about: str = Field(
        default="{subject}", description="what it is about, where one subject has several alerts of the rule: a text"
    )
    severity: str = Field(default="warning", description="info, warning, error, critical, or a text that makes one")
    team: str = Field(default="", description="a team's name, or a text that makes one")
    labels: dict[LabelName, str] = Field(default_factory=dict, description="more labels; texts")
    count: Count = Field(default=1, ge=1, le=1000, description="signals it takes: in a row, or `within` seconds")
    within: Seconds | None = Field(default=None, gt=0, le=86_400, description="seconds in which `count` must come")
    wait: Seconds = Field(default=0, ge=0, le=86_400, alias="for", description="seconds it must last before it fires")
    expires_after: Seconds | None = Field(
        default=None, ge=10, le=604_800, description="seconds without another signal after which it ends by itself"
    )
    summary: str = Field(default="", max_length=1000, description="one line")
    description: str = Field(default="", max_length=5000, description="what is known")
    impact: str = Field(default="", max_length=1000, description="what it means for the business")
    causes: Texts = Field(default=(), description="possible causes")
    recommendation: str = Field(default="", max_length=2000, description="what to do first")
    runbook: str = Field(default="", max_length=500, description="address, or a page's name under docs/runbooks")
    dashboard: str = Field(default="", max_length=500, description="address")


class Alerting(Table):
    """[alerting]: what holds for all alerts."""

    cooldown: Seconds = Field(
        default=900,
        ge=0,
        le=86_400,
        description="seconds after a message in which the same alert, back again, is quiet",
    )
    hold_after_start: Seconds = Field(
        default=30, ge=0, le=600, description="seconds that all but critical alerts wait after the engine was away"
    )
    resolve_after: Seconds = Field(
        default=300, ge=10, le=86_400, description="seconds after which an alert from outside without an end is over"
    )
    flap_changes: Count = Field(default=6, ge=2, le=100, description="changes within the window that make it flapping")
    flap_window: Seconds = Field(default=1800, ge=60, le=86_400, description="seconds in which changes are counted")
    flap_quiet: Seconds = Field(default=600, ge=10, le=86_400, description="seconds without a change that end flapping")
    synthetic: tuple[Recipient, ...] = Field(
        default=(), description="who gets the scheduled test alert; empty: the receiver it is routed to"
    )


class Telling(Table):
    """Everything in the catalogue about telling people."""

    alerting: Alerting = Field(default_factory=Alerting)
    channels: dict[str, Channel] = Field(default_factory=dict)
    people: dict[str, Person] = Field(default_factory=dict)
    teams: dict[str, Team] = Field(default_factory=dict)
    rotations: dict[str, Rotation] = Field(default_factory=dict)
    receivers: dict[str, Receiver] = Field(default_factory=dict)
    routing: Route = Field(default_factory=Route)
    ladders: dict[str, Ladder] = Field(default_factory=dict)
    inhibitions: tuple[Inhibition, ...] = Field(default=())
    mutes: tuple[Mute, ...] = Field(default=())
    alerts: dict[str, AlertRule] = Field(default_factory=dict)


SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
"""From the least to the worst."""
