"""Look for work: hand out the tokens that are due, and once a day decide about all of a time zone in one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from app import catalog, clock, jobs
from app.catalog import Catalog
from app.infra.apart import Steps
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.jobs import Priority, Submission
from app.tokens import apps_state, core, pacing, reminding
from app.tokens.core import Grant, Ladder, Level
from app.tokens.provider import Traits
from app.tokens.providers import platforms
from app.tokens.rows import LONGEST_LEASE

ATTEND, CHECK = "tasks.tokens.attend", "tasks.tokens.check"
EVERY_SECONDS = 10
"""From one pass to the next."""
BUSY_SECONDS = 6.0
"""How long one pass goes on where much is due."""
HANDED_OUT = timedelta(minutes=10)
"""A token that was handed out is looked at again after this, should its job be gone."""
ENDLESS_CHECK = timedelta(hours=20)
"""A token that never expires is asked about at each daily look."""
FARTHEST_LOOK = timedelta(days=2)
"""A daily look that is planned for later than this is of a clock that was wrong, and is made now."""
LATE = timedelta(minutes=1)
"""A row whose next look is later than it should be by more than this is put right by the daily look."""

_GRANTS = {str(grant): grant for grant in Grant}

log = get_logger(__name__)


def sweep(now: datetime | None = None) -> int:
    """One pass: the daily looks whose time has come, and whatever is due; how many tokens were handed out.

    What is due is handed out whatever becomes of the looks. Raises Transient where one of them failed.
    """
    moment, started = now or clock.now(), clock.monotonic()
    try:
        look_all(moment)
    finally:
        handed = _hand_out_all(moment, until=started + BUSY_SECONDS)
    return handed


def _hand_out_all(now: datetime, *, until: float) -> int:
    handed = 0
    while True:
        with unit_of_work() as uow:
            chunk = hand_out(uow, now)
        handed += chunk
        if chunk < pacing.AT_ONCE or clock.monotonic() >= until:
            return handed


def hand_out(uow: UnitOfWork, now: datetime) -> int:
    """Submit a job for each token that is due, of each app as many as it may refresh until the next pass.

    A row that somebody holds waits for the next one, and nobody for that row.
    """
    connecting = catalog.current().connecting
    rows = uow.execute(
        "SELECT a.platform, a.app, array_agg(s.account_id ORDER BY s.next_at) AS ids FROM token_status s "
        "JOIN accounts a ON a.id = s.account_id WHERE s.next_at <= :now GROUP BY a.platform, a.app",
        now=now,
    ).all()
    chosen: list[UUID] = []
    for row in rows:
        most = pacing.share_of(connecting.app_of(row.platform, row.app), EVERY_SECONDS)
        chosen += row.ids[:most]
    if not chosen:
        return 0
    taken = uow.execute(
        "UPDATE token_status SET next_at = :later WHERE account_id IN (SELECT account_id FROM token_status "
        "WHERE account_id = ANY(:ids) AND next_at <= :now FOR UPDATE SKIP LOCKED) RETURNING account_id",
        later=now + HANDED_OUT,
        ids=chosen,
        now=now,
    ).scalars()
    due = [Submission(ATTEND, {"account_id": str(one)}, key=f"token:{one}") for one in taken]
    for place in range(0, len(due), 500):
        jobs.submit_many(uow, due[place : place + 500])
    return len(due)


def look_all(now: datetime) -> int:
    """The daily look of each time zone whose time has come; how many tokens were looked at. Raises Transient."""
    seen = 0
    found = catalog.current()
    with unit_of_work() as uow:
        zones = _due_zones(uow, found, now)
    steps = Steps()
    for zone in zones:
        with steps.step(zone), unit_of_work() as uow:
            seen += _look(uow, found, zone, now)
    if zones:
        with steps.step("apps"), unit_of_work() as uow:
            apps_state.forget_unused(uow)
        with steps.step("pauses"), unit_of_work() as uow:
            reminding.say_again(uow, now)
    steps.conclude()
    return seen


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the tokens of one platform and app have in common."""

    ladder: Ladder
    traits: Traits


@dataclass(frozen=True, slots=True)
class Look:
    """What a daily look found: tokens by tenant and level, those whose next look is at the wrong time, and those that
    their platform should be asked about."""

    tally: dict[str, Counter[Level]]
    wrong: list[tuple[UUID, datetime]]
    unchecked: list[UUID]

    @property
    def checked(self) -> int:
        """How many tokens were looked at."""
        return sum(sum(one.values()) for one in self.tally.values())


def _zones(found: Catalog) -> dict[str, list[str]]:
    """Time zones and the tenants that the catalogue puts there; everybody else is in UTC."""
    zones: dict[str, list[str]] = {"UTC": []}
    for name, tenant in found.budgeting.tenants.items():
        zones.setdefault(tenant.timezone, []).append(name)
    return zones


def _due_zones(uow: UnitOfWork, found: Catalog, now: datetime) -> list[str]:
    known = {row.zone: row.due_at for row in uow.execute("SELECT zone, due_at FROM token_looks")}
    zones = _zones(found)
    new = [zone for zone in zones if zone not in known]
    for zone in new:
        uow.execute(
            "INSERT INTO token_looks (zone, due_at) VALUES (:zone, :due_at) ON CONFLICT (zone) DO NOTHING",
            zone=zone,
            due_at=_next_look(found, zone, now),
        )
    return [zone for zone, due_at in known.items() if zone in zones and not now < due_at <= now + FARTHEST_LOOK]


def _next_look(found: Catalog, zone: str, after: datetime) -> datetime:
    daily = core.Daily(found.connecting.tokens.daily_at, ZoneInfo(zone))
    return daily.after(after + timedelta(seconds=1))


def _look(uow: UnitOfWork, found: Catalog, zone: str, now: datetime) -> int:
    """Decide about every token of a zone. One query reads them, one writes those that wait for the wrong time."""
    claimed = uow.execute(
        "UPDATE token_looks SET due_at = :next, looked_at = :now "
        "WHERE zone = :zone AND NOT (due_at > :now AND due_at <= :farthest) RETURNING zone",
        farthest=now + FARTHEST_LOOK,
        zone=zone,
        now=now,
        next=_next_look(found, zone, now),
    ).one_or_none()
    if claimed is None:
        return 0
    tenants = _zones(found)[zone]
    others = [name for name, tenant in found.budgeting.tenants.items() if tenant.timezone != "UTC"]
    look = decide_all(_tokens(uow, zone, tenants, others, now), found, zone, now)
    _write_day(uow, now.astimezone(ZoneInfo(zone)).date(), look.tally)
    _put_right(uow, look.wrong, now)
    spread = timedelta(minutes=found.connecting.tokens.spread_minutes)
    for place in range(0, len(look.unchecked), 500):
        jobs.submit_many(uow, [_checking(one, now, spread) for one in look.unchecked[place : place + 500]])
    log.info("tokens looked at", zone=zone, checked=look.checked, put_right=len(look.wrong))
    return look.checked


def _checking(account: UUID, now: datetime, spread: timedelta) -> Submission:
    due = now + spread * ((account.int % 10_007) / 10_007)
    kwargs = {"account_id": str(account), "by": "daily look"}
    return Submission(CHECK, kwargs, not_before=due, key=f"token:{account}", priority=Priority.LOW)


_TOKENS = """
SELECT a.id, a.tenant, a.platform, a.app, s.generation, s.grant_state, s.refresh IS NOT NULL, s.issued_at, s.expires_at,
       s.refresh_expires_at, s.attempts, s.tried_at, s.wait_until, s.checked_at, s.next_at
FROM accounts a JOIN token_status s ON s.account_id = a.id
WHERE a.disabled_at IS NULL AND s.grant_state <> ''
  AND (s.lease_until IS NULL OR s.lease_until NOT BETWEEN :now AND :longest) AND """


def _tokens(uow: UnitOfWork, zone: str, tenants: Sequence[str], others: Sequence[str], now: datetime) -> Iterator[Any]:
    """Rows of all tokens of a zone that nobody is at, as plain tuples."""
    which = "NOT (a.tenant = ANY(:others))" if zone == "UTC" else "a.tenant = ANY(:tenants)"
    given: dict[str, Any] = {"now": now, "longest": now + LONGEST_LEASE}
    given |= {"others": list(others)} if zone == "UTC" else {"tenants": list(tenants)}
    result = uow.session.connection().execute(text(_TOKENS + which), given)
    return iter(result.cursor.fetchall() if result.cursor is not None else ())


def decide_all(rows: Iterator[Any], found: Catalog, zone: str, now: datetime) -> Look:
    """Count tenants' tokens by level, and name those that nobody would look at in time, with the right time."""
    look = Look({}, [], [])
    settings, place = found.connecting.tokens, ZoneInfo(zone)
    kinds: dict[tuple[str, str], _Kind | None] = {}
    for identifier, tenant, platform, app, generation, grant, has_refresh, *known, checked, next_at in rows:
        if (platform, app) not in kinds:
            kinds[platform, app] = _kind_of(found, platform, app)
        kind = kinds[platform, app]
        if kind is None:
            continue
        token = core.Token(generation, _GRANTS[grant], has_refresh, False, False, *known)
        level = core.level_of(token, kind.ladder, kind.traits, now)
        if level is not None:
            look.tally.setdefault(tenant, Counter())[level] += 1
            if _is_unchecked(token, kind.traits, checked, now):
                look.unchecked.append(_uuid(identifier))
        if level is Level.HEALTHY and _is_planned(token, kind.ladder, next_at, now):
            continue
        account = _uuid(identifier)
        daily = core.Daily(settings.daily_at, place, core.offset_of(kind.ladder, account))
        due = core.look_at(token, kind.ladder, kind.traits, daily, now)
        if due is not None and (next_at is None or next_at - due > LATE):
            look.wrong.append((account, max(due, now)))
    return look


def _is_planned(token: core.Token, ladder: Ladder, next_at: datetime | None, now: datetime) -> bool:
    """Will somebody look at a healthy token in time? One of weeks has time until the next daily look."""
    if next_at is None or next_at - now <= ladder.spread:
        return False
    return ladder.daily or (token.expires_at is not None and next_at < token.expires_at)


def _is_unchecked(token: core.Token, traits: Traits, checked_at: datetime | None, now: datetime) -> bool:
    """Is it time to ask whether the platform accepts it? One that never expires is never refreshed, and may be dead."""
    every = traits.check_every if token.expires_at is not None else ENDLESS_CHECK
    return every is not None and token.grant is Grant.GOOD and (checked_at is None or now - checked_at >= every)


def _uuid(read: Any) -> UUID:
    return read if isinstance(read, UUID) else UUID(read)


def _kind_of(found: Catalog, platform: str, app: str) -> _Kind | None:
    provider = platforms().get(platform)
    if provider is None:
        return None
    known = found.connecting.app_of(platform, app)
    return _Kind(core.ladder_of(found.connecting.tokens, provider.TRAITS, known), provider.TRAITS)


def _write_day(uow: UnitOfWork, day: date, tally: Mapping[str, Counter[Level]]) -> None:
    if not tally:
        return
    uow.execute(
        "INSERT INTO token_days (day, tenant, checked, healthy, expiring_soon, critical) "
        "SELECT :day, * FROM unnest(CAST(:tenants AS text[]), CAST(:checked AS int[]), CAST(:healthy AS int[]), "
        "CAST(:soon AS int[]), CAST(:critical AS int[])) ON CONFLICT (day, tenant) DO UPDATE SET "
        "checked = excluded.checked, healthy = excluded.healthy, expiring_soon = excluded.expiring_soon, "
        "critical = excluded.critical",
        day=day,
        tenants=list(tally),
        checked=[sum(one.values()) for one in tally.values()],
        healthy=[one[Level.HEALTHY] for one in tally.values()],
        soon=[one[Level.EXPIRING_SOON] for one in tally.values()],
        critical=[one[Level.CRITICAL] for one in tally.values()],
    )


def _put_right(uow: UnitOfWork, wrong: Sequence[tuple[UUID, datetime]], now: datetime) -> None:
    if wrong:
        uow.execute(
            "UPDATE token_status s SET next_at = w.due FROM ("
            "SELECT t.account_id, g.due FROM unnest(CAST(:ids AS uuid[]), CAST(:due AS timestamptz[])) AS g(id, due) "
            "JOIN token_status t ON t.account_id = g.id "
            "WHERE t.lease_until IS NULL OR t.lease_until NOT BETWEEN :now AND :longest "
            "FOR UPDATE OF t SKIP LOCKED) AS w WHERE s.account_id = w.account_id",
            now=now,
            longest=now + LONGEST_LEASE,
            ids=[str(one) for one, _ in wrong],
            due=[due for _, due in wrong],
        )
