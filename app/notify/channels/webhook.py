"""What Alertmanager posts to webhooks, version 4: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.

`Idempotency-Key` is the notification's own and the same at each try. With a secret the body is signed:
`X-Smm-Signature: sha256=<HMAC-SHA256 in hex>`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from app import clock
from app.infra.text import json_safe
from app.notify.calling import fitted, judged, post
from app.notify.channel import Headers, Rate, SecretUrl, digest, host_of, signature
from app.notify.channel import Options as BaseOptions
from app.notify.message import AlertLine, Delivery, Event, Message, Outcome

KIND = "webhook"
SUMMARY = "a POST of what Alertmanager posts (version 4), signed"
RATE = Rate(per_second=10, burst=50)
DEDUPLICATES = True
THREADS = False
TAKES_TO = False
ACKNOWLEDGES = False
LETTERS = True

MAX_BYTES = 1_000_000
"""Many servers take no more than a megabyte; alerts that would exceed it are counted in `truncatedAlerts`."""

NEVER = "0001-01-01T00:00:00Z"
_ALERTS = (50, 25, 10, 5, 1, 0)


class Options(BaseOptions):
    """Where to, and how the other side knows us."""

    url: SecretUrl = Field(description="address to post to")
    secret: SecretStr | None = Field(default=None, description="signs the body: X-Smm-Signature")
    headers: Headers = Field(default_factory=dict, description="more request headers; never shown")


def destination(options: Options, _to: str | None) -> str:
    """`webhook:HOST:` and a digest of the address."""
    url = options.url.get_secret_value()
    return f"{KIND}:{host_of(options.url)}:{digest(url)}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One POST; any 2xx is taken for taken, whatever the body says."""
    message = delivery.message
    body = fitted(lambda most: json_safe(alertmanager_body(message, most_alerts=most)), MAX_BYTES, sizes=_ALERTS)
    headers = {name: value.get_secret_value() for name, value in options.headers.items()}
    headers |= {"Idempotency-Key": _header(message.key), "X-Smm-Event": message.event.value}
    if options.secret is not None:
        headers["X-Smm-Signature"] = signature(options.secret, body)
    return judged(post(delivery, options.url.get_secret_value(), body, headers=headers), page_is_answer=True)


def alertmanager_body(message: Message, *, most_alerts: int = 50) -> dict[str, Any]:
    """The message as Alertmanager's, version 4."""
    alerts = message.alerts[:most_alerts]
    return {
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": max(0, max(message.firing + message.resolved, len(message.alerts)) - len(alerts)),
        "status": "resolved" if _is_over(message) else "firing",
        "receiver": message.receiver,
        "groupLabels": message.group_labels,
        "commonLabels": message.common_labels,
        "commonAnnotations": message.common_annotations,
        "externalURL": message.external_url,
        "alerts": [_alert(alert) for alert in alerts],
    }


def _is_over(message: Message) -> bool:
    return message.event is Event.RESOLVED or (message.event is Event.NOTICE and not message.firing)


def _alert(alert: AlertLine) -> dict[str, Any]:
    return {
        "status": alert.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": clock.iso(alert.starts_at),
        "endsAt": NEVER if alert.ends_at is None else clock.iso(alert.ends_at),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _header(text: str) -> str:
    """A key as it can stand in a header: as it is, else its digest, which is as stable."""
    return text if text.isascii() and text.isprintable() and len(text) <= 200 else digest(text)
