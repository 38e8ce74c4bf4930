"""Instagram, Threads and Facebook: a token's way from the login to its last refresh, and every error on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Asker
from app.tokens.provider import Acceptance, Answer, Granted, Known, ProviderModule, Refused, Reply, Tokens, Trouble
from app.tokens.providers import _meta, facebook, platforms
from tests.tokens.platforms.meta import LIFE, GraphError, MetaPlatform, business_usage
from tests.tokens.platforms.serving import RESET, Fault
from tests.tokens.platforms.serving import Reply as Sent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("instagram", "threads", "facebook")
PATIENT = {"timeout": 20}
ACCOUNT, BACK = "17841400000000001", "https://smm.example/connect/callback"
DEAD, UNKNOWN, TRANSIENT, LIMITED, APP = (
    Trouble.DEAD, Trouble.UNKNOWN, Trouble.TRANSIENT, Trouble.LIMITED, Trouble.APP,
)  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, MetaPlatform]]:
    with MetaPlatform("instagram") as one, MetaPlatform("threads") as two, MetaPlatform("facebook") as three:
        yield {found.platform: found for found in (one, two, three)}


@pytest.fixture(params=NAMES)
def meta(request: pytest.FixtureRequest, running: dict[str, MetaPlatform]) -> MetaPlatform:
    return fresh(running[request.param])


@pytest.fixture
def instagram(running: dict[str, MetaPlatform]) -> MetaPlatform:
    return fresh(running["instagram"])


@pytest.fixture
def pages(running: dict[str, MetaPlatform]) -> MetaPlatform:
    return fresh(running["facebook"])


def fresh(found: MetaPlatform) -> MetaPlatform:
    found.heal()
    found.accept()
    found.now, found.life, found.consents, found.blocked, found.same_text = NOW, LIFE, True, False, False
    found.data_access, found.pages, found.visitor = timedelta(days=90), (), ACCOUNT
    found.left_out = frozenset()
    found.calls.clear()
    found.reused.clear()
    return found


def provider(meta: MetaPlatform) -> ProviderModule:
    return platforms()[meta.platform]


def asker(app: App, module: ProviderModule, now: datetime = NOW) -> Asker:
    return Asker(app, module.TRAITS, now=now, waits=(0.01, 0.02))


def refresh(meta: MetaPlatform, tokens: Tokens | None = None, **more: Any) -> Answer:
    module, app = provider(meta), meta.app(**PATIENT | more)
    return module.refresh(asker(app, module, meta.moment), app, tokens or meta.give(ACCOUNT))


def introspect(meta: MetaPlatform, tokens: Tokens, **more: Any) -> Acceptance:
    module, app = provider(meta), meta.app(**PATIENT | more)
    return module.introspect(asker(app, module, meta.moment), app, tokens)


def login(meta: MetaPlatform, **more: Any) -> dict[str, str]:
    """What the browser comes back with."""
    address = provider(meta).login_url(meta.app(**more), redirect_uri=BACK, state="st4te", challenge="unused")
    sent_on = httpx.get(address)
    assert sent_on.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(sent_on.headers["location"]).query).items()}


def exchange(meta: MetaPlatform, code: str, *, redirect_uri: str = BACK, **more: Any) -> Answer:
    module, app = provider(meta), meta.app(**PATIENT | more)
    question = asker(app, module, meta.moment)
    return module.exchange(question, app, code=Secret(code), redirect_uri=redirect_uri, verifier=Secret("unused"))


def got(answer: Answer) -> Tokens:
    assert isinstance(answer, Granted), answer
    assert "canary" not in repr(answer)
    return answer.tokens


def refused(answer: Answer | Acceptance) -> tuple[Trouble, str]:
    assert isinstance(answer, Refused), answer
    assert "canary" not in repr(answer)
    return answer.trouble, answer.reason


def test_a_login_ends_in_a_token_of_sixty_days_and_says_whose_it_is(meta: MetaPlatform):
    back = login(meta)
    assert back["state"] == "st4te"
    tokens = got(exchange(meta, back["code"] + "#_"))
    assert tokens.expires_at == NOW + LIFE
    known = introspect(meta, tokens)
    assert isinstance(known, Known)
    assert known.external_id == ACCOUNT
    assert known.name == ("" if meta.platform == "facebook" else f"user.{ACCOUNT}")
    assert meta.calls["lengthen", ACCOUNT] == 1
    assert refused(exchange(meta, back["code"])) == (DEAD, "code_refused")


def test_a_login_asks_for_the_scopes_of_the_app_and_else_for_those_of_the_platform(meta: MetaPlatform):
    module = provider(meta)
    for scopes, asked in (((), module.TRAITS.scopes), (("a", "b"), ("a", "b"))):
        address = module.login_url(meta.app(scopes=scopes), redirect_uri=BACK, state="s", challenge="")
        query = parse_qs(urlsplit(address).query)
        assert query["scope"] == [",".join(asked)]
        assert query["redirect_uri"] == [BACK]
        assert "client_secret" not in query


def test_without_addresses_of_its_own_an_app_goes_to_the_platform(meta: MetaPlatform):
    found = provider(meta).login_url(meta.app(login_url=None), redirect_uri=BACK, state="s", challenge="")
    pages = {
        "instagram": "https://www.instagram.com/oauth/authorize?",
        "threads": "https://threads.net/oauth/authorize?",
        "facebook": "https://www.facebook.com/v25.0/dialog/oauth?",
    }
    assert found.startswith(pages[meta.platform])


def test_what_the_owner_left_out_is_known_where_the_platform_tells_it(meta: MetaPlatform):
    left_out = provider(meta).TRAITS.scopes[-1]
    meta.left_out = frozenset({left_out})
    tokens = got(exchange(meta, login(meta)["code"]))
    known = introspect(meta, tokens)
    assert isinstance(known, Known)
    told = {"instagram": tokens.scopes, "threads": None, "facebook": known.scopes}[meta.platform]
    assert left_out not in (told or ())
    assert told is None or set(told) == set(meta.scopes) - {left_out}


def test_a_no_of_the_owner_comes_back_as_an_error(meta: MetaPlatform):
    meta.consents = False
    assert login(meta)["error"] == "access_denied"


def test_a_code_for_another_address_is_nobodys_token_and_not_the_apps_fault(meta: MetaPlatform):
    code = login(meta)["code"]
    assert refused(exchange(meta, code, redirect_uri="https://else.example/")) == (UNKNOWN, "redirect_refused")


def test_a_code_that_got_too_old_needs_another_login(meta: MetaPlatform):
    code = login(meta)["code"]
    meta.now = NOW + timedelta(hours=2)
    assert refused(exchange(meta, code)) == (DEAD, "code_refused")


def test_a_wrong_secret_at_a_login_is_the_apps_trouble(meta: MetaPlatform):
    wrong = SecretStr("canary-wrong")
    assert refused(exchange(meta, login(meta)["code"], client_secret=wrong)) == (APP, "app_refused")
    assert refused(exchange(meta, login(meta)["code"], client_secret=None)) == (APP, "app_incomplete")


def test_a_code_whose_answer_got_lost_is_not_handed_in_twice():
    with _Silent("instagram") as meta:
        meta.visitor, meta.now = ACCOUNT, NOW
        assert refused(exchange(meta, login(meta)["code"])) == (Trouble.LOST, "answer_lost")
        assert meta.calls["exchange", ACCOUNT] == 1


class _Silent(MetaPlatform):
    """Takes codes, and says nothing."""

    def _code_in(self, form: Any) -> Sent:
        super()._code_in(form)
        return RESET


def test_a_refresh_gives_a_new_token_and_the_old_one_stays_good_until_its_own_end(meta: MetaPlatform):
    old = meta.give(ACCOUNT, age=timedelta(days=51))
    new = got(refresh(meta, old))
    assert new.access != old.access
    assert new.refresh is None
    assert (new.issued_at, new.expires_at) == (NOW, NOW + LIFE)
    assert meta.is_good(old.access)
    meta.now = NOW + timedelta(days=10)
    assert not meta.is_good(old.access)
    assert meta.is_good(new.access)


def test_a_refresh_may_give_the_same_text_with_a_later_end(meta: MetaPlatform):
    meta.same_text = True
    old = meta.give(ACCOUNT, age=timedelta(days=51))
    new = got(refresh(meta, old))
    assert new.access == old.access
    assert new.expires_at == NOW + LIFE


def test_only_facebook_is_told_the_apps_secret_to_refresh(meta: MetaPlatform):
    incomplete = refresh(meta, client_secret=None, client_id="")
    if meta.platform == "facebook":
        assert refused(incomplete) == (APP, "app_incomplete")
        assert refused(refresh(meta, client_secret=SecretStr("canary-wrong"))) == (APP, "app_refused")
        assert refused(refresh(meta, client_id="1")) == (APP, "app_refused")
    else:
        got(incomplete)


def test_a_token_under_a_day_old_is_refused_until_it_is_a_day_old(meta: MetaPlatform):
    answer = refresh(meta, meta.give(ACCOUNT, age=timedelta(hours=20)))
    assert refused(answer) == (Trouble.TOO_YOUNG, "too_young")
    assert isinstance(answer, Refused)
    assert answer.retry_after == timedelta(hours=4)
    unknown_age = replace(meta.give(ACCOUNT, age=timedelta(hours=20)), issued_at=None)
    answer = refresh(meta, unknown_age)
    assert refused(answer) == (Trouble.TOO_YOUNG, "too_young")
    assert isinstance(answer, Refused)
    assert answer.retry_after is None


def test_a_young_token_is_known_by_its_age_where_the_error_does_not_say_so(instagram: MetaPlatform):
    instagram.refuse(GraphError(100, text="Unsupported request - method type: get", kind="IGApiException"))
    assert refused(refresh(instagram, instagram.give(ACCOUNT, age=timedelta(hours=1)))) == (
        Trouble.TOO_YOUNG,
        "too_young",
    )
    assert refused(refresh(instagram)) == (UNKNOWN, "undocumented")
    instagram.refuse(GraphError(190, 460))
    assert refused(refresh(instagram, instagram.give(ACCOUNT, age=timedelta(hours=1)))) == (DEAD, "password_changed")


@pytest.mark.parametrize(("subcode", "reason"), [
    (458, "app_removed"), (459, "checkpoint"), (460, "password_changed"), (463, "expired"), (467, "invalid"),
    (0, "revoked"), (999_999, "revoked"),
])  # fmt: skip
def test_a_token_that_the_platform_ended_is_dead_for_a_reason(meta: MetaPlatform, subcode: int, reason: str):
    tokens = meta.give(ACCOUNT)
    meta.revoke(ACCOUNT, subcode)
    assert refused(refresh(meta, tokens)) == (DEAD, reason)
    assert refused(introspect(meta, tokens)) == (DEAD, reason)


def test_a_token_that_has_expired_is_dead(meta: MetaPlatform):
    tokens = meta.give(ACCOUNT, age=timedelta(days=61))
    assert refused(refresh(meta, tokens)) == (DEAD, "expired")
    assert refused(introspect(meta, tokens)) == (DEAD, "expired")


def test_a_token_that_nobody_gave_is_dead(meta: MetaPlatform):
    assert refused(refresh(meta, Tokens(Secret("canary-made-up")))) == (DEAD, "revoked")
    assert refused(introspect(meta, Tokens(Secret("canary-made-up")))) == (DEAD, "revoked")


ERRORS: list[tuple[GraphError, Trouble, str]] = [
    (GraphError(102), DEAD, "revoked"),
    (GraphError(102, 463), DEAD, "expired"),
    (GraphError(10), DEAD, "permission_lost"),
    (GraphError(200), DEAD, "permission_lost"),
    (GraphError(299), DEAD, "permission_lost"),
    (GraphError(190, 460, status=401), DEAD, "password_changed"),
    (GraphError(190, 463, status=200), DEAD, "expired"),
    (GraphError(1), TRANSIENT, "unavailable"),
    (GraphError(2, status=503), TRANSIENT, "unavailable"),
    (GraphError(190, status=500), TRANSIENT, "unavailable"),
    (GraphError(77_777, transient=True), TRANSIENT, "unavailable"),
    (GraphError(4), LIMITED, "rate_limited"),
    (GraphError(17), LIMITED, "account_limited"),
    (GraphError(32), LIMITED, "account_limited"),
    (GraphError(341), LIMITED, "rate_limited"),
    (GraphError(613), LIMITED, "rate_limited"),
    (GraphError(80_002), LIMITED, "account_limited"),
    (GraphError(80_014), LIMITED, "account_limited"),
    (GraphError(80_015), UNKNOWN, "undocumented"),
    (GraphError(100, 33), UNKNOWN, "undocumented"),
    (GraphError(None, text="no code"), UNKNOWN, "undocumented"),
    (GraphError(101), APP, "app_refused"),
    (GraphError(1, text="Error validating client secret."), APP, "app_refused"),
    (GraphError(100, text="Error validating client secret."), APP, "app_refused"),
    (GraphError(None, text="Invalid client_secret:"), APP, "app_refused"),
    (GraphError(190, text="Error validating application. Application has been deleted."), APP, "app_refused"),
    (GraphError(200, text="API access blocked."), APP, "app_refused"),
]


@pytest.mark.parametrize(("error", "trouble", "reason"), ERRORS, ids=lambda found: getattr(found, "code", None))
def test_an_error_means_what_its_code_says(instagram: MetaPlatform, error: GraphError, trouble: Trouble, reason: str):
    instagram.refuse(error)
    answer = refresh(instagram)
    assert refused(answer) == (trouble, reason)
    assert isinstance(answer, Refused)
    assert str(error.code or "without a code") in answer.detail
    assert "something went wrong" not in answer.detail.lower()


def test_a_limit_names_the_time_to_wait(instagram: MetaPlatform):
    waits = {
        None: {}, timedelta(seconds=90): {"Retry-After": "90"}, timedelta(minutes=7): business_usage(7),
        timedelta(minutes=9): {"Retry-After": "90", **business_usage(9)}, timedelta(hours=24): business_usage(10**9),
    }  # fmt: skip
    for wait, headers in waits.items():
        for error in (GraphError(4, headers=headers), GraphError(80_002, status=429, headers=headers)):
            instagram.refuse(error)
            answer = refresh(instagram)
            assert isinstance(answer, Refused)
            assert (answer.trouble, answer.retry_after) == (LIMITED, wait)


@pytest.mark.parametrize(
    "header", ["{", "[]", '{"1": 5}', '{"1": [5]}', '{"1": [{"estimated_time_to_regain_access": "x"}]}']
)
def test_a_usage_header_that_is_nonsense_names_no_time(header: str):
    reply = Reply(429, {"x-business-use-case-usage": header})
    assert _meta.refusal(reply, NOW) == Refused(LIMITED, "rate_limited", "answered 429")


@pytest.mark.parametrize(("fault", "expected"), [
    (Fault.LIMITED, (LIMITED, "rate_limited")),
    (Fault.ERROR_500, (TRANSIENT, "unavailable")),
    (Fault.PAGE_503, (TRANSIENT, "unavailable")),
    (Fault.PAGE_404, (UNKNOWN, "undocumented")),
    (Fault.HANG, (TRANSIENT, "no_answer")),
    (Fault.HANG_AFTER, (TRANSIENT, "no_answer")),
    (Fault.RESET, (TRANSIENT, "no_answer")),
    (Fault.RESET_AFTER, (TRANSIENT, "no_answer")),
    (Fault.TRUNCATED, (TRANSIENT, "unreadable_answer")),
    (Fault.NO_TOKEN, (UNKNOWN, "unreadable_answer")),
    (Fault.DEAD, (DEAD, "password_changed")),
    (Fault.APP, (APP, "app_refused")),
    (Fault.UNDOCUMENTED, (UNKNOWN, "undocumented")),
])  # fmt: skip
def test_whatever_happens_to_a_refresh_has_a_name(instagram: MetaPlatform, fault: Fault, expected: tuple[Trouble, str]):
    instagram.fail(fault)
    app = instagram.app().model_copy(update={"timeout": 0.2 if "hang" in fault else 20})
    asking = asker(app, provider(instagram))
    assert refused(provider(instagram).refresh(asking, app, instagram.give(ACCOUNT))) == expected
    instagram.heal()
    got(refresh(instagram))


def test_a_refresh_whose_answer_was_lost_once_succeeds_within_the_same_attempt(meta: MetaPlatform):
    meta.fail(Fault.RESET_AFTER, ACCOUNT, times=1)
    got(refresh(meta))


@pytest.mark.parametrize(("fault", "note"), [
    (Fault.EXPIRY_MISSING, "expires_in_missing"), (Fault.EXPIRY_ZERO, "expires_in_zero"), (Fault.EXPIRY_TEXT, ""),
    (Fault.EXPIRY_NONSENSE, "expires_in_unreadable"),
])  # fmt: skip
def test_a_token_without_a_readable_end_lives_as_long_as_is_documented(
    instagram: MetaPlatform, fault: Fault, note: str
):
    instagram.fail(fault)
    answer = refresh(instagram)
    assert got(answer).expires_at == NOW + LIFE
    assert isinstance(answer, Granted)
    assert answer.note == note


@pytest.mark.parametrize("fault", [Fault.EXPIRY_MISSING, Fault.EXPIRY_ZERO])
def test_a_facebook_token_without_an_end_has_none(pages: MetaPlatform, fault: Fault):
    pages.fail(fault)
    assert got(refresh(pages)).expires_at is None
    pages.fail(Fault.EXPIRY_NONSENSE)
    assert got(refresh(pages)).expires_at == NOW + LIFE


def test_facebook_tells_the_end_the_scopes_and_the_pages_of_a_consent(pages: MetaPlatform):
    pages.pages = ("111", "222")
    tokens = pages.give(ACCOUNT, age=timedelta(days=10))
    assert introspect(pages, tokens) == Known(
        ACCOUNT, expires_at=NOW + timedelta(days=50), scopes=facebook.TRAITS.scopes, aliases=("111", "222")
    )
    pages.data_access = timedelta(days=30)
    known = introspect(pages, tokens)
    assert isinstance(known, Known)
    assert known.expires_at == NOW + timedelta(days=20)
    pages.life, pages.data_access = None, None
    known = introspect(pages, pages.give(ACCOUNT))
    assert isinstance(known, Known)
    assert known.expires_at is None


def test_a_pages_token_is_the_pages(pages: MetaPlatform):
    data = {"is_valid": True, "type": "PAGE", "profile_id": "111", "user_id": ACCOUNT, "expires_at": 0}
    data["data_access_expires_at"] = int((NOW + timedelta(days=3)).timestamp())
    app = pages.app()
    known = facebook.introspect(_Told(Reply(200, document={"data": data})), app, Tokens(Secret("canary-a")))
    assert known == Known("111")


def test_an_app_that_facebook_does_not_know_is_not_taken_for_a_dead_token(pages: MetaPlatform):
    tokens = pages.give(ACCOUNT)
    assert refused(introspect(pages, tokens, client_secret=SecretStr("canary-wrong"))) == (APP, "app_refused")
    assert refused(introspect(pages, tokens, client_secret=None)) == (APP, "app_incomplete")
    pages.blocked = True
    assert refused(introspect(pages, tokens)) == (APP, "app_refused")


def test_a_blocked_app_costs_nobody_a_login(meta: MetaPlatform):
    tokens = meta.give(ACCOUNT)
    meta.blocked = True
    assert refused(refresh(meta, tokens)) == (APP, "app_refused")


def test_a_platform_without_a_table_refreshes_by_its_own_addresses():
    asking = _Told(Reply(404, is_json=False))
    for name in ("instagram", "threads"):
        platforms()[name].refresh(asking, App(name=name), Tokens(Secret("canary-a")))
    assert asking.urls == [
        "https://graph.instagram.com/refresh_access_token",
        "https://graph.threads.net/refresh_access_token",
    ]


class _Told:
    """Questions that are all answered alike."""

    def __init__(self, reply: Reply) -> None:
        self.now, self.reply, self.urls = NOW, reply, list[str]()

    def get(self, url: str, query: Mapping[str, str | Secret], **_: Any) -> Reply | Refused:
        self.urls.append(url)
        return self.reply

    def post(self, url: str, form: Mapping[str, str | Secret], **_: Any) -> Reply | Refused:
        self.urls.append(url)
        return self.reply


KEYS = st.sampled_from(["error", "code", "error_subcode", "message", "type", "data", "access_token", "is_valid", "id"])
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8).map(lambda text: f"s3cret {text}")
ODD = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


@settings(max_examples=60, deadline=None)
@given(document=st.dictionaries(KEYS, ODD, max_size=5), status=st.sampled_from([200, 400, 401, 429, 500]))
def test_nonsense_is_borne_and_never_quoted(document: dict[str, Any], status: int):
    app = App(name="it", client_id="1", client_secret=SecretStr("s3cret-app"))
    tokens = Tokens(Secret("s3cret-old"), issued_at=NOW - timedelta(days=2))
    asking = _Told(Reply(status, {"x-business-use-case-usage": json.dumps({"1": [None, 5]})}, document))
    for name in NAMES:
        module = platforms()[name]
        found: list[Answer | Acceptance] = [
            module.refresh(asking, app, tokens),
            module.introspect(asking, app, tokens),
            module.exchange(asking, app, code=Secret("s3cret-code"), redirect_uri=BACK, verifier=Secret("")),
        ]
        assert "s3cret" not in repr(found)


def test_many_accounts_are_refreshed_at_once(instagram: MetaPlatform):
    held = {str(number): instagram.give(str(number)) for number in range(1, 9)}
    threads = [threading.Thread(target=refresh, args=(instagram, tokens)) for tokens in held.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {instagram.calls["refresh", account] for account in held} == {1}
