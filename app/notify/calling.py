"""One POST to a service, and what its answer means for the message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from app import clock
from app.config import settings
from app.infra import http
from app.infra.scrub import scrub_text
from app.notify.message import Delivery, Outcome
from app.notify.text import fit, one_line

MAX_BODY_BYTES = 65_536
REASON = 200
"""Most characters of an answer's own words that are kept."""

_WORDS = ("description", "message", "error", "errors", "detail")


def post(delivery: Delivery, url: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> http.Answer:
    """POST JSON within the delivery's time-out. Redirects are not followed; private addresses only where allowed.

    Raises Transient when no answer came, Permanent (Refused) when the address may or can not be called.
    """
    allow = (*delivery.allow, *settings().egress_allow)
    with http.guarded_client(allow=allow, timeout_seconds=delivery.timeout_seconds) as through:
        return http.attempt(
            through,
            "POST",
            url,
            content=body,
            headers={"content-type": "application/json", **(headers or {})},
            max_body_bytes=MAX_BODY_BYTES,
        )


def encoded(value: Any) -> bytes:
    """JSON as it is sent: compact UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def fitted(
    build: Callable[[int], Any], limit: int, *, sizes: tuple[int, ...] = (2000, 1000, 500, 200, 100, 40)
) -> bytes:
    """`build(size)` encoded, for the first of falling sizes with which it stays within `limit` bytes, else the last.

    A size is what the longest text may be, unless `build` means something else.
    """
    body = b""
    for size in sizes:
        body = encoded(build(size))
        if len(body) <= limit:
            break
    return body


def judged(
    answer: http.Answer, *, wait: float | None = None, provider_id: str | None = None, page_is_answer: bool = False
) -> Outcome:
    """The outcome of a status: 2xx is delivered; 408, 425, 429 and 5xx are worth another try; the rest is final.

    `wait`: seconds that the body asks for, before any header. A page of HTML with status 2xx comes from something
    else than the service (a login page, a proxy), and nothing was delivered, unless `page_is_answer`.
    """
    status = answer.status
    retry_after = _bounded(wait) if wait is not None else _header_wait(answer)
    if 200 <= status < 300 and (page_is_answer or not is_page(answer)):
        return Outcome(delivered=True, http_status=status, provider_id=provider_id, retry_after=_spent(answer))
    if 200 <= status < 300:
        return Outcome(delivered=False, http_status=status, error=f"answered {status} with a web page")
    if status in http.BUSY or status >= 500:
        return Outcome(
            delivered=False,
            rate_limited=status == 429,
            retry_after=retry_after,
            http_status=status,
            error=_error(answer),
        )
    return Outcome(delivered=False, permanent=True, http_status=status, error=_error(answer))


def json_of(answer: http.Answer) -> dict[str, Any]:
    """The answer's JSON object; empty when it is none."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def number(value: object) -> float | None:
    """A finite number of seconds that is not negative, of whatever JSON held; else None."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0 <= found < float("inf") else None


def is_page(answer: http.Answer) -> bool:
    """Is the answer made for a browser?"""
    kind = answer.headers.get("content-type", "").lower()
    return "html" in kind or answer.body[:256].lstrip()[:1] == b"<"


def _header_wait(answer: http.Answer) -> timedelta | None:
    asked = http.retry_after(answer.headers.get("retry-after"), clock.now())
    if asked is not None:
        return asked
    reset = number(answer.headers.get("x-ratelimit-reset-after"))
    return None if reset is None else _bounded(reset)


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=min(seconds, http.MAX_RETRY_AFTER.total_seconds()))


def _spent(answer: http.Answer) -> timedelta | None:
    """How long to keep away after a success that used up the last of an allowance."""
    if answer.headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    reset = number(answer.headers.get("x-ratelimit-reset-after"))
    return None if reset is None else _bounded(reset)


def _error(answer: http.Answer) -> str:
    status = answer.status
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed"
    reason = _reason(answer)
    return f"answered {status}: {reason}" if reason else f"answered {status}"


def _reason(answer: http.Answer) -> str:
    """A few words of the answer's own, scrubbed; nothing of a page."""
    if is_page(answer):
        return ""
    found = json_of(answer)
    if found:
        words = [found[name] for name in _WORDS if name in found]
        parts = [part for word in words for part in (word if isinstance(word, list) else [word])]
        text = "; ".join(part for part in parts if isinstance(part, str))
    else:
        text = answer.body[: 4 * REASON].decode("utf-8", "replace")
    return fit(scrub_text(one_line(text)), REASON)
