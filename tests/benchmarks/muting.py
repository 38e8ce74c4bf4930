"""Muting: 1,000 silences and 1,000 inhibition rules against 10,000 alerts; one alert explained among them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from app.alerts.fingerprint import fingerprint
from app.alerts.matchers import Matcher, matches_all, parse, parse_all
from app.alerts.muting import Muting, Silence
from app.catalog import Inhibition
from tests.benchmarks.support import Figure, machine, percentile, show

SILENCES = 1_000
RULES = 1_000
ALERTS = 10_000
SAMPLE = 8
"""Alerts that are also judged rule by rule; all of them would take hours."""

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Alert = tuple[str, dict[str, str]]


def run() -> None:
    """All figures of muting."""
    print(machine())
    silences, rules, firing = make_silences(), make_rules(), make_alerts()
    started = time.perf_counter()
    muting = Muting(silences, rules, (), firing)
    found = [muting.of(labels, NOW) for _, labels in firing]
    took = time.perf_counter() - started
    rate, judged = rule_by_rule(silences, rules, firing)
    for number, ids in judged.items():
        if {mute.id for mute in found[number]} != ids:
            raise RuntimeError(f"alert {number} is muted by other things than rule by rule")
    times = [explain(silences, rules, firing, max(judged)) for _ in range(9)]
    show(
        [
            Figure(f"{SILENCES:,} silences x {RULES:,} rules x {ALERTS:,} alerts", took, "s", limit=2.0),
            Figure("alerts a second, beside rule by rule", ALERTS / took, "/s", rate),
            Figure("reasons found", sum(map(len, found)), "in all"),
            Figure("alerts that something holds back", sum(map(bool, found)), f"of {ALERTS:,}"),
            Figure("one of them alone, nothing kept, median", percentile(times, 50) * 1000, "ms", limit=100),
        ]
    )


def explain(silences: list[Silence], rules: list[Inhibition], firing: list[Alert], number: int) -> float:
    """Seconds to judge one alert from the beginning."""
    started = time.perf_counter()
    if not Muting(silences, rules, (), firing).of(firing[number][1], NOW):
        raise RuntimeError(f"nothing holds back alert {number}")
    return time.perf_counter() - started


def make_silences() -> list[Silence]:
    """By exact labels and by expressions, each for a few alerts, twenty for hundreds; one in ten is over."""
    kinds = (
        'alertname="Alert{small}",instance="host-{host}:9100"',
        'instance=~"host-{number}[0-9]?:.*",severity!="critical",cluster=~"eu-.*|us-.*"',
    )
    return [
        Silence(
            id=f"silence-{number}",
            matchers=parse_all(
                f'alertname="Alert{number}",job="node"'
                if number < 20
                else kinds[number % 2].format(small=number % 50, host=number * 7, number=number)
            ),
            starts_at=NOW - timedelta(hours=1),
            ends_at=NOW + timedelta(hours=-1 if number % 10 == 0 else 1),
            created_by="ann",
            comment="planned",
        )
        for number in range(SILENCES)
    ]


def make_rules() -> list[Inhibition]:
    """Of four kinds: for one rack, by expressions, with the rack as what must be equal, and hardly ever in force."""
    kinds = (
        ('alertname="RackDown",rack="{n}"', 'rack="{n}",severity=~"warning|info"', ("cluster",)),
        ('alertname=~"Rack.*",rack=~"{n}"', 'rack=~"{n}|{next}",alertname!="RackDown"', ()),
        ('severity="critical",rack="{n}"', 'severity=~"warning|error"', ("rack",)),
        ('severity=~"critical|error"', 'alertname=~"Alert.*",severity!~"critical|error"', ("instance", "job")),
    )
    return [
        Inhibition(source=_texts(source, number), target=_texts(target, number), equal=equal, reason=f"rule {number}")
        for number in range(RULES)
        for source, target, equal in kinds[number % 4 : number % 4 + 1]
    ]


def make_alerts() -> list[Alert]:
    """A storm: a thousand racks with ten alerts each, of which the first is their cause."""
    alerts = (
        {
            "alertname": f"Alert{number % 50}" if number % 10 else "RackDown",
            "cluster": f"eu-{number // 10 % 4}",
            "instance": f"host-{number}:9100",
            "rack": str(number // 10),
            "severity": ("warning", "error", "info")[number % 3] if number % 10 else "critical",
            "job": "node",
        }
        for number in range(ALERTS)
    )
    return [(fingerprint(labels), labels) for labels in alerts]


def rule_by_rule(
    silences: list[Silence], rules: list[Inhibition], firing: list[Alert]
) -> tuple[float, dict[int, set[str | None]]]:
    """(alerts a second, what holds back each of a sample)."""
    sample = [number * 1_237 % ALERTS for number in range(SAMPLE)]
    started = time.perf_counter()
    judged = {number: one_by_one(silences, rules, firing, number) for number in sample}
    return SAMPLE / (time.perf_counter() - started), judged


def one_by_one(silences: list[Silence], rules: list[Inhibition], firing: list[Alert], number: int) -> set[str | None]:
    """What holds back one alert, found by asking everything of everybody."""
    labels = firing[number][1]
    found: set[str | None] = {
        silence.id for silence in silences if matches_all(silence.matchers, labels) and silence.mute(NOW) is not None
    }
    for rule in rules:
        source, target = _matchers(rule.source), _matchers(rule.target)
        if matches_all(target, labels):
            both = matches_all(source, labels)
            causes = (
                other
                for other, its in firing
                if all(its.get(name, "") == labels.get(name, "") for name in rule.equal)
                and matches_all(source, its)
                and not (both and matches_all(target, its))
            )
            cause = next(causes, None)
            found |= {cause} if cause is not None else set()
    return found


def _texts(written: str, number: int) -> tuple[str, ...]:
    return tuple(map(str, parse_all(written.format(n=number, next=number + 1))))


def _matchers(texts: tuple[str, ...]) -> list[Matcher]:
    return [parse(text) for text in texts]
