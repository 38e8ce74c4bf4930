"""POST to an address, signed, with the step's own idempotency key."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

from app import clock
from app.catalog import Catalog, Service
from app.catalog.alerting import Texts
from app.config import settings
from app.errors import SmmError, Transient
from app.infra import http
from app.infra.plain import plain
from app.infra.text import json_safe
from app.notify.calling import encoded
from app.notify.channel import Headers, SecretUrl, host_of, signature
from app.recovery.acting import Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions

NAME = "call_webhook"
SUMMARY = "posts JSON to an address, signed, with an Idempotency-Key"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ()

_TRIES = 3
_LEAST_SECONDS = 0.5


class Options(BaseOptions):
    """Where to, what, and how the other side knows us."""

    url: SecretUrl = Field(description="address to post to; never shown")
    body: dict[str, Any] = Field(default_factory=dict, description="what to post; empty: which run of what this is")
    headers: Headers = Field(default_factory=dict, description="more request headers; never shown")
    secret: SecretStr | None = Field(default=None, description="signs the body: X-Smm-Signature")
    allow: Texts = Field(default=(), description="private networks (CIDR) that the address may lie in")
    timeout: float = Field(default=10, gt=0, le=60, description="seconds for all of it, tries included")


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    return f"call the webhook at {host_of(options.url)}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """Where it may not go is found out by the guard of outgoing calls."""
    return None


def act(options: Options, work: Work) -> Result:
    """A few tries; the other side knows them by their key. The answer's status decides, whatever it says."""
    body = encoded(json_safe(options.body or _about(work)))
    headers = {"content-type": "application/json", "idempotency-key": work.key}
    headers |= {name: value.get_secret_value() for name, value in options.headers.items()}
    if options.secret is not None:
        headers["x-smm-signature"] = signature(options.secret, body)
    seconds = min(options.timeout, work.timeout_seconds)
    try:
        status = _posted(options, body, headers, seconds)
    except SmmError as error:
        return Failed(f"the webhook was not taken: {error}")
    return Done(f"called the webhook at {host_of(options.url)}: {status}", {"status": status, "key": work.key})


def _posted(options: Options, body: bytes, headers: dict[str, str], seconds: float) -> int:
    ends_at = clock.monotonic() + seconds

    def post() -> int:
        return http.post_guarded(
            options.url.get_secret_value(),
            content=body,
            headers=headers,
            allow=(*options.allow, *settings().egress_allow),
            timeout_seconds=max(_LEAST_SECONDS, ends_at - clock.monotonic()),
        )

    tries = Retrying(
        retry=retry_if_exception_type(Transient),
        wait=_wait,
        stop=stop_after_attempt(_TRIES) | stop_before_delay(seconds - _LEAST_SECONDS),
        reraise=True,
    )
    return tries(post)


def _wait(state: RetryCallState) -> float:
    """What the other side asks for, else a little longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Transient) else None
    return asked.total_seconds() if asked else float(state.attempt_number)


def _about(work: Work) -> dict[str, Any]:
    """Which run of what this is, and what it is about."""
    run = work.run
    return {
        "playbook": run.playbook,
        "run": str(run.id),
        "service": run.service,
        "severity": run.severity,
        "since": None if run.since is None else clock.iso(run.since),
        "facts": plain(run.values.get("facts", {})),
        "steps": [{"says": step.says, "state": str(step.state), "text": step.text} for step in run.steps],
    }
