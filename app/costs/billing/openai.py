"""OpenAI: costs of an organization by UTC day, and the tokens of completions and embeddings beside them.

https://platform.openai.com/docs/api-reference/usage/costs and
https://platform.openai.com/docs/api-reference/usage/completions: an admin key, `start_time` (included) and `end_time`
(excluded) in Unix seconds, buckets of `1d`, cursors in `next_page`. `input_tokens` hold the cached ones. `amount.value`
is documented as a number and has been seen as a text of one (https://github.com/steipete/CodexBar/issues/999).
Images, audio and tools are in the costs, but not in these tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from app.catalog import Provider
from app.costs.bill_asking import Result, asking, count, currency, mapping, number, odd
from app.costs.bill_source import DAY, Billed, Counted, Source, bill, days, is_settled, midnight

BILLING = "openai"
SUMMARY = "the costs of an organization by day, with tokens of completions and embeddings"
BASE_URL = "https://api.openai.com"
PROVIDERS = ("openai",)

_COSTS = "/v1/organization/costs"
_COMPLETIONS, _EMBEDDINGS = "/v1/organization/usage/completions", "/v1/organization/usage/embeddings"
_SECONDS = 86_400
_LAST = 10**11
_BUCKETS = "31"
"""A page: the most that usage allows for days."""


def read(source: Source, first: date, last: date, now: datetime) -> list[Billed]:
    """Each day. Raises Transient, Misconfigured, Permanent."""
    provider = source.provider
    span = [
        ("start_time", _seconds(first)),
        ("end_time", _seconds(last + DAY)),
        ("bucket_width", "1d"),
        ("limit", _BUCKETS),
    ]
    with asking(provider, BASE_URL, {"Authorization": f"Bearer {provider.key.get_secret_value()}"}) as ask:
        costs = ask.buckets(_COSTS, span, _day)
        completions = ask.buckets(_COMPLETIONS, span, _day)
        embeddings = ask.buckets(_EMBEDDINGS, span, _day)
    found = []
    for day in days(first, last):
        settled = is_settled(provider, day, now)
        if day not in costs:
            found.append(Billed(day, None, settled=settled, note="the provider tells no costs of this day"))
            continue
        micro_usd, note = _cost(provider, costs[day])
        tokens = None if day not in completions else _tokens([*completions[day], *embeddings.get(day, ())])
        found.append(Billed(day, micro_usd, tokens, settled, note))
    return found


def _cost(provider: Provider, results: Sequence[Result]) -> tuple[int | None, str]:
    amounts = [mapping(result, "amount") for result in results]
    return bill(provider, [(number(amount, "value"), currency(amount)) for amount in amounts])


def _tokens(results: Sequence[Result]) -> Counted:
    total = Counted()
    for result in results:
        cached = count(result, "input_cached_tokens")
        total += Counted(count(result, "input_tokens"), cached, count(result, "output_tokens"))
    return total


def _day(bucket: Result) -> date:
    start = bucket.get("start_time")
    if type(start) is not int or not 0 <= start < _LAST or start % _SECONDS:
        raise odd("start_time")
    return datetime.fromtimestamp(start, UTC).date()


def _seconds(day: date) -> str:
    return str(int(midnight(day).timestamp()))
