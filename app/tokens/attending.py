"""One look at one token: refresh it if it is due, and let the ladder follow. Also whether its platform accepts it.

Lease and mark are committed before the platform is asked, and its answer is stored by compare-and-set after it: two
workers never send the same token, and a worker that dies in between is noticed by the mark it left.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from app import clock
from app.catalog import App
from app.errors import Misconfigured, NotFound, Transient
from app.infra.crypto import Damaged, KeyMissing
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.infra.metrics import TOKEN_REFRESH_SECONDS, TOKEN_REFRESHES
from app.tokens import apps_state, climbing, core, keys_state, pacing, settling, store, storing, unopened
from app.tokens.asking import Asker
from app.tokens.climbing import Block, Rules
from app.tokens.core import Grant
from app.tokens.provider import Acceptance, Answer, Known, Refused, Tokens, Trouble
from app.tokens.settling import Attended, Begun, Outcome
from app.tokens.store import Held

KEY_RETRY = timedelta(hours=1)
"""Until a token whose key is missing is tried again."""
TURN = timedelta(hours=1)
"""How long a token may wait for its turn before that is trouble."""
SETTLE_SECONDS = 40.0
"""How long an answer is kept that the database does not take; with the question's own time less than a job's limit."""

log = get_logger(__name__)

__all__ = ["Attended", "Outcome", "attend", "check"]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A refresh whose lease is committed."""

    begun: Begun
    tokens: Tokens


def attend(
    account_id: uuid.UUID,
    *,
    by: str = "schedule",
    force: bool = False,
    patient: bool = False,
    now: datetime | None = None,
) -> Attended:
    """Look at a token, and refresh it where that is due; `force`: a person wants it now.

    `patient`: due or not, but what its app waits for is waited for.

    Raises Transient while the limiter is away.
    """
    moment = now or clock.now()
    with unit_of_work() as uow:
        ready = _begin(uow, account_id, by=by, force=force, now=moment, patient=patient)
    if isinstance(ready, Attended):
        return ready
    begun = ready.begun
    started = clock.monotonic()
    answer = _ask(begun, ready.tokens)
    seconds = clock.monotonic() - started
    attended = _settled(begun, answer, duration_ms=round(seconds * 1000))
    platform = begun.held.account.platform
    TOKEN_REFRESHES.inc(platform=platform, outcome=attended.outcome.value)
    TOKEN_REFRESH_SECONDS.observe(seconds, platform=platform)
    log.info("token looked at", account=begun.held.account.key, outcome=attended.outcome.value, why=attended.reason)
    return attended


def _settled(begun: Begun, answer: Answer, *, duration_ms: int) -> Attended:
    """Store the answer; it may be the only copy of a token, and so outlasts a deadlock or a database that restarts."""
    tries = Retrying(
        retry=retry_if_exception_type((Transient, Misconfigured)),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(SETTLE_SECONDS),
        reraise=True,
    )
    return tries(settling.settle, begun, answer, duration_ms=duration_ms)


def check(account_id: uuid.UUID, *, by: str, now: datetime | None = None) -> Acceptance:
    """Ask the platform whether it accepts a token; one that it refuses is refreshed, or its owner told.

    Raises NotFound for an account that is gone or was never connected.
    """
    moment = now or clock.now()
    with read_only() as session:
        held = store.load_id(session, account_id)
    rules = _rules(held)
    opened = _opened(held)
    if isinstance(opened, Refused):
        with unit_of_work() as uow:
            found = store.lock(uow, account_id)
            if found is not None and found.status.generation == held.status.generation:
                unopened.tell(uow, found, opened.reason, by=by, now=moment)
        return opened
    app = rules.app
    if app is None:
        with unit_of_work() as uow:
            _tell_missing(uow, held, rules, now=moment)
        return Refused(Trouble.APP, "app_missing", f'there is no app "{held.account.app}"')
    answer = _introspected(rules, app, opened, now=moment)
    _learn(held, rules, app, answer, now=moment)
    if isinstance(answer, Known):
        _accepted(held, rules, answer, by=by, now=moment)
    elif answer.trouble is Trouble.DEAD:
        _not_accepted(held, rules, answer, by=by, now=moment)
    return answer


def _begin(
    uow: UnitOfWork, account_id: uuid.UUID, *, by: str, force: bool, now: datetime, patient: bool = False
) -> Attended | _Ready:
    """Take the lease, or say why nothing is sent; whatever time alone has changed is written."""
    held = store.lock(uow, account_id)
    if held is None:
        return Attended(Outcome.NOTHING, "removed")
    rules = _rules(held)
    status = held.status
    if status.is_leased(now):
        return Attended(Outcome.WAITING, "being_refreshed", generation=status.generation, until=status.lease_until)
    if status.started_at is not None and rules.traits.rotates:
        return settling.lost(uow, held, rules, now=now, by=by)
    stop = _obstacle(uow, held, rules, force=force or patient, eager=force, now=now)
    if stop is not None:
        return stop
    app = rules.app
    opened = _opened(held)
    if app is None:
        return _without_app(uow, held, rules, now=now)
    if isinstance(opened, Refused):
        unopened.tell(uow, held, opened.reason, by=by, now=now)
        block, said = Block(now + KEY_RETRY), opened.detail
        return settling.hold(uow, held, rules, now=now, block=block, reason=opened.reason, detail=said)
    keys_state.found(uow, status.key_id)
    lease = f"{by}:{uuid.uuid4().hex[:12]}"
    until = now + timedelta(seconds=rules.settings.lease_seconds)
    leased = store.with_lease(status, by=lease, now=now, until=until)
    store.save(uow, account_id, status, leased, now=now)
    return _Ready(Begun(replace(held, status=leased), rules, app, by, now), opened)


def _obstacle(uow: UnitOfWork, held: Held, rules: Rules, *, force: bool, eager: bool, now: datetime) -> Attended | None:
    """Why nothing is sent now; None: it is due or wanted, and may go. `eager`: whatever its app waits for."""
    app = rules.app
    missing = app is None or ("refresh" in rules.traits.needs_app and not app.client_id)
    token = held.token()
    due = core.try_at(token, rules.ladder, rules.traits, rules.daily, now)
    renewable = core.is_renewable(token, rules.traits, now) and not token.disabled
    if not renewable or (not force and (due is None or due > now)):
        block = None if app is None else apps_state.read(uow.session, app.name).block(now)
        climbing.follow(uow, held.account, held.status, store.without_lease(held.status), rules, now=now, block=block)
        return Attended(Outcome.NOTHING, _why_not(held, renewable=renewable), generation=held.status.generation)
    if missing or app is None or not app.enabled:
        return _without_app(uow, held, rules, now=now)
    block = apps_state.read(uow.session, app.name).block(now)
    if block is not None and not eager:
        return settling.hold(uow, held, rules, now=now, block=block)
    room_at = None if eager else pacing.turn(app)
    if room_at is not None:
        since = max(due or now, held.status.refreshed_at or now)
        block = Block(max(now, room_at), is_trouble=now - since > TURN)
        return settling.hold(uow, held, rules, now=now, block=block)
    asks_first = None if eager else apps_state.probe(uow, app, now=now)
    return None if asks_first is None else settling.hold(uow, held, rules, now=now, block=asks_first)


def _learn(held: Held, rules: Rules, app: App, answer: Acceptance, *, now: datetime) -> None:
    """What a check says of the app, where it is asked as a refresh is: a token without an end is never refreshed."""
    if not rules.traits.one_token:
        return
    is_endless = held.status.expires_at is None
    with unit_of_work() as uow:
        if isinstance(answer, Known):
            lifted = (apps_state.REFUSED, apps_state.ODD) if is_endless else (apps_state.REFUSED,)
            apps_state.accepted(uow, app, states=lifted)
        elif answer.trouble is Trouble.APP:
            again = now + timedelta(minutes=rules.settings.app_retry_minutes)
            apps_state.refused(uow, app, reason=answer.reason, detail=answer.detail, until=again)
        elif answer.trouble is Trouble.UNKNOWN and is_endless:
            apps_state.odd(uow, app, reason=answer.reason, detail=answer.detail)


def _tell_missing(uow: UnitOfWork, held: Held, rules: Rules, *, now: datetime) -> None:
    app, account = rules.app, held.account
    detail = "the app's client_id is not configured"
    if app is None:
        app = App(name=account.app, platform=account.platform)
        detail = f"accounts of {account.platform} name it, and there is no such app for it"
    again = now + timedelta(minutes=rules.settings.app_retry_minutes)
    apps_state.refused(uow, app, reason="app_missing", detail=detail, until=again)


def _without_app(uow: UnitOfWork, held: Held, rules: Rules, *, now: datetime) -> Attended:
    """Its app is gone, not configured, or turned off: no try is used up. Staff are told of what is no purpose."""
    if rules.app is None or rules.app.enabled:
        _tell_missing(uow, held, rules, now=now)
    block = Block(now + KEY_RETRY)
    return settling.hold(uow, held, rules, now=now, block=block, reason="app_missing")


def _why_not(held: Held, *, renewable: bool) -> str:
    if held.account.disabled_at is not None:
        return "disabled"
    if held.status.grant is Grant.NONE:
        return "not_connected"
    return "not_due" if renewable else "login_needed"


def _rules(held: Held) -> Rules:
    rules = climbing.rules_of(held.account)
    if rules is None:
        raise NotFound(f"{held.account.platform} is no platform whose tokens are kept here")
    return rules


def _opened(held: Held) -> Tokens | Refused:
    try:
        return storing.reveal(held)
    except (KeyMissing, Misconfigured) as error:  # without any key, too, the ladder goes on, and staff learn of it
        return Refused(Trouble.UNKNOWN, "key_missing", str(error))
    except Damaged as error:
        return Refused(Trouble.UNKNOWN, "damaged", str(error))


def _ask(begun: Begun, tokens: Tokens) -> Answer:
    """The provider's answer. What it was not written to expect must not leave the token with a lease and no reason."""
    provider, asker = begun.rules.provider, Asker(begun.app, begun.rules.traits, now=begun.now)
    try:
        return provider.refresh(asker, begun.app, tokens)
    except Misconfigured as error:  # found out before anything is sent
        return Refused(Trouble.APP, "misconfigured", str(error))
    except Exception as error:
        log.error("a platform's adapter raised", platform=provider.PLATFORM, error=type(error).__name__)
        trouble = Trouble.LOST if begun.rules.traits.rotates else Trouble.UNKNOWN
        return Refused(trouble, "adapter_failed", f"the adapter failed: {type(error).__name__}")


def _introspected(rules: Rules, app: App, tokens: Tokens, *, now: datetime) -> Acceptance:
    """The provider's answer; an error of its own may quote what it was given, and gets no further."""
    try:
        return rules.provider.introspect(Asker(app, rules.traits, now=now), app, tokens)
    except Exception as error:
        log.error("a platform's adapter raised", platform=rules.provider.PLATFORM, error=type(error).__name__)
        return Refused(Trouble.UNKNOWN, "adapter_failed", f"the adapter failed: {type(error).__name__}")


def _change(held: Held, then: Callable[[UnitOfWork, Held], None]) -> None:
    """Act on the row, unless its token was replaced or is being refreshed: then what was found out is old."""
    with unit_of_work() as uow:
        found = store.lock(uow, held.account.id)
        if found is not None and found.status.generation == held.status.generation and not found.status.lease_by:
            then(uow, found)


def _accepted(held: Held, rules: Rules, known: Known, *, by: str, now: datetime) -> None:
    def write(uow: UnitOfWork, found: Held) -> None:
        before = found.status
        after = replace(before, checked_at=now, scopes=known.scopes or before.scopes)
        if known.expires_at is not None:
            after = replace(after, expires_at=known.expires_at)
        if before.grant is Grant.DEAD:
            after = replace(after, grant=Grant.GOOD, reason="", detail="", attempts=0, failing_since=None)
            store.record(uow, found.account, "connected", by=by, now=now, generation=before.generation, note="accepted")
        climbing.follow(uow, found.account, before, after, rules, now=now, how="accepted")

    _change(held, write)


def _not_accepted(held: Held, rules: Rules, refusal: Refused, *, by: str, now: datetime) -> None:
    """A refused access token with a refresh token beside it is refreshed; that says whether the consent is dead.

    Where answers get lost, the refusals of many accounts must not send their refresh tokens after them.
    """
    if not rules.traits.one_token and held.status.has_refresh and held.status.grant is Grant.GOOD:
        attend(held.account.id, by=by, patient=True, now=now)
        return

    def write(uow: UnitOfWork, found: Held) -> None:
        if found.status.grant is not Grant.DEAD:
            settling.declare_dead(uow, found, rules, refusal, now=now, by=by)

    _change(held, write)
