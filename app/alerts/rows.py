"""From stored rows to what decisions and messages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from app.alerts import muted, routes, rules
from app.alerts.core import State
from app.alerts.groups import Group, Member
from app.alerts.rendering import Subject
from app.catalog import Catalog


def group_of(row: Row[Any]) -> Group:
    """The part of a group's row that decisions are made of."""
    return Group(
        opened_at=row.opened_at,
        timing=routes.timing_from_json(row.timing),
        ladder=routes.ladder_from_json(row.ladder),
        told_at=row.told_at,
        told_count=row.told_count,
        waiting_since=row.waiting_since,
        step=row.step,
        repeats=row.repeats,
        acknowledged=row.acknowledged,
    )


def member_of(row: Row[Any], mutes: Mapping[muted.Key, muted.Held]) -> Member:
    """One alert of the group with what holds it back."""
    held = mutes.get((row.group_id, row.id))
    return Member(
        episode_id=row.id,
        state=State(row.state),
        severity=row.severity,
        added_at=row.added_at,
        told=row.member_told_at is not None,
        end_told=row.end_told_at is not None,
        muted=held is not None and held.is_silent,
        not_before=held.not_before if held is not None else None,
        acted=row.acted_at is not None,
    )


def subject_of(row: Row[Any], catalog: Catalog) -> Subject:
    """An episode's row as a message speaks of it, with the catalogue's words where it has none of its own."""
    return Subject(
        id=row.id,
        fingerprint=row.fingerprint,
        name=row.name,
        severity=row.severity,
        state=State(row.state),
        labels=row.labels,
        annotations=rules.enrich(catalog.telling, row.labels, row.annotations),
        starts_at=row.starts_at,
        team=row.team,
        service=row.service,
        resolved_at=row.resolved_at,
        acknowledged_by=row.acknowledged_by,
        generator_url=row.generator_url,
        flapping=row.flapping,
    )
