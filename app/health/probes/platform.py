"""Does a platform accept an account's token: asked of its "who am I", and told apart from the platform's own trouble.

Of an account that is kept here, what is known of its token counts first, and then the platform is asked about it. A
limit that is used up says nothing about the token, so nothing is recorded then: the limiter tells of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, assert_never

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, model_validator

from app.errors import Transient
from app.health import accounts
from app.health.accounts import Standing
from app.health.probes import _http
from app.health.probing import CannotTell, Defaults, Outcome, Target, failed
from app.health.results import Threshold

KIND = "platform"
SUMMARY = "a platform accepts an account's token"
DEFAULTS = Defaults(interval_seconds=900)
READINGS = {
    "latency_ms": "time of the platform's answer",
    "status_code": "HTTP status of the answer, with `url`",
    "days_remaining": "days until the token ends, or the owner's consent, with `account`",
}
THRESHOLDS = {"days_remaining": Threshold(warning=3, degraded=1, below=True)}
ADVICE = {
    "refused": "Let the client log in again: the platform has withdrawn the token or its rights.",
    "platform": "Wait: the platform itself has trouble; its status page may say more.",
    "timeout": "Wait: the platform does not answer in time; see that the way out of this network works.",
    "status": "The platform answers something unexpected: see whether its API has changed.",
    "app": "Correct the id and the secret of the app in the catalogue, or see what its platform says of the app.",
    "key": "Bring back the encryption key: without it no token can be opened.",
    "account": "Add the account, or correct its name in the catalogue.",
    "days_remaining": "See why it is not refreshed, and let the client log in again before it ends.",
}
# Of the Graph API, as Instagram and Threads have it: https://developers.facebook.com/docs/graph-api/guides/error-handling
_LIMITED = frozenset({4, 17, 32, 613, 80001, 80002, 80006})
_REFUSED = frozenset({10, 102, 190, *range(200, 300)})
_ILL = frozenset({1, 2})
_MAX_BYTES = 65_536


def _account(value: str) -> str:
    platform, slash, external_id = value.partition("/")
    if not platform or not slash or not external_id:
        raise ValueError("must be PLATFORM/ACCOUNT, such as instagram/17841400000000000")
    return value


class Options(_http.Address):
    """An account whose token is kept here; or what to ask, and with which token."""

    account: Annotated[str, AfterValidator(_account)] | None = Field(
        default=None, max_length=300, description="PLATFORM/ACCOUNT of an account whose token is kept here"
    )
    url: AnyHttpUrl | None = Field(  # type: ignore[assignment]  # this kind has another way, too
        default=None, description='instead: the platform\'s "who am I", such as https://graph.instagram.com/me'
    )
    token: _http.HeaderSecret | None = Field(default=None, description="with `url`: the account's token; never shown")
    token_in: Literal["header", "query"] = Field(default="header", description="where the platform wants the token")
    token_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="name of the header or the parameter; unset: Authorization with Bearer, or access_token",
    )
    accept: _http.Statuses = Field(default="200-299", description='statuses that accept it, as in "200-299"')

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        if self.account is not None and (self.url is not None or self.token is not None):
            raise ValueError("account stands alone: leave url and token out")
        if self.account is None and (self.url is None or self.token is None):
            raise ValueError("give account, or url and token")
        return self


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """One question; what the platform answers decides."""
    if options.account is not None:
        return _of_account(options.account)
    if options.token is None:
        return CannotTell("there is no token to ask with")
    headers, query = _login(options, options.token)
    try:
        with _http.asking(target, options, headers) as asking:
            answer = asking.get("", query, max_bytes=_MAX_BYTES)
    except _http.TROUBLES as error:
        return _http.failure(error, target.timeout_seconds)
    return _judge(answer, options)


def _of_account(account: str) -> Outcome | CannotTell:
    """By what is known of its token, and its platform's own answer."""
    look = accounts.look()
    if look is None:
        return CannotTell("this process does not know accounts")
    platform, _, external_id = account.partition("/")
    try:
        return _told(look(platform, external_id))
    except Transient:
        return CannotTell("what is known of accounts cannot be read now")


def _told(standing: Standing) -> Outcome | CannotTell:
    match standing.state:
        case "good":
            days = standing.days_remaining
            return Outcome({} if days is None else {"days_remaining": days}, standing.latency_ms)
        case "disabled" | "limited":
            return CannotTell(standing.why)
        case "unknown":
            return failed("account", standing.why)
        case "refused" | "platform" | "status" | "app" | "key" as code:
            return failed(code, standing.why)
    assert_never(standing.state)


def _login(options: Options, secret: SecretStr) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and query that carry the token."""
    token = secret.get_secret_value()
    if options.token_in == "query":  # noqa: S105 - a place, not a password
        return {}, {options.token_name or "access_token": token}
    name = options.token_name or "Authorization"
    return {name: f"Bearer {token}" if name.lower() == "authorization" else token}, {}


def _judge(answer: _http.Answer, options: Options) -> Outcome | CannotTell:
    """The error code of the Graph API says more than the status, which is 400 for most; both are of use elsewhere."""
    code = _code(answer.document())
    said = f"answered {answer.status}" + (f", error {code}" if code is not None else "")
    readings: dict[str, object] = {"status_code": answer.status}
    if answer.status == 429 or code in _LIMITED:
        return CannotTell(f"the platform's limit is used up ({said})")
    if answer.refused or code in _REFUSED:
        return failed("refused", f"the platform does not accept the token ({said})", readings=readings)
    if answer.status >= 500 or code in _ILL:
        return failed("platform", f"the platform has trouble of its own ({said})", readings=readings)
    if not _http.accepts(options.accept, answer.status) or code is not None:
        return failed("status", f"{said}, expected {options.accept}", readings=readings)
    return Outcome(readings, answer.latency_ms)


def _code(document: Any) -> int | None:
    """The error code of a body {"error": {"code": 190}}, whatever its status; None where there is no such thing."""
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) and code else None
