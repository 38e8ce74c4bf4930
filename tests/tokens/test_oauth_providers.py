"""X, TikTok, LinkedIn and Reddit: what is sent, and what their answers are taken for, against stand-ins over HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Asker
from app.tokens.provider import Answer, Granted, Known, Refused, Reply, Tokens, Trouble
from app.tokens.providers import _oauth, platforms
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import CANARY, Fault

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
REDIRECT = "https://smm.example/connect/callback"
FOUR = ("linkedin", "reddit", "tiktok", "x")
ROTATING, STANDING = ("tiktok", "x"), ("linkedin", "reddit")
VERIFIER = "canary-verifier-0123456789012345678901234567890123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, OAuthPlatform]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(OAuthPlatform(name)) for name in FOUR}


@pytest.fixture(autouse=True)
def fresh(stand_ins: dict[str, OAuthPlatform]) -> None:
    for one in stand_ins.values():
        one.heal()
        one.calls.clear()
        one.refreshed.clear()
        one.reused.clear()
        one.now, one.consents, one.visitor = NOW, True, "anna"
        one.is_public, one.lenient, one.refresh_tokens, one.changes = False, True, True, False


def asker(app: App, now: datetime = NOW) -> Asker:
    return Asker(app, platforms()[app.at].TRAITS, now=now, waits=(0.0, 0.01))


def refresh(stand_in: OAuthPlatform, tokens: Tokens, *, now: datetime = NOW, **more: object) -> Answer:
    app = stand_in.app(**more)
    return platforms()[stand_in.platform].refresh(asker(app, now), app, tokens)


def log_in(stand_in: OAuthPlatform, **wrong: object) -> tuple[dict[str, str], Answer | None]:
    """Through the login page and back: what the browser was sent back with, and what the code was good for."""
    app, module = stand_in.app(), platforms()[stand_in.platform]
    page = module.login_url(app, redirect_uri=REDIRECT, state="the-state", challenge=CHALLENGE)
    back = httpx.get(page).headers["location"]
    query = {name: values[-1] for name, values in parse_qs(urlsplit(back).query).items()}
    if "code" not in query:
        return query, None
    given = {"code": Secret(query["code"]), "redirect_uri": REDIRECT, "verifier": Secret(VERIFIER), **wrong}
    return query, module.exchange(asker(app), app, **given)


def granted(answer: Answer | None) -> Tokens:
    assert isinstance(answer, Granted), answer
    return answer.tokens


def refused(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    assert CANARY not in repr(answer)
    return answer


@pytest.mark.parametrize("name", FOUR)
def test_a_refresh_gives_a_new_access_token_that_lives_as_its_platform_says(name: str, stand_ins):
    tokens = stand_ins[name].give("anna")
    new = granted(refresh(stand_ins[name], tokens))
    assert new.access != tokens.access
    assert new.issued_at == NOW
    assert new.expires_at == NOW + platforms()[name].TRAITS.life
    assert stand_ins[name].is_good(new.access)
    assert new.scopes == tokens.scopes
    assert CANARY not in repr(new)


@pytest.mark.parametrize("name", ROTATING)
def test_a_rotated_refresh_token_comes_with_its_access_token_and_the_old_one_is_never_sent_again(name: str, stand_ins):
    tokens = stand_ins[name].give("anna")
    for _ in range(3):
        new = granted(refresh(stand_ins[name], tokens))
        assert not stand_ins[name].is_good(tokens.refresh)
        tokens = new
    assert stand_ins[name].refreshed["anna"] == stand_ins[name].calls["refresh", "anna"] == 3
    assert stand_ins[name].reused == []


@pytest.mark.parametrize("name", ROTATING)
def test_a_refresh_token_of_yesterdays_backup_is_a_dead_grant(name: str, stand_ins):
    old = stand_ins[name].give("anna")
    new = granted(refresh(stand_ins[name], old))
    found = refused(refresh(stand_ins[name], old))
    assert (found.trouble, found.reason) == (Trouble.DEAD, "grant_refused")
    assert stand_ins[name].reused == ["anna"]
    assert not stand_ins[name].is_good(new.access), "the stand-in has ended the whole consent"


@pytest.mark.parametrize("name", STANDING)
def test_an_old_refresh_token_stays_good_where_it_does_not_rotate(name: str, stand_ins):
    tokens = stand_ins[name].give("anna")
    granted(refresh(stand_ins[name], tokens))
    assert granted(refresh(stand_ins[name], tokens)).refresh == tokens.refresh


def test_a_further_refresh_token_of_reddit_is_kept_while_the_old_one_stays_good(stand_ins):
    stand_ins["reddit"].changes = True
    tokens = stand_ins["reddit"].give("anna")
    assert granted(refresh(stand_ins["reddit"], tokens)).refresh not in (None, tokens.refresh)
    granted(refresh(stand_ins["reddit"], tokens))


@pytest.mark.parametrize("name", FOUR)
def test_an_owner_who_took_the_consent_back_has_to_log_in_again(name: str, stand_ins):
    tokens = stand_ins[name].give("anna")
    stand_ins[name].revoke("anna")
    found = refused(refresh(stand_ins[name], tokens))
    assert (found.trouble, found.reason) == (Trouble.DEAD, "grant_refused")
    assert stand_ins[name].calls["refresh", "anna"] == 1


@pytest.mark.parametrize("name", FOUR)
def test_a_wrong_app_secret_is_the_apps_trouble_and_uses_nothing_up(name: str, stand_ins):
    tokens = stand_ins[name].give("anna")
    found = refused(refresh(stand_ins[name], tokens, client_secret="canary-wrong"))
    assert (found.trouble, found.reason) == (Trouble.APP, "app_refused")
    granted(refresh(stand_ins[name], tokens))


@pytest.mark.parametrize("name", FOUR)
def test_an_app_without_an_id_asks_nothing(name: str, stand_ins):
    found = refused(refresh(stand_ins[name], stand_ins[name].give("anna"), client_id=""))
    assert (found.trouble, found.reason) == (Trouble.APP, "app_incomplete")
    assert stand_ins[name].calls == {}


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize(
    ("fault", "trouble", "reason"),
    [
        (Fault.LIMITED, Trouble.LIMITED, "rate_limited"),
        (Fault.ERROR_500, Trouble.TRANSIENT, "unavailable"),
        (Fault.PAGE_503, Trouble.TRANSIENT, "unavailable"),
        (Fault.PAGE_404, Trouble.UNKNOWN, "no_json"),
        (Fault.DEAD, Trouble.DEAD, "grant_refused"),
        (Fault.APP, Trouble.APP, "app_refused"),
        (Fault.UNDOCUMENTED, Trouble.UNKNOWN, "undocumented"),
    ],
)
def test_refusals_are_told_apart_and_the_next_refresh_works(name: str, fault, trouble, reason, stand_ins):
    tokens = stand_ins[name].give("anna")
    stand_ins[name].fail(fault, "anna")
    found = refused(refresh(stand_ins[name], tokens))
    assert (found.trouble, found.reason) == (trouble, reason)
    assert found.retry_after == (timedelta(seconds=7) if fault is Fault.LIMITED else None)
    stand_ins[name].heal()
    granted(refresh(stand_ins[name], tokens))


@pytest.mark.parametrize("name", FOUR)
def test_a_fault_of_one_account_is_no_other_accounts(name: str, stand_ins):
    anna, bert = stand_ins[name].give("anna"), stand_ins[name].give("bert")
    stand_ins[name].fail(Fault.DEAD, "anna")
    refused(refresh(stand_ins[name], anna))
    granted(refresh(stand_ins[name], bert))


@pytest.mark.parametrize("name", ROTATING)
@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.TRUNCATED, Fault.NO_TOKEN])
def test_a_rotation_whose_answer_does_not_arrive_is_lost_and_not_asked_for_twice(name: str, fault, stand_ins):
    stand_ins[name].fail(fault, "anna")
    found = refused(refresh(stand_ins[name], stand_ins[name].give("anna")))
    assert found.trouble is Trouble.LOST
    assert stand_ins[name].calls["refresh", "anna"] == stand_ins[name].refreshed["anna"] == 1


def test_a_rotation_that_hangs_is_lost_after_its_time(stand_ins):
    stand_ins["x"].fail(Fault.HANG_AFTER, "anna")
    assert refused(refresh(stand_ins["x"], stand_ins["x"].give("anna"))).trouble is Trouble.LOST
    assert stand_ins["x"].calls["refresh", "anna"] == 1


@pytest.mark.parametrize("name", STANDING)
@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.TRUNCATED])
def test_an_answer_that_does_not_arrive_is_asked_for_again_where_nothing_is_used_up(name: str, fault, stand_ins):
    tokens = stand_ins[name].give("anna")
    stand_ins[name].fail(fault, "anna")
    assert refused(refresh(stand_ins[name], tokens)).trouble is Trouble.TRANSIENT
    stand_ins[name].fail(Fault.RESET_AFTER, "anna", times=1)
    granted(refresh(stand_ins[name], tokens))


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("fault", [Fault.EXPIRY_MISSING, Fault.EXPIRY_ZERO, Fault.EXPIRY_TEXT, Fault.EXPIRY_NONSENSE])
def test_an_odd_length_of_life_does_not_cost_the_token(name: str, fault, stand_ins):
    stand_ins[name].fail(fault, "anna")
    answer = refresh(stand_ins[name], stand_ins[name].give("anna"))
    assert granted(answer).expires_at == NOW + platforms()[name].TRAITS.life
    assert bool(answer.note) == (fault is not Fault.EXPIRY_TEXT)
    assert CANARY not in answer.note


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(hours=3)])
@pytest.mark.parametrize("name", FOUR)
def test_a_platform_whose_clock_is_wrong_does_not_shorten_or_lengthen_a_life(name: str, skew, stand_ins):
    stand_ins[name].now = NOW + skew
    assert granted(refresh(stand_ins[name], stand_ins[name].give("anna"))).expires_at == (
        NOW + platforms()[name].TRAITS.life
    )


@pytest.mark.parametrize("name", FOUR)
def test_an_access_token_that_has_ended_is_refreshed_all_the_same(name: str, stand_ins):
    tokens = stand_ins[name].give("anna", age=timedelta(days=70))
    assert tokens.expires_at < NOW
    assert granted(refresh(stand_ins[name], tokens)).expires_at > NOW


def test_linkedins_consent_ends_a_year_after_the_login_and_the_access_token_with_it(stand_ins):
    tokens = stand_ins["linkedin"].give("anna", age=timedelta(days=360))
    new = granted(refresh(stand_ins["linkedin"], tokens))
    assert new.refresh_expires_at == new.expires_at == NOW + timedelta(days=5)
    stand_ins["linkedin"].now = NOW + timedelta(days=5)
    assert refused(refresh(stand_ins["linkedin"], new, now=NOW + timedelta(days=5))).trouble is Trouble.DEAD


def test_tiktok_says_when_its_consent_ends_and_refuses_with_status_200_or_400(stand_ins):
    tokens = stand_ins["tiktok"].give("anna", age=timedelta(days=100))
    new = granted(refresh(stand_ins["tiktok"], tokens))
    assert new.refresh_expires_at == NOW + timedelta(days=265)
    for lenient in (True, False):
        stand_ins["tiktok"].lenient = lenient
        assert refused(refresh(stand_ins["tiktok"], tokens)).trouble is Trouble.DEAD


def test_an_app_of_linkedin_without_the_right_gets_no_refresh_token(stand_ins):
    stand_ins["linkedin"].refresh_tokens = False
    tokens = granted(log_in(stand_ins["linkedin"])[1])
    assert tokens.refresh is None
    assert tokens.refresh_expires_at is None
    assert tokens.expires_at == NOW + timedelta(days=60)


def test_an_app_of_x_without_a_secret_names_its_id_in_the_form(stand_ins):
    stand_ins["x"].is_public = True
    granted(refresh(stand_ins["x"], granted(log_in(stand_ins["x"])[1])))
    granted(refresh(stand_ins["x"], stand_ins["x"].give("bert")))


def test_an_app_of_reddit_may_have_an_empty_secret_and_always_says_who_it_is(stand_ins):
    stand_ins["reddit"].is_public = True
    granted(refresh(stand_ins["reddit"], stand_ins["reddit"].give("anna")))
    [agent] = stand_ins["reddit"].agents
    assert re.fullmatch(r"web:smm-admin:v[\w.]+ \(for the app reddit-client-1\)", agent)


@pytest.mark.parametrize("name", FOUR)
def test_a_login_brings_the_state_back_and_its_code_is_good_once(name: str, stand_ins):
    query, answer = log_in(stand_ins[name])
    assert query["state"] == "the-state"
    tokens = granted(answer)
    assert tokens.refresh
    app, module = stand_ins[name].app(), platforms()[name]
    assert module.introspect(asker(app), app, tokens).external_id == "anna"
    again = module.exchange(
        asker(app), app, code=Secret(query["code"]), redirect_uri=REDIRECT, verifier=Secret(VERIFIER)
    )
    assert (refused(again).trouble, again.reason) == (Trouble.DEAD, "code_refused")
    assert stand_ins[name].reused == ["anna"]


@pytest.mark.parametrize("name", FOUR)
def test_an_owner_who_says_no_is_sent_back_without_a_code(name: str, stand_ins):
    stand_ins[name].consents = False
    assert log_in(stand_ins[name]) == ({"error": "access_denied", "state": "the-state"}, None)


def test_a_code_of_x_is_of_no_use_without_the_verifier(stand_ins):
    _query, answer = log_in(stand_ins["x"], verifier=Secret("canary-another-verifier"))
    assert (refused(answer).trouble, answer.reason) == (Trouble.DEAD, "code_refused")


@pytest.mark.parametrize("name", FOUR)
def test_a_code_whose_answer_is_lost_is_not_sent_twice(name: str, stand_ins):
    stand_ins[name].fail(Fault.RESET_AFTER, "anna")
    assert refused(log_in(stand_ins[name])[1]).trouble is Trouble.LOST
    assert stand_ins[name].calls["exchange", "anna"] == 1


@pytest.mark.parametrize("name", FOUR)
def test_the_login_page_is_the_platforms_own_where_no_other_is_named(name: str):
    module = platforms()[name]
    app = App(name=name, client_id="id-1", scopes=("one", "two"))
    parts = urlsplit(module.login_url(app, redirect_uri=REDIRECT, state="s&t", challenge=CHALLENGE))
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    assert parts.scheme == "https"
    assert parts.hostname.removeprefix("www.").removesuffix(".com") == name
    assert (query["state"], query["redirect_uri"]) == ("s&t", REDIRECT)
    assert re.split(r"[ ,]", query["scope"]) == ["one", "two"]
    assert ("code_challenge" in query) is module.TRAITS.pkce


@pytest.mark.parametrize("name", FOUR)
def test_a_token_that_is_accepted_says_whose_it_is_and_one_that_has_ended_does_not(name: str, stand_ins):
    app, module = stand_ins[name].app(), platforms()[name]
    tokens = stand_ins[name].give("anna")
    known = module.introspect(asker(app), app, tokens)
    assert isinstance(known, Known)
    assert known.external_id == "anna"
    assert "anna" in known.name
    stand_ins[name].revoke("anna")
    found = refused(module.introspect(asker(app), app, tokens))
    assert (found.trouble, found.reason) == (Trouble.DEAD, "access_refused")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "30", "x-rate-limit-reset": "999999999999"}, 30),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 90)}, 90),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) - 90)}, None),
        ({"x-ratelimit-reset": "45.0"}, 45),
        ({"x-ratelimit-reset": "9" * 25}, 3600),
        ({"x-ratelimit-reset": "soon"}, None),
        ({}, None),
    ],
)
def test_a_limit_ends_when_its_platform_says(headers: dict[str, str], seconds: int | None):
    found = _oauth.refused(Reply(429, headers), NOW)
    assert found.trouble is Trouble.LIMITED
    assert found.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("status", "error", "trouble"),
    [
        (400, "invalid_grant", Trouble.DEAD),
        (401, "invalid_client", Trouble.APP),
        (403, "unauthorized_client", Trouble.APP),
        (400, "invalid_request", Trouble.UNKNOWN),
        (400, "unsupported_grant_type", Trouble.UNKNOWN),
        (200, "invalid_scope", Trouble.UNKNOWN),
        (200, "temporarily_unavailable", Trouble.TRANSIENT),
        (400, "slow_down", Trouble.LIMITED),
        (408, "", Trouble.TRANSIENT),
        (418, "short_and_stout", Trouble.UNKNOWN),
    ],
)
def test_the_codes_of_the_standard_mean_what_it_says(status: int, error: str, trouble: Trouble):
    found = _oauth.refused(Reply(status, {}, {"error": error}), NOW)
    assert found.trouble is trouble
    assert error in found.detail


def test_an_app_that_lacks_a_scope_has_no_dead_token():
    reply = Reply(401, {}, {"error": {"code": "scope_not_authorized"}})
    found = _oauth.bearer_refused(reply, NOW, error="scope_not_authorized")
    assert (found.trouble, found.reason) == (Trouble.UNKNOWN, "scope_missing")


def test_an_answer_with_a_token_in_it_counts_whatever_else_it_holds():
    reply = Reply(200, {}, {"access_token": "canary-1", "expires_in": 60, "error": "", "refresh_token": None})
    assert granted(_oauth.answer(reply, platforms()["x"].TRAITS, NOW)).access == Secret("canary-1")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just("canary-1") | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_FIELDS = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "refresh_expires_in", "error", "error_description", "scope", "data",
     "id", "sub", "name", "code", "token_type"]
)  # fmt: skip


class Saying:
    """An `Asking` that always hears the same."""

    def __init__(self, reply: Reply) -> None:
        self.now, self.reply = NOW, reply

    def get(self, *_: object, **__: object) -> Reply:
        return self.reply

    post = get


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(FOUR),
    status=st.sampled_from([200, 204, 302, 400, 401, 403, 429, 500, 999]),
    document=st.dictionaries(_FIELDS, _JSON, max_size=5),
    is_json=st.booleans(),
)
def test_nonsense_is_borne_and_never_repeated(name: str, status: int, document: dict[str, object], is_json: bool):
    module, app = platforms()[name], App(name=name, client_id="1", client_secret="canary-app")
    asking = Saying(Reply(status, MappingProxyType({}), document, is_json=is_json))
    tokens = Tokens(Secret("canary-old"), Secret("canary-refresh"))
    code = {"code": Secret("canary-code"), "redirect_uri": REDIRECT, "verifier": Secret(VERIFIER)}
    for found in (module.refresh(asking, app, tokens), module.exchange(asking, app, **code)):
        assert isinstance(found, Granted | Refused)
        assert CANARY not in (found.note if isinstance(found, Granted) else repr(found))
        assert isinstance(found, Refused) or 200 <= status < 300
    assert isinstance(module.introspect(asking, app, tokens), Known | Refused)
