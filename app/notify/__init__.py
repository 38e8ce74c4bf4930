"""One message through one channel: rendered, bounded, sent, and what became of it."""

from app.notify.bucket import put_off, take
from app.notify.channel import Rate
from app.notify.channels import kinds
from app.notify.message import AlertLine, Delivery, Event, Link, Message, Outcome
from app.notify.sending import outcome_word, send, test_message
from app.notify.specs import ChannelSpec, catalog_problems, resolve, resolve_all, shown

__all__ = [
    "AlertLine",
    "ChannelSpec",
    "Delivery",
    "Event",
    "Link",
    "Message",
    "Outcome",
    "Rate",
    "catalog_problems",
    "kinds",
    "outcome_word",
    "put_off",
    "resolve",
    "resolve_all",
    "send",
    "shown",
    "take",
    "test_message",
]
