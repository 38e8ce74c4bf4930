"""A cause silences its symptoms: which firing alerts inhibit another, by Alertmanager's rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from app.alerts.matchers import parse
from app.alerts.matching import Index, bits
from app.catalog import Inhibition

Labels = Mapping[str, str]
_Source = tuple[str, str]
"""(fingerprint, name)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The firing alert that inhibits, and why."""

    fingerprint: str
    reason: str


class Inhibitions:
    """Rules against what fires. Labels that are missing on both sides are equal.

    An alert that a rule names both as a source and as a target is not inhibited by others for which the same is true:
    otherwise they would silence one another, and each itself.
    """

    def __init__(self, rules: Sequence[Inhibition], firing: Iterable[tuple[str, Labels]]) -> None:
        self._rules = rules
        self._firing = firing
        self._sources = Index([tuple(map(parse, rule.source)) for rule in rules])
        self._targets = Index([tuple(map(parse, rule.target)) for rule in rules])
        masks: dict[tuple[str, ...], int] = {}
        for number, rule in enumerate(rules):
            equal = tuple(sorted(set(rule.equal)))
            masks[equal] = masks.get(equal, 0) | 1 << number
        self._families = [_Family(equal, mask) for equal, mask in masks.items()]
        self._loaded = False

    def of(self, labels: Labels) -> list[Cause]:
        """Everything that inhibits this alert, in the order of the rules; of each rule the first source that fires."""
        targeted = self._targets.matches(labels)
        if not targeted:
            return []
        self._load()
        is_source = self._sources.matches(labels)
        hits = [hit for family in self._families for hit in family.hits(labels, targeted, is_source)]
        return list(dict.fromkeys(self._cause(rule, source) for rule, source in sorted(hits)))

    def _cause(self, rule: int, source: _Source) -> Cause:
        fingerprint, name = source
        return Cause(fingerprint, self._rules[rule].reason or f"{name or fingerprint} fires")

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for fingerprint, labels in self._firing:
            as_source = self._sources.matches(labels)
            if as_source:
                source = (fingerprint, labels.get("alertname", ""))
                as_target = self._targets.matches(labels)
                for family in self._families:
                    family.add(source, labels, as_source, as_target)


@dataclass(slots=True)
class _Bucket:
    """Firing sources with the same values of the labels that must be equal, as masks of the rules they serve.

    `plain`: by sources that are no targets of the same rule. `added`: (source, new in `either`, new in `plain`).
    """

    either: int = 0
    plain: int = 0
    added: list[tuple[_Source, int, int]] = field(default_factory=list)
    first: dict[tuple[int, bool], _Source] = field(default_factory=dict)

    def add(self, source: _Source, either: int, plain: int) -> None:
        new = (either & ~self.either, plain & ~self.plain)
        if any(new):
            self.either |= either
            self.plain |= plain
            self.added.append((source, *new))

    def source(self, rule: int, *, plain: bool) -> _Source:
        """The first that serves the rule."""
        found = self.first.get((rule, plain))
        if found is None:
            found = next(source for source, either, only in self.added if (only if plain else either) >> rule & 1)
            self.first[rule, plain] = found
        return found


class _Family:
    """All rules that want the same labels to be equal: one look-up answers for them together."""

    def __init__(self, equal: tuple[str, ...], rules: int) -> None:
        self._equal = equal
        self._rules = rules
        self._buckets: dict[tuple[str, ...], _Bucket] = {}

    def add(self, source: _Source, labels: Labels, as_source: int, as_target: int) -> None:
        served = as_source & self._rules
        if served:
            self._buckets.setdefault(self._key(labels), _Bucket()).add(source, served, served & ~as_target)

    def hits(self, labels: Labels, targeted: int, is_source: int) -> Iterator[tuple[int, _Source]]:
        wanted = targeted & self._rules
        bucket = self._buckets.get(self._key(labels)) if wanted else None
        if bucket is None:
            return
        for rule in bits(wanted & (bucket.plain | (bucket.either & ~is_source))):
            yield rule, bucket.source(rule, plain=bool(is_source >> rule & 1))

    def _key(self, labels: Labels) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self._equal)
