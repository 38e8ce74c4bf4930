"""An owner logs in again: from a link to the platform's consent page, and from its answer to a stored token."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app import catalog, signals
from app.config import settings
from app.errors import Conflict, Invalid, NotFound
from app.infra.crypto import Damaged, KeyMissing
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.infra.secret import Secret
from app.tokens import apps_state, connect_links, consents, failed_logins, logins, permissions, store, storing
from app.tokens.connect_links import PREFIX, ConnectLink
from app.tokens.consents import Consent, Failure, Outcome
from app.tokens.logins import Login
from app.tokens.rows import Account, Held

BY = "owner (link)"
FAILED, OVER = "tokens.connect_failed", "tokens.connect_over"
CALLBACK = f"{PREFIX}callback"

_LONGEST_CODE = 4096
_TELL_AGAIN = timedelta(hours=1)
_OPEN = timedelta(days=2)
"""How long an alert about a failure may last."""
_TOLD = frozenset({Outcome.UNAVAILABLE, Outcome.TROUBLE, Outcome.REFUSED, Outcome.WRONG_ACCOUNT, Outcome.INCOMPLETE})
"""Outcomes that staff should know of."""
_ENDED = {Outcome.EXPIRED: "login_expired", Outcome.OTHER_BROWSER: "other_browser"}
"""Logins that end before the platform is asked, and why."""

log = get_logger(__name__)


class Spent(Conflict):
    """The account was connected after the link was made."""


class Stopped(Conflict):
    """The account is disabled: nobody works with it, so there is nothing to log in for."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a link is for. `asks`: what the owner will be asked to allow, in words."""

    account: Account
    is_paused: bool
    is_first: bool
    asks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that waits for its owner at the platform; the cookie is for the browser that began it."""

    url: str = field(repr=False)
    cookie_name: str
    cookie: str = field(repr=False)
    life: timedelta


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a login. `again`: the link's token, where another try may help."""

    outcome: Outcome
    account: Account | None = None
    failure: Failure | None = None
    again: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Returned:
    """A login that came back in time, in its own browser."""

    login: Login
    again: str = field(repr=False)


def redirect_uri() -> str:
    """Where platforms send owners back to: the app's settings at each platform must name it."""
    return f"{settings().external_url}{CALLBACK}"


def look(session: Session, link: ConnectLink) -> Offer:
    """What the link is for; changes nothing. Raises NotFound, Spent, Stopped."""
    held = _usable(session, link)
    way = consents.way_of(held.account)
    asks = () if isinstance(way, Failure) else permissions.words(way.scopes)
    return Offer(held.account, held.status.paused, held.status.generation == 0, asks)


def begin(link: ConnectLink, *, now: datetime) -> Begun | Finished:
    """A new login; Finished where nobody can log in. Raises NotFound, Spent, Stopped, Misconfigured."""
    life = timedelta(minutes=catalog.current().connecting.tokens.login_minutes)
    with unit_of_work() as uow:
        account = _usable(uow.session, link).account
        way = consents.way_of(account)
        if isinstance(way, Failure):
            _tell(uow, account, way, now=now)
            return Finished(way.outcome, account, way)
        opened = logins.begin(uow, account, pkce=way.provider.TRAITS.pkce, now=now, life=life)
    url = consents.address(way, redirect_uri=redirect_uri(), state=opened.state, verifier=opened.verifier)
    return Begun(url, logins.cookie_name(opened.state), f"{opened.browser}.{link.token}", life)


def finish(state: str, cookie: str, *, code: str = "", error: str = "", now: datetime) -> Finished:
    """The end of a login: `take`, then `complete`."""
    taken = take(state, cookie, now=now)
    return taken if isinstance(taken, Finished) else complete(taken, code=code, error=error, now=now)


def take(state: str, cookie: str, *, now: datetime) -> Returned | Finished:
    """Use up the state of a login that comes back; Finished where it ends here."""
    browser, _, link = cookie.partition(".")
    again = _usable_again(link, now)
    with unit_of_work() as uow:
        taken = logins.take(uow, state, browser, now=now)
        if taken in _ENDED:
            account = store.load_id(uow.session, logins.account_of(uow, state)).account
            failed_logins.remember(uow, account, Failure(taken, _ENDED[taken]), by=BY, now=now)
    if isinstance(taken, Login):
        return Returned(taken, again)
    log.info("a login was turned away", outcome=taken.value)
    return Finished(taken, again=again if taken in (Outcome.EXPIRED, Outcome.USED) else "")


def _usable_again(token: str, now: datetime) -> str:
    """The link's token, empty where it opens nothing any more: a cookie is what somebody's browser says."""
    try:
        return connect_links.read(settings(), token, now=now).token
    except Invalid:
        return ""


def complete(returned: Returned, *, code: str = "", error: str = "", now: datetime) -> Finished:
    """Exchange the code, and store the token if it is the right account's.

    Asks the platform outside any transaction, for as long as its app may. Raises NotFound, Stopped, Misconfigured.
    """
    login = returned.login
    with read_only() as session:
        account = _working(store.load_id(session, login.account_id).account)
        is_connected = logins.connected_since(session, account.id, login.created_at)
    found: Consent | Failure = Failure(Outcome.ALREADY, "connected_meanwhile")
    if not is_connected:
        found = _obtained(login, account, code=code, error=error, now=now)
    if isinstance(found, Failure):
        with unit_of_work() as uow:
            logins.conclude(uow, login.id, found.outcome)
            _tell(uow, account, found, now=now)
        return Finished(found.outcome, account, found, again=returned.again)
    with unit_of_work() as uow:
        _store(uow, login, found, now=now)
    log.info("an account was connected by its owner", account=account.key)
    return Finished(Outcome.CONNECTED, account)


def _obtained(login: Login, account: Account, *, code: str, error: str, now: datetime) -> Consent | Failure:
    if error:
        return consents.error_of(error)
    if not code or len(code) > _LONGEST_CODE:
        return Failure(Outcome.TROUBLE, "no_code")
    way = consents.way_of(account)
    if isinstance(way, Failure):
        return way
    try:
        verifier = login.verifier(account)
    except (KeyMissing, Damaged) as lost:
        return Failure(Outcome.TROUBLE, "verifier_lost", str(lost))
    given = Secret(code)
    return consents.obtain(account, way, code=given, redirect_uri=redirect_uri(), verifier=verifier, now=now)


def _store(uow: UnitOfWork, login: Login, found: Consent, *, now: datetime) -> None:
    held = store.lock(uow, login.account_id)
    if held is None:
        raise NotFound("the account was removed meanwhile")
    _working(held.account)
    storing.put(uow, held, found.tokens, kind=storing.CONNECTED, by=BY, now=now)
    if _failed_lately(uow, held.account, now, _OPEN):
        signals.record(uow, OVER, held.account.subject, labels=held.account.labels)
    apps_state.answered(uow, found.app)
    logins.conclude(uow, login.id, Outcome.CONNECTED)


def _usable(session: Session, link: ConnectLink) -> Held:
    held = store.load_id(session, link.account_id)
    account = _working(held.account)
    if logins.connected_since(session, account.id, link.made_at - logins.SKEW, generation=link.generation):
        raise Spent(f"{account.key} was connected after this link was made")
    return held


def _working(account: Account) -> Account:
    if account.disabled_at is not None:
        raise Stopped(f"{account.key} is disabled")
    return account


def _tell(uow: UnitOfWork, account: Account, failure: Failure, *, now: datetime) -> None:
    """Staff learns of it; of the same again only after a while, however often somebody presses the button."""
    log.info(
        "an owner could not connect an account",
        account=account.key,
        outcome=failure.outcome.value,
        reason=failure.reason,
        detail=failure.detail,
    )
    failed_logins.remember(uow, account, failure, by=BY, now=now)
    if failure.outcome not in _TOLD:
        return
    if failure.reason not in _failed_lately(uow, account, now, _TELL_AGAIN):
        facts = {"outcome": failure.outcome.value, "reason": failure.reason, "detail": failure.detail}
        signals.record(uow, FAILED, account.subject, labels=account.labels, facts=facts)


def _failed_lately(uow: UnitOfWork, account: Account, now: datetime, within: timedelta) -> set[str]:
    """Reasons that staff learnt of."""
    found = signals.timeline(uow.session, subject=account.subject, kind=FAILED, since=now - within, limit=20)
    return {str(signal.facts.get("reason")) for signal in found}
