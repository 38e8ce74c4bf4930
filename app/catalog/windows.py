"""Maintenance windows: one-off between two moments, or weekly by the clock on a wall. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_DAYS: tuple[Day, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    reason: str = Field(min_length=1, max_length=500, description="shown instead of the service's failures")


class OneOff(_Window):
    """From one moment until another: `{from = 2026-03-01T22:00:00Z, until = 2026-03-02T02:00:00Z, reason = "move"}`."""

    begin: AwareDatetime = Field(alias="from", description="first moment, with its offset")
    until: AwareDatetime = Field(description="first moment after it, with its offset")

    @model_validator(mode="after")
    def _in_order(self) -> OneOff:
        if self.until <= self.begin:
            raise ValueError("`until` must be after `from`")
        return self

    def contains(self, now: datetime) -> bool:
        """Is `now` inside?"""
        return self.begin <= now < self.until


class Weekly(_Window):
    """Every week: `{days = ["friday"], from = "15:00", to = "17:00", timezone = "Europe/Berlin", reason = "updates"}`.

    A window whose `to` is not after its `from` ends on the next day. It is in force whenever a clock in its time zone
    reads inside it, so both times in the hour that is repeated in autumn; one that begins in the hour that is skipped
    in spring happens an hour later.
    """

    days: tuple[Day, ...] = Field(min_length=1, description="days on which it begins")
    begin: time = Field(alias="from", description="first minute")
    to: time = Field(description="first minute after it")
    timezone: str = Field(default="UTC", description="IANA name, such as Europe/Berlin")

    @field_validator("begin", "to")
    @classmethod
    def _plain(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("must have no offset: `timezone` says where the clock hangs")
        return value

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("is no IANA time zone, such as Europe/Berlin") from None
        return value

    def contains(self, now: datetime) -> bool:
        """Is `now` inside?"""
        zone = ZoneInfo(self.timezone)
        reading = now.astimezone(zone).replace(tzinfo=None)
        for back in (0, 1):
            date = reading.date() - timedelta(days=back)
            if _DAYS[date.weekday()] not in self.days:
                continue
            begin = datetime.combine(date, self.begin)
            end = datetime.combine(date + timedelta(days=self.to <= self.begin), self.to)
            if begin <= reading < end or (_skipped(begin, zone) and _between(begin, end, zone, now)):
                return True
        return False


def _skipped(local: datetime, zone: ZoneInfo) -> bool:
    """Does this reading never appear on the wall, because daylight saving begins?"""
    early = local.replace(tzinfo=zone, fold=0).utcoffset()
    late = local.replace(tzinfo=zone, fold=1).utcoffset()
    return early is not None and late is not None and early < late


def _between(begin: datetime, end: datetime, zone: ZoneInfo, now: datetime) -> bool:
    return begin.replace(tzinfo=zone).timestamp() <= now.timestamp() < end.replace(tzinfo=zone).timestamp()


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return "once" if "until" in value else "weekly"
    return "once" if isinstance(value, OneOff) else "weekly"


Window = Annotated[Annotated[OneOff, Tag("once")] | Annotated[Weekly, Tag("weekly")], Discriminator(_form)]
