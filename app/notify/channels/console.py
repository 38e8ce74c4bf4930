"""The console's banner: the stored notification is what is shown, so there is nothing to send."""

from __future__ import annotations

from app.notify.channel import Options as BaseOptions
from app.notify.channel import Rate
from app.notify.message import Delivery, Outcome

KIND = "console"
SUMMARY = "a banner on the console's pages; nothing leaves the product"
RATE = Rate(per_second=1000, burst=1000)
DEDUPLICATES = True
THREADS = False
TAKES_TO = False
ACKNOWLEDGES = False
LETTERS = False


class Options(BaseOptions):
    """It has none."""


def destination(_options: Options, _to: str | None) -> str:
    """There is one."""
    return KIND


def send(_delivery: Delivery, _options: Options) -> Outcome:
    """Always delivered: it was stored before it was sent."""
    return Outcome(delivered=True)
