"""From signals to alerts, and from alerts of others to what people should know of them: the catalogue's rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from app.alerts.fingerprint import fingerprint
from app.alerts.templates import Values, fill, lookup, mistakes
from app.catalog import SEVERITIES, AlertRule, Catalog, Condition, Severity, Telling, did_you_mean
from app.errors import Problem
from app.signals import Signal

ROOTS = ("subject", "labels", "facts")
"""What the paths in rules begin with."""

LONGEST_LABEL = 1000
_OTHERWISE: Severity = "warning"
_NO_TEAMS: Mapping[str, str] = {}

_WORDS: Mapping[Severity, str] = {
    "critical": "critical crit page pager fatal emergency emerg panic disaster blocker p0 p1 sev0 sev1 s1",
    "error": "error err high major p2 sev2 s2",
    "warning": "warning warn medium moderate minor average ticket p3 sev3 s3",
    "info": "info information informational low notice debug none ok p4 p5 sev4 sev5 s4 s5",
}
_MEANT: Mapping[str, Severity] = {word: severity for severity, words in _WORDS.items() for word in words.split()}

_PAGE = re.compile(r"(?P<page>[a-z0-9][a-z0-9-]*)(?P<section>#[\w-]+)?")
_ELSEWHERE = {"runbook": "runbook_url", "dashboard": "dashboard_url"}
"""What others call these annotations."""


@dataclass(frozen=True, slots=True)
class Raise:
    """An alert that one signal raises about `subject`. `at` is the signal's moment, `starts_at` that of the trouble.

    It takes `count` signals, in a row or `within`; then it must last for `wait`; it is over `expires_after` the last
    one. `stateful`: other signals end it, so only the newest of its subject counts.
    """

    rule: str
    subject: str
    fingerprint: str
    name: str
    severity: str
    team: str | None
    service: str | None
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    at: datetime
    wait: timedelta = timedelta()
    count: int = 1
    within: timedelta | None = None
    expires_after: timedelta | None = None
    stateful: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What a rule raised about a subject is over since `at`."""

    rule: str
    subject: str
    at: datetime


def matching(telling: Telling, signal: Signal, *, teams: Mapping[str, str] = _NO_TEAMS) -> list[Raise | End]:
    """What the rules make of a signal, by their names. `teams`: whose each service is.

    A kind that both raises and ends ends. A condition says whether to raise, never whether to end.
    """
    found: list[Raise | End] = []
    for name in sorted(telling.alerts):
        rule = telling.alerts[name]
        if _is_one_of(signal.kind, rule.until):
            found.append(End(name, fill(rule.about, _values_of(signal)), _moment(signal)))
        elif _is_one_of(signal.kind, rule.on) and _applies(rule, signal):
            found.append(raised(rule, signal, teams=teams))
    return found


def raised(rule: AlertRule, signal: Signal, *, teams: Mapping[str, str] = _NO_TEAMS) -> Raise:
    """The alert that the signal raises by this rule, whether or not the rule waits for such a signal.

    A signal that names a team, as a budget's threshold may, is that team's.
    """
    values = _values_of(signal)
    severity = canonical(fill(rule.severity, values)) or _OTHERWISE
    service = signal.labels.get("service") or (signal.subject if signal.kind.startswith("health.") else None)
    team = signal.labels.get("team") or fill(rule.team, values) or teams.get(service or "")
    more = {name: fill(text, values)[:LONGEST_LABEL] for name, text in rule.labels.items()}
    labels = {"service": service, **more, "alertname": rule.name, "severity": severity, "team": team}
    kept = {name: text for name, text in labels.items() if text}
    return Raise(
        rule=rule.name,
        subject=fill(rule.about, values),
        fingerprint=fingerprint(kept),
        name=rule.name,
        severity=severity,
        team=team or None,
        service=kept.get("service"),
        labels=kept,
        annotations=annotations_of(rule, values),
        starts_at=_moment(signal),
        at=signal.at,
        wait=timedelta(seconds=rule.wait),
        count=rule.count,
        within=_seconds(rule.within),
        expires_after=_seconds(rule.expires_after),
        stateful=bool(rule.until),
    )


def annotations_of(rule: AlertRule, values: Values) -> dict[str, str]:
    """What people should know, with the values filled in; what comes out empty is left out."""
    texts = {
        "summary": rule.summary,
        "description": rule.description,
        "impact": rule.impact,
        "causes": "\n".join(rule.causes),
        "recommendation": rule.recommendation,
        "runbook": rule.runbook,
        "dashboard": rule.dashboard,
    }
    filled = {name: fill(text, values).strip() for name, text in texts.items() if text}
    if "runbook" in filled:
        filled["runbook"] = runbook_page(filled["runbook"])
    return {name: text for name, text in filled.items() if text}


def runbook_page(runbook: str) -> str:
    """Where a page of docs/runbooks is that was only named: `postgres`, `engine#section`; an address stays."""
    page = _PAGE.fullmatch(runbook)
    return runbook if page is None else f"docs/runbooks/{page['page']}.md{page['section'] or ''}"


def enrich(telling: Telling, labels: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """The annotations of an alert from outside, what they lack taken from the rule of its name.

    In the rule's texts `facts` are these annotations, and `subject` is the service.
    """
    complete = {name: said[other] for name, other in _ELSEWHERE.items() if said.get(other)} | dict(said)
    rule = telling.alerts.get(labels.get("alertname", ""))
    if rule is None:
        return complete
    lacking = {
        name: text for name, text in annotations_of(rule, _values(labels, said)).items() if not complete.get(name)
    }
    return complete | lacking


def severity_of(telling: Telling, labels: Mapping[str, str]) -> Severity:
    """How bad an alert from outside is: by its label, in whatever words, else by the rule of its name."""
    told = canonical(labels.get("severity", ""))
    if told is not None:
        return told
    rule = telling.alerts.get(labels.get("alertname", ""))
    by_rule = canonical(fill(rule.severity, _values(labels, {}))) if rule is not None else None
    return by_rule or _OTHERWISE


def team_of(telling: Telling, labels: Mapping[str, str], *, teams: Mapping[str, str] = _NO_TEAMS) -> str | None:
    """Whose an alert from outside is: by its label, else by the rule of its name, else its service's team."""
    if labels.get("team"):
        return labels["team"]
    rule = telling.alerts.get(labels.get("alertname", ""))
    by_rule = fill(rule.team, _values(labels, {})) if rule is not None else ""
    return by_rule or teams.get(service_of(labels) or "") or None


def service_of(labels: Mapping[str, str]) -> str | None:
    """What an alert from outside is about. Prometheus's `job` and `instance` say who was scraped, not what ails."""
    return labels.get("service") or labels.get("service_name") or None


def teams_of(catalog: Catalog) -> dict[str, str]:
    """Whose each service is, of those that say so."""
    return {name: service.team for name, service in catalog.services.items() if service.team}


def canonical(word: str) -> Severity | None:
    """info, warning, error or critical for others' words ("P1", "high", "page"); None for one that is none of them."""
    return _MEANT.get(word.strip().lower().replace("-", "").replace(" ", ""))


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """What is wrong with the rules beyond their shape, each with its place: `alerts.NAME.summary`."""
    teams = catalog.telling.teams
    return [problem for rule in catalog.telling.alerts.values() for problem in _problems(rule, teams)]


def _problems(rule: AlertRule, teams: Mapping[str, object]) -> Iterator[Problem]:
    here = f"alerts.{rule.name}"
    for place, text in _texts(rule):
        yield from (Problem(f"{here}.{place}", said) for said in mistakes(text, ROOTS))
    for place, conditions in (("when", rule.when), ("unless", rule.unless)):
        for path in conditions:
            if path.partition(".")[0] not in ROOTS:
                yield Problem(f"{here}.{place}", f"{path} begins with none of {', '.join(ROOTS)}")
    if "{" not in rule.severity and canonical(rule.severity) is None:
        yield Problem(f"{here}.severity", f"is none of {', '.join(SEVERITIES)}")
    if teams and rule.team and "{" not in rule.team and rule.team not in teams:
        yield Problem(f"{here}.team", f"there is no [teams.{rule.team}]{did_you_mean(rule.team, teams)}")
    if rule.on and not rule.until and rule.expires_after is None:
        yield Problem(f"{here}.until", "nothing ends it: name the signals that do, or set `expires_after`")


def _texts(rule: AlertRule) -> Iterator[tuple[str, str]]:
    names = ("about", "severity", "team", "summary", "description", "impact", "recommendation", "runbook", "dashboard")
    yield from ((name, getattr(rule, name)) for name in names)
    yield from ((f"causes[{place}]", text) for place, text in enumerate(rule.causes))
    yield from ((f"labels.{name}", text) for name, text in rule.labels.items())


def _is_one_of(kind: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(kind, pattern) for pattern in patterns)


def _applies(rule: AlertRule, signal: Signal) -> bool:
    return applies(rule.when, rule.unless, _values_of(signal))


def _values_of(signal: Signal) -> Values:
    return {"subject": signal.subject, "labels": signal.labels, "facts": signal.facts}


def applies(when: Mapping[str, object], unless: Mapping[str, object], values: Values) -> bool:
    """Do all conditions of `when` hold and none of `unless`?"""

    def holds(path: str, wanted: object) -> bool:
        return _is_as_wanted(lookup(values, path), wanted)

    return all(holds(*condition) for condition in when.items()) and not any(
        holds(*condition) for condition in unless.items()
    )


def _is_as_wanted(value: object, wanted: object) -> bool:
    match wanted:
        case Condition():
            return _has_number(value, lambda number: _is_within(number, wanted))
        case bool():
            return value is wanted or value == str(wanted).lower()
        case str():
            return _plain(value) == wanted
        case int() | float():
            return _has_number(value, lambda number: number == wanted)
        case tuple():
            return _plain(value) in wanted
        case _:
            return False


def _is_within(number: float, limits: Condition) -> bool:
    return (limits.over is None or number > limits.over) and (limits.under is None or number < limits.under)


def _has_number(value: object, judge: Callable[[float], bool]) -> bool:
    """Is it a number, or a label that reads as one, and is it one that `judge` accepts?"""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return judge(float(value))
    except (ValueError, OverflowError):
        return False


def _plain(value: object) -> str | None:
    if value is None or isinstance(value, Mapping):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _moment(signal: Signal) -> datetime:
    """Since when it is as the signal says: its `since`, where it has one that is not in its own future."""
    since = signal.facts.get("since")
    if isinstance(since, str):
        try:
            since = datetime.fromisoformat(since)
        except ValueError:
            return signal.at
    if not isinstance(since, datetime) or since.tzinfo is None:
        return signal.at
    return min(since, signal.at)


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _values(labels: Mapping[str, str], said: Mapping[str, str]) -> Values:
    return {"subject": service_of(labels) or "", "labels": labels, "facts": said}
