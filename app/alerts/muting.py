"""Why an alert is not told: silence, inhibition, maintenance, business hours, cooldown. Pure; each names its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from app.alerts import hours as working_hours
from app.alerts import wall
from app.alerts.dependencies import NOTHING, Dependencies, Explained
from app.alerts.inhibition import Inhibitions
from app.alerts.matchers import Matcher, parse
from app.alerts.matching import Index, bits
from app.catalog import BusinessHours, Inhibition, Window
from app.catalog import Mute as Maintenance

_NO_SERVICES: Mapping[str, Sequence[Window]] = {}


class By(StrEnum):
    """What holds a message back."""

    SILENCE = "silence"
    INHIBITION = "inhibition"
    MAINTENANCE = "maintenance"
    BUSINESS_HOURS = "business_hours"
    COOLDOWN = "cooldown"
    UNCONFIRMED_CAUSE = "unconfirmed_cause"


@dataclass(frozen=True, slots=True)
class Mute:
    """One reason for not telling. `until` is None when nobody knows.

    `id` is the silence's, the fingerprint of the alert that inhibits, or the place of the maintenance in the catalogue.
    """

    by: By
    reason: str
    until: datetime | None = None
    id: str | None = None


class SilenceState(StrEnum):
    """Alertmanager's words."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """What a person does not want to be told, from `starts_at` until before `ends_at`."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str

    def state(self, now: datetime) -> SilenceState:
        """Pending, active or expired."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def mute(self, now: datetime) -> Mute | None:
        """What it does to an alert that it matches."""
        if self.state(now) is not SilenceState.ACTIVE:
            return None
        return Mute(By.SILENCE, f"{self.created_by}: {self.comment}", self.ends_at, self.id)


class Muting:
    """Every silence, inhibition and maintenance window against any number of alerts: built once for one pass.

    `firing`: (fingerprint, labels) of all that fires, silenced or not. It is read when the first target of an
    inhibition comes, so it may be a generator that asks the database. `services`: the windows of each service, which
    hold back what has its name as the label `service`. `dependencies`: what is held back because what its service
    depends on is down. Raises Invalid when the catalogue's matchers do not parse.
    """

    def __init__(
        self,
        silences: Sequence[Silence],
        inhibitions: Sequence[Inhibition],
        maintenance: Sequence[Maintenance],
        firing: Iterable[tuple[str, Mapping[str, str]]],
        services: Mapping[str, Sequence[Window]] = _NO_SERVICES,
        *,
        dependencies: Dependencies = NOTHING,
    ) -> None:
        self._dependencies = dependencies
        self._silences = _Timed([silence.matchers for silence in silences], [silence.mute for silence in silences])
        self._inhibitions = Inhibitions(inhibitions, firing)
        windows = [
            (tuple(map(parse, entry.matchers)), f"mutes[{place}]", entry.window)
            for place, entry in enumerate(maintenance)
        ]
        windows += [
            ((Matcher("service", name),), f"services.{name}.maintenance[{place}]", window)
            for name, of_one in services.items()
            for place, window in enumerate(of_one)
        ]
        self._maintenance = _Timed(
            [matchers for matchers, _, _ in windows],
            [partial(_in_maintenance, place, window) for _, place, window in windows],
        )

    def of(self, labels: Mapping[str, str], now: datetime) -> tuple[Mute, ...]:
        """All that holds this alert back now: silences, then inhibition, then maintenance."""
        inhibited = [
            Mute(By.INHIBITION, cause.reason, None, cause.fingerprint) for cause in self._inhibitions.of(labels)
        ]
        explained = self._dependencies.of(labels, now, lambda cause: bool(self._maintenance.of(cause, now)))
        if explained is not None and explained.fingerprint not in {mute.id for mute in inhibited}:
            inhibited.append(_explained(explained))
        return self._silences.of(labels, now) + tuple(inhibited) + self._maintenance.of(labels, now)


class _Timed:
    """Rules that hold at some times only. What applies is made once for all alerts that the same rules match."""

    def __init__(self, rules: Sequence[Sequence[Matcher]], mutes: Sequence[Callable[[datetime], Mute | None]]) -> None:
        self._index = Index(rules)
        self._mutes = mutes
        self._now: datetime | None = None
        self._made: dict[int, tuple[Mute, ...]] = {}

    def of(self, labels: Mapping[str, str], now: datetime) -> tuple[Mute, ...]:
        if now != self._now:
            self._now, self._made = now, {}
        mask = self._index.matches(labels)
        found = self._made.get(mask)
        if found is None:
            every = (self._mutes[place](now) for place in bits(mask))
            found = self._made[mask] = tuple(mute for mute in every if mute is not None)
        return found


def _explained(found: Explained) -> Mute:
    by = By.INHIBITION if found.fingerprint is not None else By.UNCONFIRMED_CAUSE
    return Mute(by, found.reason, found.until, found.fingerprint)


def _in_maintenance(place: str, window: Window, now: datetime) -> Mute | None:
    if not window.contains(now):
        return None
    return Mute(By.MAINTENANCE, window.reason, wall.ends_at(window, now), place)


def outside_hours(hours: BusinessHours, now: datetime) -> Mute | None:
    """Held back until work begins. Whether an alert waits for that is its ladder's business."""
    if working_hours.is_open(hours, now):
        return None
    reason = f"outside business hours ({hours.begin:%H:%M} to {hours.to:%H:%M}, {hours.timezone})"
    return Mute(By.BUSINESS_HOURS, reason, working_hours.opens_at(hours, now))


def cooldown(quiet_until: datetime | None, now: datetime, *, severity: str) -> Mute | None:
    """Held back because it was told not long ago and is back already; never what is critical."""
    if quiet_until is None or now >= quiet_until or severity == "critical":
        return None
    return Mute(By.COOLDOWN, "the same alert was told not long ago", quiet_until)
