"""Why an hour cost more than it usually does: more calls, more tokens a call, a higher price, or another mix. Pure.

The parts add up to the difference, to the millionth of a dollar. What is a product of three factors, calls × tokens a
call × price of a token, is split as Shapley's value has it: each factor's change, averaged over all orders in which the
three could have changed. Calls that a model gained while its siblings lost as many came over from them; the others are
volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import permutations
from typing import NamedTuple


class Cause(StrEnum):
    """`MIX_MODELS`: calls came over from other models of the skill; `MIX_SKILLS`: from other skills of the tenant."""

    VOLUME = "volume"
    TOKENS = "tokens"
    PRICE = "price"
    MIX_MODELS = "mix_models"
    MIX_SKILLS = "mix_skills"


class Figures(NamedTuple):
    """Of a place's hour: calls, their tokens in and out, and millionths of a dollar."""

    calls: float = 0.0
    tokens: float = 0.0
    cost: float = 0.0

    def times(self, share: float) -> Figures:
        """Of that share of the hour."""
        return Figures(self.calls * share, self.tokens * share, self.cost * share)


@dataclass(frozen=True, slots=True)
class Siblings:
    """Calls of the same hour elsewhere: usual, and now. `models`: other models of the skill; `skills`: other skills."""

    models: tuple[float, float] = (0.0, 0.0)
    skills: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Split:
    """Millionths of a dollar by cause, which add up to the difference; and the main cause, in words."""

    parts: dict[Cause, int]
    main: Cause
    words: str

    @property
    def label(self) -> str:
        """volume, tokens, price or mix."""
        return self.main.value.partition("_")[0]


def split(usual: Figures, actual: Figures, siblings: Siblings | None = None) -> Split:
    """Of `actual` minus `usual`, each rounded to whole millionths."""
    difference = round(actual.cost) - round(usual.cost)
    calls, tokens, price = _shapley(_factors(usual, actual), _factors(actual, usual))
    gained = actual.calls - usual.calls
    models, skills = _moved(gained, siblings or Siblings())
    of_calls = calls / gained if gained > 0 else 0.0
    parts = {
        Cause.VOLUME: 0,
        Cause.TOKENS: round(tokens),
        Cause.PRICE: round(price),
        Cause.MIX_MODELS: round(of_calls * models),
        Cause.MIX_SKILLS: round(of_calls * skills),
    }
    parts[Cause.VOLUME] = difference - sum(parts.values())
    main = max(parts, key=lambda cause: parts[cause] if difference >= 0 else -parts[cause])
    return Split(parts, main, _words(main, usual, actual))


def _factors(of: Figures, other: Figures) -> tuple[float, float, float]:
    """Calls, tokens a call, price of a token. Where one is not defined it is what it is on the other side."""
    calls = of.calls
    tokens = _ratio(of.tokens, of.calls) or _ratio(other.tokens, other.calls) or 1.0
    price = _ratio(of.cost, calls * tokens)
    if price is None:
        their_tokens = _ratio(other.tokens, other.calls) or tokens
        price = _ratio(other.cost, other.calls * their_tokens) or 0.0
    return calls, tokens, price


def _ratio(above: float, below: float) -> float | None:
    return above / below if below > 0 else None


def _shapley(old: tuple[float, float, float], new: tuple[float, float, float]) -> tuple[float, float, float]:
    """How much of the change of the product each factor makes."""
    parts = [0.0, 0.0, 0.0]
    orders = list(permutations(range(3)))
    for order in orders:
        values = list(old)
        before = values[0] * values[1] * values[2]
        for place in order:
            values[place] = new[place]
            after = values[0] * values[1] * values[2]
            parts[place] += (after - before) / len(orders)
            before = after
    return parts[0], parts[1], parts[2]


def _moved(gained: float, siblings: Siblings) -> tuple[float, float]:
    """Of the calls gained, those that other models of the skill lost; and of the rest, those that other skills lost."""
    models = max(0.0, min(gained, siblings.models[0] - siblings.models[1]))
    return models, max(0.0, min(gained - models, siblings.skills[0] - siblings.skills[1]))


def _calls(number: float) -> str:
    return "1 call" if round(number) == 1 else f"{number:,.0f} calls"


def _words(main: Cause, usual: Figures, actual: Figures) -> str:
    match main:
        case Cause.VOLUME:
            if usual.calls < 1:
                return f"volume: {_calls(actual.calls)} where there are hardly any"
            return f"volume: {_times(actual.calls, usual.calls)} the usual calls"
        case Cause.TOKENS:
            each, was = _ratio(actual.tokens, actual.calls), _ratio(usual.tokens, usual.calls)
            return f"tokens: {_times(each or 0.0, was or 0.0)} the usual tokens a call"
        case Cause.PRICE:
            each, was = _ratio(actual.cost, actual.tokens), _ratio(usual.cost, usual.tokens)
            if each is None or was is None:
                each, was = _ratio(actual.cost, actual.calls), _ratio(usual.cost, usual.calls)
                return f"price: {_times(each or 0.0, was or 0.0)} the usual price of a call"
            return f"price: {_times(each, was)} the usual price of a token"
        case Cause.MIX_MODELS:
            return "mix: calls came over from other models of the skill"
        case Cause.MIX_SKILLS:
            return "mix: calls came over from other skills of the tenant"


def _times(now: float, was: float) -> str:
    if was <= 0:
        return "more than"
    times = now / was
    return f"{times:,.0f} times" if times >= 9.95 else f"{times:.1f} times"
