"""What a day's calls could have cost less by: rules over sums of calls, each with a saving that was computed. Pure.

Savings are of different ideas about partly the same calls: they are not to be added up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from app.costs.pricing import Tokens
from app.costs.substitutes import substitutes
from app.costs.sums import dollars

FLOOR = 50_000
"""Millionths of a dollar: five cents a day are not worth a person's time."""
LEAST_SHARE = 0.2
"""Of the cost that a cheaper model must save: changing a model is work, too."""
MOST = 12
"""Opportunities of one report; the largest are kept."""

HUGE_INPUT = 20_000
TINY_ANSWER = 0.01
"""Share of the input, in tokens."""
UNCACHED = 0.1
"""An input of which less than this was read from a cache counts as not cached."""

LOW_CACHE = 0.2
FAIR_CACHE = 0.5
"""Share of the input that work with a fixed beginning usually reads from the provider's cache."""
FAR_LOWER = 0.5
"""A cached token costs at most this share of a plain one where the cache is worth a word."""
CACHEABLE_INPUT = 1024
"""Tokens below which providers cache nothing."""
CACHE_CALLS = 20
"""Calls a day below which a cache is cold again before it is used."""


Price = Callable[[str, str, Tokens], int | None]
"""Of (provider, model, one call's tokens): millionths of a dollar; None where no price is known."""


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of a skill to a model that are alike: of one outcome and size, all with a known cost.

    `lopsided`: a huge input that was not cached, for a tiny answer. `cost` is in millionths of a dollar.
    """

    skill: str
    provider: str
    model: str
    calls: int
    tokens: Tokens
    cost: int
    outcome: str = "ok"
    lopsided: bool = False


@dataclass(frozen=True, slots=True)
class Repeats:
    """Calls of a skill to a model whose prompt the same tenant had sent within the hour: how many, what they cost."""

    skill: str
    model: str
    calls: int
    cost: int


@dataclass(frozen=True, slots=True)
class Opportunity:
    """One idea. `saving` in millionths of a dollar a day; `facts` are what it was computed from."""

    kind: str
    skill: str
    model: str
    saving: int
    text: str
    facts: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """JSON-ready; the saving in dollars."""
        head = {"kind": self.kind, "skill": self.skill, "model": self.model}
        return {**head, "saving": dollars(self.saving), "text": self.text, **self.facts}


def find(groups: Sequence[Group], repeats: Iterable[Repeats], price: Price) -> list[Opportunity]:
    """Every opportunity that is worth its words, the largest saving first."""
    found: list[Opportunity | None] = [_repeated(item) for item in repeats]
    for alike in _by_model(groups):
        fine = [group for group in alike if group.outcome == "ok"]
        found.append(_cheaper_model(fine, price))
        found.append(_lopsided([group for group in fine if group.lopsided], price))
        found.append(_low_cache([group for group in fine if not group.lopsided], price))
        found.append(_failed([group for group in alike if group.outcome != "ok"]))
    worth = [item for item in found if item is not None and item.saving >= FLOOR]
    return sorted(worth, key=lambda item: (-item.saving, item.kind, item.skill, item.model))[:MOST]


def money(micro_usd: int) -> str:
    """`$41.00`; below a cent `$0.0042`."""
    amount = dollars(micro_usd)
    return f"${amount:,.4f}" if 0 < abs(amount) < 0.01 else f"${amount:,.2f}"


def _by_model(groups: Sequence[Group]) -> Iterator[list[Group]]:
    def place(group: Group) -> tuple[str, str, str]:
        return group.skill, group.provider, group.model

    for _, alike in groupby(sorted(groups, key=place), key=place):
        yield list(alike)


def _cheaper_model(groups: Sequence[Group], price: Price) -> Opportunity | None:
    groups = [group for group in groups if group.tokens.input]  # what told no tokens would cost nothing anywhere
    if not groups:
        return None
    first, calls, tokens, cost = _whole(groups)
    candidates = []
    for provider, model in substitutes(first.provider, first.model, tokens.input / calls, tokens.output / calls):
        other = _priced([replace(group, provider=provider, model=model) for group in groups], price)
        if other is not None:
            candidates.append((other, provider, model))
    if not candidates or cost - min(candidates)[0] < LEAST_SHARE * cost:
        return None
    other, provider, model = min(candidates)
    text = (
        f"{_named(first.skill)}: {_calls(calls)} to {first.model} averaged {tokens.output / calls:,.0f} output tokens;"
        f" {model} would have cost {money(other)} instead of {money(cost)} (saves {money(cost - other)} a day)"
    )
    facts = {
        "calls": calls,
        "cost": dollars(cost),
        "instead": {"provider": provider, "model": model, "cost": dollars(other)},
        "average_input_tokens": round(tokens.input / calls),
        "average_output_tokens": round(tokens.output / calls),
    }
    return Opportunity("cheaper_model", first.skill, first.model, cost - other, text, facts)


def _repeated(item: Repeats) -> Opportunity:
    text = (
        f"{_named(item.skill)}: {_calls(item.calls)} to {item.model} repeated a prompt of the same hour word for word;"
        f" a cache of answers would have saved {money(item.cost)}"
    )
    return Opportunity("repeated_prompts", item.skill, item.model, item.cost, text, {"calls": item.calls})


def _lopsided(groups: Sequence[Group], price: Price) -> Opportunity | None:
    """Half of what was not cached is read from the provider's cache, or where that costs the same, not sent at all."""
    if not groups:
        return None
    first, calls, tokens, cost = _whole(groups)
    saving, how = _saved(groups, _half_cached, price), "reading half of it from the provider's cache"
    if saving is None:
        return None
    if saving < FLOOR:
        saving, how = _saved(groups, _half_sent, price) or 0, "sending half of it"
    text = (
        f"{_named(first.skill)}: {_calls(calls)} to {first.model} sent {tokens.input / calls:,.0f} tokens on average"
        f" for {tokens.output / calls:,.0f} of answer; {how} would have saved {money(saving)}"
    )
    facts = {
        "calls": calls,
        "cost": dollars(cost),
        "average_input_tokens": round(tokens.input / calls),
        "average_output_tokens": round(tokens.output / calls),
    }
    return Opportunity("huge_inputs", first.skill, first.model, saving, text, facts)


def _low_cache(groups: Sequence[Group], price: Price) -> Opportunity | None:
    if not groups:
        return None
    first, calls, tokens, cost = _whole(groups)
    share = tokens.cached / tokens.input if tokens.input else 1.0
    if share >= LOW_CACHE or calls < CACHE_CALLS or tokens.input / calls < CACHEABLE_INPUT:
        return None
    ratio = _cached_ratio(first, round(tokens.input / calls), price)
    if ratio is None or ratio > FAR_LOWER:
        return None
    saving = _saved(groups, _fairly_cached, price)
    if saving is None:
        return None
    text = (
        f"{_named(first.skill)}: {share * 100:.0f} % of the input of {_calls(calls)} to {first.model} came from the"
        f" provider's cache, where a token costs {ratio * 100:.0f} % of the price;"
        f" at {FAIR_CACHE * 100:.0f} % it would have saved {money(saving)}"
    )
    facts = {
        "calls": calls,
        "cost": dollars(cost),
        "cached_percentage": round(share * 100, 2),
        "cached_price_percentage": round(ratio * 100, 2),
    }
    return Opportunity("low_cache_share", first.skill, first.model, saving, text, facts)


def _failed(groups: Sequence[Group]) -> Opportunity | None:
    paid = [group for group in groups if group.cost > 0]
    if not paid:
        return None
    first, calls, _, cost = _whole(paid)
    outcomes: Counter[str] = Counter()
    for group in paid:
        outcomes[group.outcome] += group.calls
    listed = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common(3))
    were = "was" if calls == 1 else "were"
    text = f"{_named(first.skill)}: {_calls(calls)} to {first.model} failed and {were} paid for ({listed}): "
    facts = {"calls": calls, "outcomes": dict(outcomes.most_common())}
    return Opportunity("failed_calls", first.skill, first.model, cost, text + money(cost), facts)


def _whole(groups: Sequence[Group]) -> tuple[Group, int, Tokens, int]:
    """(any of them, calls, tokens, cost) of groups of one skill and model."""
    tokens = Tokens(*(sum(column) for column in zip(*(group.tokens for group in groups), strict=True)))
    return groups[0], sum(group.calls for group in groups), tokens, sum(group.cost for group in groups)


def _priced(groups: Iterable[Group], price: Price) -> int | None:
    """What they cost by the price table: each group by its average call, so that a tier of long inputs is met."""
    whole = 0
    for group in groups:
        cost = price(group.provider, group.model, _average(group))
        if cost is None:
            return None
        whole += cost * group.calls
    return whole


def _saved(groups: Sequence[Group], change: Callable[[Tokens], Tokens], price: Price) -> int | None:
    before = _priced(groups, price)
    after = _priced([replace(group, tokens=change(group.tokens)) for group in groups], price)
    return None if before is None or after is None else before - after


def _average(group: Group) -> Tokens:
    return Tokens(*(round(count / group.calls) for count in group.tokens))


def _uncached(tokens: Tokens) -> int:
    return max(0, tokens.input - tokens.cached - tokens.cache_write)


def _half_cached(tokens: Tokens) -> Tokens:
    return tokens._replace(cached=tokens.cached + _uncached(tokens) // 2)


def _half_sent(tokens: Tokens) -> Tokens:
    return tokens._replace(input=tokens.input - _uncached(tokens) // 2)


def _fairly_cached(tokens: Tokens) -> Tokens:
    more = int(tokens.input * FAIR_CACHE) - tokens.cached
    return tokens._replace(cached=tokens.cached + min(max(0, more), _uncached(tokens)))


def _cached_ratio(group: Group, input_tokens: int, price: Price) -> float | None:
    """What a cached token costs of a plain one, 0.1 for a tenth."""
    plain = price(group.provider, group.model, Tokens(input=input_tokens))
    cached = price(group.provider, group.model, Tokens(input=input_tokens, cached=input_tokens))
    return cached / plain if plain and cached is not None else None


def _named(skill: str) -> str:
    return skill or "no skill"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"
