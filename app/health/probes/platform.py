"""Does a platform accept an account's token: asked of its "who am I", and told apart from the platform's own trouble.

A limit that is used up says nothing about the token, so nothing is recorded then: the limiter tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AnyHttpUrl, Field

from app.health.probes import _http
from app.health.probing import CannotTell, Defaults, Outcome, Target, failed
from app.health.results import Threshold

KIND = "platform"
SUMMARY = "a platform accepts an account's token"
DEFAULTS = Defaults(interval_seconds=900)
READINGS = {
    "latency_ms": "time of the platform's answer",
    "status_code": "HTTP status of the answer",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "refused": "Let the client log in again: the platform has withdrawn the token or its rights.",
    "platform": "Wait: the platform itself has trouble; its status page may say more.",
    "timeout": "Wait: the platform does not answer in time; see that the way out of this network works.",
    "status": "The platform answers something unexpected: see whether its API has changed.",
}
# Of the Graph API, as Instagram and Threads have it: https://developers.facebook.com/docs/graph-api/guides/error-handling
_LIMITED = frozenset({4, 17, 32, 613, 80001, 80002, 80006})
_REFUSED = frozenset({10, 102, 190, *range(200, 300)})
_ILL = frozenset({1, 2})
_MAX_BYTES = 65_536


class Options(_http.Address):
    """What to ask, and with which token."""

    url: AnyHttpUrl = Field(description='the platform\'s "who am I", such as https://graph.instagram.com/me')
    token: _http.HeaderSecret = Field(description="the account's token; never shown")
    token_in: Literal["header", "query"] = Field(default="header", description="where the platform wants the token")
    token_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="name of the header or the parameter; unset: Authorization with Bearer, or access_token",
    )
    accept: _http.Statuses = Field(default="200-299", description='statuses that accept it, as in "200-299"')


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """One question; what the platform answers decides."""
    headers, query = _login(options)
    try:
        with _http.asking(target, options, headers) as asking:
            answer = asking.get("", query, max_bytes=_MAX_BYTES)
    except _http.TROUBLES as error:
        return _http.failure(error, target.timeout_seconds)
    return _judge(answer, options)


def _login(options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and query that carry the token."""
    token = options.token.get_secret_value()
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
