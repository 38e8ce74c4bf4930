"""Anthropic: the cost report of an organization by UTC day, and the tokens of its messages beside it.

https://platform.claude.com/docs/en/api/admin/cost_report/retrieve,
https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and
https://platform.claude.com/docs/en/build-with-claude/usage-cost-api: an admin key, times in RFC 3339, buckets of `1d`
(31 a page), amounts in cents as decimal texts. The cost report leaves the priority tier out, which is bought in
advance; the usage report has it, so days with such tokens say so. What caches held and were given is beside
`uncached_input_tokens`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from app.costs.bill_asking import Result, asking, count, currency, number, odd
from app.costs.bill_source import DAY, Billed, Counted, Source, bill, days, is_settled, midnight

BILLING = "anthropic"
SUMMARY = "the cost report of an organization by day, without the priority tier, with tokens of messages"
BASE_URL = "https://api.anthropic.com"
PROVIDERS = ("anthropic",)

_COSTS, _USAGE = "/v1/organizations/cost_report", "/v1/organizations/usage_report/messages"
_VERSION = "2023-06-01"
_CENT = Decimal("0.01")
_PRIORITY = "priority"


def read(source: Source, first: date, last: date, now: datetime) -> list[Billed]:
    """Each day. Raises Transient, Misconfigured, Permanent."""
    provider = source.provider
    span = [
        ("starting_at", _time(first)),
        ("ending_at", _time(last + DAY)),
        ("bucket_width", "1d"),
        ("limit", "31"),
    ]
    headers = {"x-api-key": provider.key.get_secret_value(), "anthropic-version": _VERSION}
    with asking(provider, BASE_URL, headers) as ask:
        costs = ask.buckets(_COSTS, span, _day)
        usage = ask.buckets(_USAGE, [*span, ("group_by[]", "service_tier")], _day)
    found = []
    for day in days(first, last):
        settled = is_settled(provider, day, now)
        if day not in costs:
            found.append(Billed(day, None, settled=settled, note="the provider tells no costs of this day"))
            continue
        micro_usd, note = bill(
            provider, [(number(result, "amount") * _CENT, currency(result)) for result in costs[day]]
        )
        tokens = None if day not in usage else _tokens(usage[day])
        notes = [text for text in (note, _left_out(usage.get(day, ()))) if text]
        found.append(Billed(day, micro_usd, tokens, settled, "; ".join(notes)))
    return found


def _tokens(results: Sequence[Result]) -> Counted:
    total = Counted()
    for result in results:
        created = result.get("cache_creation")
        if created is not None and not isinstance(created, dict):
            raise odd("cache_creation")
        read_back = count(result, "cache_read_input_tokens")
        written = sum(count(created, key) for key in created if key.endswith("_input_tokens")) if created else 0
        sent = count(result, "uncached_input_tokens") + read_back + written
        total += Counted(sent, read_back, count(result, "output_tokens"))
    return total


def _left_out(results: Sequence[Result]) -> str:
    priority = _tokens([result for result in results if result.get("service_tier") == _PRIORITY])
    if priority == Counted():
        return ""
    return f"its bill leaves out {priority.input + priority.output:,} tokens of the priority tier"


def _day(bucket: Result) -> date:
    start = bucket.get("starting_at")
    try:
        moment = datetime.fromisoformat(start) if isinstance(start, str) else None
        day = None if moment is None or moment.tzinfo is None else moment.astimezone(UTC).date()
    except (ValueError, OverflowError):
        day = None
    if day is None or moment != midnight(day):
        raise odd("starting_at")
    return day


def _time(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
