"""One try through one channel: whatever happens becomes an Outcome, is counted, and holds no secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from app import clock
from app.errors import Misconfigured, SmmError, Transient
from app.infra.logging import get_logger
from app.infra.metrics import NOTIFICATION_ATTEMPTS, NOTIFICATION_SECONDS
from app.infra.scrub import MASK, scrub_text
from app.notify import bucket
from app.notify.message import Delivery, Event, Link, Message, Outcome
from app.notify.specs import ChannelSpec
from app.notify.text import fit, one_line

ERROR = 300
"""Most characters of an Outcome's error."""

_SECRET_LENGTH = 6
"""Shorter parts of a secret are words ("api", "v1") and stay."""

log = get_logger(__name__)


def send(spec: ChannelSpec, delivery: Delivery) -> Outcome:
    """Try once, within the channel's time-out and networks, whatever the delivery says of them. Never raises.

    A wait that the other side asks for holds for everybody who tells the same destination.
    """
    delivery = replace(delivery, timeout_seconds=spec.timeout_seconds, allow=spec.allow)
    started = clock.monotonic()
    tried = _try(spec, delivery)
    seconds = clock.monotonic() - started
    destination = _destination(spec, delivery)
    error = None if tried.error is None else _without_secrets(tried.error, spec, delivery, destination)
    outcome = replace(tried, latency_ms=round(seconds * 1000, 2), error=error)
    if outcome.retry_after is not None and destination:
        bucket.put_off(destination, outcome.retry_after.total_seconds())
    NOTIFICATION_ATTEMPTS.inc(channel=spec.name, outcome=outcome_word(outcome))
    NOTIFICATION_SECONDS.observe(seconds, channel=spec.name)
    log.info(
        "notification tried",
        channel=spec.name,
        about=delivery.message.event.value,
        outcome=outcome_word(outcome),
        http_status=outcome.http_status,
        error=outcome.error,
    )
    return outcome


def outcome_word(outcome: Outcome) -> str:
    """`delivered`, `rate_limited`, `transient` or `permanent`: the metric's label."""
    if outcome.delivered:
        return "delivered"
    if outcome.rate_limited:
        return "rate_limited"
    return "permanent" if outcome.permanent else "transient"


def test_message(channel_name: str, external_url: str, now: datetime) -> Message:
    """What `alerts test CHANNEL` sends: no alert, and nothing to be done about it."""
    key = f"test:{channel_name}:{clock.iso(now)}"
    return Message(
        key=key,
        thread=hashlib.sha256(key.encode()).hexdigest(),
        event=Event.TEST,
        severity="info",
        title=f"smm-admin can reach {channel_name}",
        summary="Somebody tries out this channel. Nothing is wrong, and nothing needs to be done.",
        at=now,
        receiver=channel_name,
        fields=(("Channel", channel_name),),
        links=(Link("Console", external_url),) if external_url else (),
        group_key=key,
        external_url=external_url,
    )


def _try(spec: ChannelSpec, delivery: Delivery) -> Outcome:
    try:
        return spec.module.send(delivery, spec.options)
    except Transient as error:
        return Outcome(delivered=False, retry_after=error.retry_after, error=str(error))
    except SmmError as error:
        return Outcome(delivered=False, permanent=True, error=str(error))
    except Exception as error:  # a channel that is wrong must not stop the others; its words may hold secrets
        log.error("a channel raised", channel=spec.name, kind=spec.module.KIND, error=type(error).__name__,
                  where=_where(error))  # fmt: skip
        return Outcome(delivered=False, error=f"the channel failed: {type(error).__name__}")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"


def _destination(spec: ChannelSpec, delivery: Delivery) -> str:
    """The address's stable name; "" where it has none."""
    try:
        return spec.destination(delivery.to)
    except Misconfigured:
        return ""


def _without_secrets(error: str, spec: ChannelSpec, delivery: Delivery, destination: str) -> str:
    """The error scrubbed, and without anything that this channel's options hold hidden, wherever it was echoed.

    An address that its destination does not show is a secret, too.
    """
    secrets = set(_secrets(spec.options))
    if delivery.to and len(delivery.to) >= _SECRET_LENGTH and delivery.to not in destination:
        secrets.add(delivery.to)
    text = one_line(error)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return fit(scrub_text(text), ERROR)


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case dict():
            for inner in value.values():
                yield from _secrets(inner)
        case SecretStr():
            yield from _parts(value.get_secret_value())


def _parts(secret: str) -> Iterator[str]:
    """A secret, and of an address all that is not its host: any of it may be what is secret."""
    pieces = [secret]
    if "://" in secret:
        split = urlsplit(secret)
        rest = f"{split.path}/{split.query}/{split.username or ''}/{split.password or ''}"
        pieces += [rest.strip("/"), *re.split(r"[/?&=;]", rest), *re.split(r"[/?&=;]", unquote(rest))]
    yield from (piece for piece in pieces if len(piece) >= _SECRET_LENGTH)
