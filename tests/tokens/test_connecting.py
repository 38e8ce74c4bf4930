"""Logging in again, from a link to a stored token: once, in one browser, in time, as the right account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock, signals
from app.config import settings
from app.errors import NotFound
from app.infra import crypto
from app.infra.db import read_only, unit_of_work
from app.tokens import connecting, failed_logins, logins, permissions, retention, store, storing
from app.tokens.connecting import Begun, Finished, Spent, Stopped
from app.tokens.consents import Outcome
from app.tokens.core import Step
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use
from tests.tokens.owner import Owner, consented, query_of, table
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import CANARY, Fault

MINUTE = timedelta(minutes=1)
KEY = crypto.new_key("k1")


@pytest.fixture
def instagram() -> Iterator[MetaPlatform]:
    with MetaPlatform() as serving:
        serving.visitor = "17841400000000001"
        yield serving


@pytest.fixture
def configure(
    ledger: Ledger, instagram: MetaPlatform, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., object]:
    """Write the catalogue, with changes of the app."""
    monkeypatch.setenv("SMM_PUBLIC_URL", "https://ops.example.com")
    monkeypatch.setenv("SMM_TOKEN_KEYS", KEY)
    return lambda **changes: use(monkeypatch, home, table(instagram, "instagram", **changes))


@pytest.fixture
def owner(configure: Callable[..., object]) -> Owner:
    configure()
    return Owner("instagram", linked_at=clock.now() - 60 * MINUTE)


def outcome_of(ledger: Ledger) -> list[str]:
    return [row.outcome for row in ledger.sql("SELECT outcome FROM token_connects ORDER BY id")]


def failed(ledger: Ledger) -> list[str]:
    """Why logins failed, as the account's history has it."""
    return [
        row.reason for row in ledger.sql("SELECT reason FROM token_history WHERE kind = 'login_failed' ORDER BY id")
    ]


def told(ledger: Ledger, kind: str) -> list[str]:
    return [row.subject for row in ledger.sql("SELECT subject FROM signals WHERE kind = :kind", kind=kind)]


def test_two_steps_lead_to_a_token_of_sixty_days(owner: Owner, instagram: MetaPlatform, ledger: Ledger) -> None:
    assert owner.connects().outcome is Outcome.CONNECTED
    status = owner.held.status
    assert status.generation == 1
    assert timedelta(days=59) < status.expires_at - clock.now() <= timedelta(days=60)
    assert status.scopes == ("instagram_business_basic",)
    assert instagram.is_good(storing.reveal(owner.held).access)
    [row] = ledger.sql("SELECT kind, by, generation FROM token_history")
    assert tuple(row) == ("connected", "owner (link)", 1)
    assert told(ledger, "tokens.connected") == ["account:instagram/17841400000000001"]
    assert outcome_of(ledger) == ["connected"]
    assert told(ledger, connecting.OVER) == []


def test_trouble_is_over_with_it(owner: Owner, ledger: Ledger) -> None:
    owner.holds()
    with unit_of_work() as uow:
        held = store.lock(uow, owner.account.id)
        worse = replace(held.status, told=Step.LAST, paused=True, attempts=3, climb=1, reason="expired")
        store.save(uow, owner.account.id, held.status, worse, now=clock.now())
    assert owner.connects().outcome is Outcome.CONNECTED
    status = owner.held.status
    assert (status.generation, status.told, status.paused, status.attempts) == (2, Step.NONE, False, 0)
    assert len(told(ledger, "tokens.recovered")) == len(told(ledger, "tokens.resumed")) == 1


def test_what_is_kept_of_a_login_opens_nothing(owner: Owner, ledger: Ledger) -> None:
    begun = owner.begins()
    state = query_of(begun.url)["state"]
    [row] = ledger.sql("SELECT token_connects::text AS everything, expires_at, created_at FROM token_connects")
    browser = begun.cookie.partition(".")[0]
    for secret in (state, browser):
        assert len(secret) >= 43
        assert secret not in row.everything
        assert secret.encode().hex() not in row.everything
        assert secret not in repr(begun)
    assert row.expires_at - row.created_at == begun.life == 15 * MINUTE


def test_a_state_is_good_once(owner: Owner, instagram: MetaPlatform) -> None:
    begun = owner.begins()
    came = consented(begun.url)
    first = connecting.finish(came["state"], begun.cookie, code=came["code"], now=clock.now())
    again = connecting.finish(came["state"], begun.cookie, code=came["code"], now=clock.now())
    elsewhere = connecting.finish(came["state"], "x.y", code=came["code"], now=clock.now())
    assert (first.outcome, again.outcome) == (Outcome.CONNECTED, Outcome.ALREADY), "a page that is loaded again"
    assert elsewhere.outcome is Outcome.USED
    assert owner.held.status.generation == 1
    assert instagram.calls["exchange", "17841400000000001"] == 1


def test_of_two_callbacks_at_once_one_asks_the_platform(owner: Owner, instagram: MetaPlatform) -> None:
    begun = owner.begins()
    came = consented(begun.url)
    gate, found = threading.Barrier(4), list[Outcome]()

    def come() -> None:
        gate.wait(10)
        ended = connecting.finish(came["state"], begun.cookie, code=came["code"], now=clock.now())
        found.append(ended.outcome)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found.count(Outcome.CONNECTED) == 1
    assert set(found) <= {Outcome.CONNECTED, Outcome.USED, Outcome.ALREADY}
    assert instagram.calls["exchange", "17841400000000001"] == 1


@pytest.mark.parametrize("cookie", ["", "x", "somebody-elses-browser." + "A" * 40])
def test_another_browser_cannot_finish_and_burns_the_state(
    owner: Owner, instagram: MetaPlatform, ledger: Ledger, cookie: str
) -> None:
    begun = owner.begins()
    came = consented(begun.url)
    ended = connecting.finish(came["state"], cookie, code=came["code"], now=clock.now())
    assert (ended.outcome, ended.again) == (Outcome.OTHER_BROWSER, "")
    back = connecting.finish(came["state"], begun.cookie, code=came["code"], now=clock.now())
    assert back.outcome is Outcome.USED
    assert outcome_of(ledger) == ["other_browser"]
    assert failed(ledger) == ["other_browser"]
    assert owner.held.status.generation == 0
    assert not any(what == "exchange" for what, _ in instagram.calls)


def test_a_login_lasts_some_minutes(owner: Owner, instagram: MetaPlatform, ledger: Ledger) -> None:
    link = owner.link()
    late = owner.returns(owner.begins(link), now=clock.now() + 15 * MINUTE)
    assert (late.outcome, late.again) == (Outcome.EXPIRED, link.token)
    assert failed(ledger) == ["login_expired"]
    assert owner.returns(owner.begins(link), now=clock.now() + 14 * MINUTE).outcome is Outcome.CONNECTED


def test_a_state_that_nobody_made_is_not_known(owner: Owner) -> None:
    for state in ("", "x", "A" * 43, "A" * 5000, "\udcff\x01"):
        assert connecting.finish(state, "x.y", code="c", now=clock.now()).outcome is Outcome.UNKNOWN


def test_a_login_as_somebody_else_stores_nothing_and_names_both(
    owner: Owner, instagram: MetaPlatform, ledger: Ledger
) -> None:
    instagram.visitor = "17841499999999999"
    ended = owner.connects()
    assert ended.outcome is Outcome.WRONG_ACCOUNT
    assert ended.failure is not None
    assert ended.failure.other == "user.17841499999999999 (17841499999999999)"
    assert ended.account is not None
    assert ended.account.name == owner.name
    assert owner.held.status.generation == 0
    assert told(ledger, connecting.FAILED) == [owner.account.subject]
    instagram.visitor = "17841400000000001"
    assert owner.connects().outcome is Outcome.CONNECTED, "the link is not used up by that"
    assert told(ledger, connecting.OVER) == [owner.account.subject]


def test_an_account_kept_under_the_apps_own_id_of_it_is_the_same(owner: Owner, instagram: MetaPlatform) -> None:
    instagram.visitor = "5"
    assert Owner("instagram", "95").connects().outcome is Outcome.CONNECTED


def test_a_browser_that_was_given_another_link_is_not_led_there(owner: Owner) -> None:
    for planted in ("https://evil.example", "javascript:x", "", owner.url().rpartition("/")[2] + "x"):
        begun = owner.begins()
        ended = owner.returns(begun, cookie=f"{begun.cookie.partition('.')[0]}.{planted}", error="access_denied")
        assert (ended.outcome, ended.again) == (Outcome.CANCELLED, "")


def test_who_says_no_is_asked_again_later(owner: Owner, instagram: MetaPlatform, ledger: Ledger) -> None:
    instagram.consents = False
    link = owner.link()
    ended = owner.connects(link)
    assert (ended.outcome, ended.again) == (Outcome.CANCELLED, link.token)
    assert told(ledger, connecting.FAILED) == [], "nobody has to do anything"
    assert owner.connects(link).outcome is Outcome.CANCELLED
    assert failed(ledger) == ["cancelled"], "the same once in some minutes"
    later = clock.now() + failed_logins.REST
    connecting.finish(
        query_of(owner.begins(link).url)["state"], owner.begun[-1].cookie, error="access_denied", now=later
    )
    assert failed(ledger) == ["cancelled"] * 2
    instagram.consents = True
    assert owner.connects(link).outcome is Outcome.CONNECTED


def test_a_permission_left_out_is_named_and_nothing_stored(
    owner: Owner, instagram: MetaPlatform, configure: Callable[..., object]
) -> None:
    configure(scopes="")
    instagram.left_out = frozenset({"instagram_business_content_publish"})
    ended = owner.connects()
    assert ended.outcome is Outcome.INCOMPLETE
    assert ended.failure is not None
    assert permissions.words(ended.failure.missing) == ("publish posts",)
    assert owner.held.status.generation == 0


def test_a_platform_that_does_not_say_what_was_granted_is_believed() -> None:
    assert permissions.missing(["a", "b"], []) == ()
    assert permissions.missing(["a", "b"], ["*"]) == ()
    assert permissions.missing(["a", "b"], ["b", "c"]) == ("a",)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.ERROR_500, Outcome.TROUBLE),
        (Fault.PAGE_404, Outcome.UNAVAILABLE),
        (Fault.LIMITED, Outcome.TROUBLE),
        (Fault.DEAD, Outcome.REFUSED),
        (Fault.APP, Outcome.UNAVAILABLE),
        (Fault.UNDOCUMENTED, Outcome.UNAVAILABLE),
    ],
)
def test_a_platform_in_trouble_costs_a_try_and_not_the_link(
    owner: Owner, instagram: MetaPlatform, ledger: Ledger, fault: Fault, outcome: Outcome
) -> None:
    link = owner.link()
    instagram.fail(fault)
    ended = owner.connects(link)
    assert (ended.outcome, ended.again) == (outcome, link.token)
    assert owner.held.status.generation == 0
    assert CANARY not in repr(ended)
    assert CANARY not in str(ledger.sql("SELECT facts, labels FROM signals"))
    instagram.heal()
    assert owner.connects(link).outcome is Outcome.CONNECTED


@pytest.fixture
def of_x(configure: Callable[..., object], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OAuthPlatform]:
    """X, and an app of the kind that has no secret."""
    with OAuthPlatform("x") as serving:
        serving.visitor = "2244994945"
        serving.is_public = True
        login = f'"{serving.url}{serving.shape.login}"'
        configure()
        use(monkeypatch, home, table(serving, "x", login_url=login, client_secret=""))
        yield serving


def test_x_gets_the_verifier_of_its_challenge_and_it_is_kept_sealed(of_x: OAuthPlatform, ledger: Ledger) -> None:
    owner = Owner("x", "2244994945")
    begun = owner.begins()
    [row] = ledger.sql("SELECT verifier, key_id FROM token_connects")
    assert (len(row.verifier) > 43, row.key_id) == (True, "k1")
    assert query_of(begun.url)["code_challenge_method"] == "S256"
    assert owner.returns(begun).outcome is Outcome.CONNECTED
    tokens = storing.reveal(owner.held)
    assert tokens.refresh is not None
    assert of_x.is_good(tokens.access)
    assert of_x.is_good(tokens.refresh)
    [row] = ledger.sql("SELECT verifier FROM token_connects")
    assert row.verifier is None, "it is of no more use"


def test_a_verifier_of_another_login_is_refused_by_x(of_x: OAuthPlatform) -> None:
    owner = Owner("x", "2244994945")
    mine, other = owner.begins(), owner.begins()
    assert owner.returns(other, code=consented(mine.url)["code"]).outcome is Outcome.REFUSED


def test_a_key_that_is_lost_meanwhile_costs_a_try(of_x: OAuthPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner("x", "2244994945")
    begun = owner.begins()
    monkeypatch.setenv("SMM_TOKEN_KEYS", crypto.new_key("k2"))
    settings.cache_clear()
    ended = owner.returns(begun)
    assert (ended.outcome, ended.failure and ended.failure.reason) == (Outcome.TROUBLE, "verifier_lost")
    assert owner.connects().outcome is Outcome.CONNECTED


def test_an_answer_that_never_comes_may_have_used_the_code_up(of_x: OAuthPlatform) -> None:
    owner = Owner("x", "2244994945")
    of_x.fail(Fault.HANG_AFTER, times=1)
    link = owner.link()
    ended = owner.connects(link)
    assert (ended.outcome, ended.failure and ended.failure.reason) == (Outcome.TROUBLE, "answer_lost")
    assert of_x.calls["exchange", "2244994945"] == 1, "it is not sent again"
    assert owner.connects(link).outcome is Outcome.CONNECTED


def test_without_a_key_for_tokens_nobody_is_sent_to_a_platform(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMM_TOKEN_KEYS")
    settings.cache_clear()
    ended = connecting.begin(owner.link(), now=clock.now())
    assert isinstance(ended, Finished)
    assert ended.failure is not None
    assert ended.failure.reason == "no_token_key"


def test_a_code_is_good_once(owner: Owner) -> None:
    link = owner.link()
    first, second = owner.begins(link), owner.begins(link)
    came = consented(first.url)
    with unit_of_work() as uow:
        taken = logins.take(uow, came["state"], first.cookie.partition(".")[0], now=clock.now())
    assert isinstance(taken, logins.Login)
    other = Owner("instagram", "5", linked_at=owner.linked_at)
    theirs = other.begins()
    assert other.returns(theirs, code=came["code"]).outcome is Outcome.WRONG_ACCOUNT, "somebody else's code"
    assert owner.returns(second, code=came["code"]).outcome is Outcome.REFUSED


def test_a_link_is_spent_by_connecting_and_not_by_a_refresh(owner: Owner) -> None:
    owner.holds(at=owner.linked_at)
    link = owner.link()
    owner.holds(storing.REFRESHED)
    with read_only() as session:
        offer = connecting.look(session, link)
    assert (offer.is_first, offer.is_paused, offer.asks) == (False, False, ("see the profile and its posts",))
    assert owner.connects(link).outcome is Outcome.CONNECTED
    with read_only() as session, pytest.raises(Spent):
        connecting.look(session, link)
    with pytest.raises(Spent):
        connecting.begin(link, now=clock.now())
    assert owner.connects(owner.link(now=clock.now())).outcome is Outcome.CONNECTED, "a new link is a new right"


def test_of_two_tabs_the_second_finds_it_done(owner: Owner, instagram: MetaPlatform, ledger: Ledger) -> None:
    link = owner.link()
    left, right = owner.begins(link), owner.begins(link)
    assert left.cookie_name != right.cookie_name, "neither takes the other's cookie away"
    assert owner.returns(right).outcome is Outcome.CONNECTED
    assert owner.returns(left).outcome is Outcome.ALREADY
    assert instagram.calls["exchange", "17841400000000001"] == 1
    assert outcome_of(ledger) == ["already", "connected"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("client_id", "", "no_client_id"),
        ("client_secret", "", "no_client_secret"),
        ("enabled", "false", "app_disabled"),
    ],
)
def test_an_app_that_is_not_set_up_is_told_to_staff_once(
    owner: Owner, configure: Callable[..., object], *, key: str, value: str, reason: str
) -> None:
    configure(**{key: value})
    for _ in range(3):
        ended = connecting.begin(owner.link(), now=clock.now())
        assert isinstance(ended, Finished)
        assert (ended.outcome, ended.failure and ended.failure.reason) == (Outcome.UNAVAILABLE, reason)
    with read_only() as session:
        [signal] = signals.timeline(session, kind=connecting.FAILED)
    assert (signal.subject, signal.facts["reason"]) == (owner.account.subject, reason)


def test_a_platform_and_an_app_that_are_not_there_are_told_too(owner: Owner, ledger: Ledger) -> None:
    ledger.sql("UPDATE accounts SET app = 'other'")
    lost = connecting.begin(owner.link(), now=clock.now())
    ledger.sql("UPDATE accounts SET app = '', platform = 'myspace'")
    strange = connecting.begin(owner.link(), now=clock.now())
    reasons = [ended.failure and ended.failure.reason for ended in (lost, strange) if isinstance(ended, Finished)]
    assert reasons == ["no_app", "unknown_platform"]


def test_nobody_logs_in_for_an_account_that_rests_or_is_gone(owner: Owner, ledger: Ledger) -> None:
    link = owner.link()
    waiting, begun = owner.begins(link), owner.begins(link)
    ledger.sql("UPDATE accounts SET disabled_at = now()")
    with pytest.raises(Stopped):
        connecting.begin(link, now=clock.now())
    with pytest.raises(Stopped):
        owner.returns(waiting)
    came = consented(begun.url)
    ledger.sql("DELETE FROM accounts")
    with pytest.raises(NotFound):
        connecting.begin(link, now=clock.now())
    assert connecting.finish(came["state"], begun.cookie, code="c", now=clock.now()).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("access_denied", Outcome.CANCELLED),
        ("user_cancelled_authorize", Outcome.CANCELLED),
        ("invalid_scope", Outcome.UNAVAILABLE),
        ("temporarily_unavailable", Outcome.TROUBLE),
        ("canary-something", Outcome.TROUBLE),
    ],
)
def test_what_a_login_page_says_instead_of_a_code(owner: Owner, ledger: Ledger, error: str, outcome: Outcome) -> None:
    assert owner.returns(owner.begins(), error=error).outcome is outcome
    assert CANARY not in str(ledger.sql("SELECT facts FROM signals"))


def test_neither_a_code_nor_an_error_is_trouble_that_asks_nobody(owner: Owner, instagram: MetaPlatform) -> None:
    begun = owner.begins()
    state = query_of(begun.url)["state"]
    assert connecting.finish(state, begun.cookie, now=clock.now()).outcome is Outcome.TROUBLE
    assert owner.returns(owner.begins(), code="c" * 5000).outcome is Outcome.TROUBLE
    assert not any(what == "exchange" for what, _ in instagram.calls)


def test_what_is_long_over_is_forgotten(owner: Owner, ledger: Ledger) -> None:
    begun = owner.begins()
    assert isinstance(begun, Begun)
    ledger.sql("INSERT INTO token_days (day, tenant) VALUES ('2020-01-01', 'acme'), (CURRENT_DATE, 'acme')")
    for name, age in (("old", "100 days"), ("new", "1 day")):
        ledger.sql(
            "INSERT INTO token_messages (id, account_id, step, channel, recipient, state, created_at) SELECT "
            "gen_random_uuid(), id, 'urgent', 'mail', :name, 'sent', now() - CAST(:age AS interval) FROM accounts",
            name=name,
            age=age,
        )
    now = clock.now()
    gone = retention.drop_old(now)
    assert [gone[table] for table in ("token_connects", "token_messages", "token_days")] == [0, 1, 1]
    assert retention.drop_old(now + timedelta(days=8))["token_connects"] == 1
