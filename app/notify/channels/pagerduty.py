"""An event for PagerDuty: https://developer.pagerduty.com/docs/send-alert-event (Events API v2).

All messages of one thread are one incident: the first triggers it, later ones add to it, an acknowledgement and an end
carry over. A repeated event changes nothing there.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from app import clock
from app.errors import Misconfigured
from app.notify.calling import encoded, fitted, json_of, judged, post
from app.notify.channel import BaseUrl, Rate, digest
from app.notify.channel import Options as BaseOptions
from app.notify.content import Content, content_of, severity_of
from app.notify.message import Delivery, Event, Message, Outcome
from app.notify.text import fit, short_line, short_text, web_address

KIND = "pagerduty"
SUMMARY = "an event for PagerDuty: one incident a group, acknowledged and resolved with it"
RATE = Rate(per_second=2, burst=20)  # an integration takes 120 events a minute
DEDUPLICATES = True
THREADS = False
TAKES_TO = True
ACKNOWLEDGES = True
LETTERS = False

MAX_BYTES = 512_000
MAX_SUMMARY = 1024
_LABELS = 100
_SHORT = 255
_ACTIONS = {Event.ACKNOWLEDGED: "acknowledge", Event.RESOLVED: "resolve"}


class Options(BaseOptions):
    """The integration of a service, where contacts name none."""

    routing_key: SecretStr | None = Field(
        default=None, description="integration key of a service, where a contact names none"
    )
    base_url: BaseUrl = Field(
        default="https://events.pagerduty.com", description="beginning of the Events API's addresses; EU: events.eu"
    )


def destination(options: Options, to: str | None) -> str:
    """`pagerduty:` and a digest of the routing key. Raises Misconfigured without one."""
    return f"{KIND}:{digest(_key(options, to))}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One event; PagerDuty takes it (202) before it processes it."""
    url = f"{options.base_url}/v2/enqueue"
    answer = post(delivery, url, event(delivery, _key(options, delivery.to)))
    name = json_of(answer).get("dedup_key")
    return judged(answer, provider_id=name if isinstance(name, str) else None)


def event(delivery: Delivery, routing_key: str) -> bytes:
    """The event's JSON, at most 512,000 bytes."""
    message = delivery.message
    action = _ACTIONS.get(message.event, "trigger")
    head = {"routing_key": routing_key, "event_action": action, "dedup_key": message.thread}
    if action != "trigger":
        return encoded(head)
    return fitted(lambda longest: head | _triggered(delivery, longest), MAX_BYTES)


def _key(options: Options, to: str | None) -> str:
    if to:
        return to
    if options.routing_key is None or not options.routing_key.get_secret_value():
        raise Misconfigured("no integration: give routing_key, or `to` of the contact")
    return options.routing_key.get_secret_value()


def _triggered(delivery: Delivery, longest: int) -> dict[str, Any]:
    message = delivery.message
    content = content_of(delivery, deduplicates=DEDUPLICATES, longest=longest)
    about = f"{content.title}: {short_line(content.summary, MAX_SUMMARY)}" if content.summary else content.title
    payload = {
        "summary": fit(about, min(MAX_SUMMARY, 2 * longest)) or content.word,
        "source": _label(message, "instance", "service", "job") or "smm-admin",
        "severity": severity_of(message),
        "timestamp": clock.iso(message.at),
        "component": _label(message, "service", "job"),
        "group": _label(message, "team", "tenant"),
        "class": _label(message, "alertname"),
        "custom_details": _details(message, content, longest),
    }
    address = web_address(message.external_url)
    origin = {"client": "smm-admin", "client_url": address} if address else {"client": "smm-admin"}
    links = [{"href": link.url, "text": link.label} for link in content.links]
    return {"payload": {name: value for name, value in payload.items() if value}, "links": links, **origin}


def _details(message: Message, content: Content, longest: int) -> dict[str, Any]:
    shown = {name: text for name, text in (("standing", content.standing), ("note", content.note)) if text}
    labels = {short_line(name, _SHORT): short_text(value, min(longest, 1000))
              for name, value in list(message.common_labels.items())[:min(_LABELS, longest)]}  # fmt: skip
    return {
        **shown,
        **dict(content.fields),
        **dict(content.paragraphs),
        **({"alerts": list(content.alert_lines)} if content.alerts else {}),
        **({"labels": labels} if labels else {}),
    }


def _label(message: Message, *names: str) -> str:
    return next((short_line(text, _SHORT) for name in names if (text := message.common_labels.get(name))), "")
