"""Opportunities are found by rule, with savings that anybody can compute again; what is not worth it is not said."""

from __future__ import annotations

from dataclasses import replace

from app.costs.opportunities import FLOOR, MOST, Group, Repeats, find, money
from app.costs.pricing import Rates, Tier, Tokens, cost_micro_usd

M = 1_000_000
RATES = {
    ("anthropic", "claude-opus-4-6"): Rates(5 * M, 500_000, 6_250_000, 25 * M),
    ("anthropic", "claude-sonnet-4-5"): Rates(3 * M, 300_000, 3_750_000, 15 * M),
    ("anthropic", "claude-haiku-4-5"): Rates(1 * M, 100_000, 1_250_000, 5 * M),
    ("moonshotai", "kimi-k2.5"): Rates(600_000, 100_000, None, 3 * M),
    ("openai", "gpt-5"): Rates(1_250_000, 125_000, None, 10 * M),
    ("openai", "gpt-5-mini"): Rates(250_000, 25_000, None, 2 * M),
    ("local", "flat"): Rates(1 * M, None, None, 1 * M),
}
TIERS = {("anthropic", "claude-sonnet-4-5"): (Tier(200_001, Rates(6 * M, 600_000, 7_500_000, 22_500_000)),)}


def price(provider: str, model: str, tokens: Tokens) -> int | None:
    rates = RATES.get((provider, model))
    return None if rates is None else cost_micro_usd(rates, TIERS.get((provider, model), ()), tokens)


def calls(number: int, each: Tokens, model: str = "claude-opus-4-6", provider: str = "anthropic") -> Group:
    """So many calls of the content skill, all alike, at the price of the table."""
    cost = price(provider, model, each) or 0
    tokens = Tokens(*(count * number for count in each))
    return Group("content", provider, model, number, tokens, cost * number)


def kinds(*groups: Group) -> list[str]:
    return [item.kind for item in find(groups, (), price)]


def test_a_cheaper_model_is_named_with_what_the_same_tokens_would_have_cost() -> None:
    [found] = find([calls(1240, Tokens(900, 0, 0, 180))], (), price)
    # 1,240 x (900 x 5 + 180 x 25) and (900 x 0.6 + 180 x 3) dollars a million
    assert found.text == (
        "content: 1,240 calls to claude-opus-4-6 averaged 180 output tokens; kimi-k2.5 would have cost $1.34 instead of"
        " $11.16 (saves $9.82 a day)"
    )
    assert found.document() == {
        "kind": "cheaper_model",
        "skill": "content",
        "model": "claude-opus-4-6",
        "saving": 9.8208,
        "text": found.text,
        "calls": 1240,
        "cost": 11.16,
        "instead": {"provider": "moonshotai", "model": "kimi-k2.5", "cost": 1.3392},
        "average_input_tokens": 900,
        "average_output_tokens": 180,
    }


def test_long_answers_are_not_given_to_a_small_model() -> None:
    assert kinds(calls(500, Tokens(900, 0, 0, 6_000))) == []
    [found] = find([calls(500, Tokens(30_000, 20_000, 0, 1_000))], (), price)
    assert found.facts["instead"]["model"] == "kimi-k2.5"


def test_what_was_billed_counts_rather_than_what_the_table_says() -> None:
    assert kinds(replace(calls(1240, Tokens(900, 0, 0, 180)), cost=1_400_000)) == []


def test_calls_that_told_no_tokens_would_not_cost_nothing_elsewhere() -> None:
    told = calls(1240, Tokens(900, 0, 0, 180))
    assert kinds(replace(told, tokens=Tokens())) == []
    [found] = find([told, replace(told, tokens=Tokens(), cost=90 * M)], (), price)
    assert (found.facts["calls"], found.facts["cost"]) == (1240, 11.16)


def test_a_model_without_a_price_is_left_alone() -> None:
    unknown = Group("content", "nobody", "claude-opus-9", 5_000, Tokens(5_000_000, 0, 0, 900_000), 50 * M)
    assert [item.facts["instead"]["model"] for item in find([unknown], (), price)] == ["kimi-k2.5"]
    assert kinds(replace(unknown, model="what-is-this")) == []


def test_prompts_that_were_repeated_cost_what_a_cache_would_save() -> None:
    [found] = find((), [Repeats("intel", "gpt-5", 310, 2_100_000)], price)
    assert found.text == (
        "intel: 310 calls to gpt-5 repeated a prompt of the same hour word for word; a cache of answers would have"
        " saved $2.10"
    )
    assert (found.kind, found.saving) == ("repeated_prompts", 2_100_000)


def test_huge_inputs_for_tiny_answers_are_halved_by_the_providers_cache() -> None:
    huge = replace(calls(100, Tokens(40_000, 0, 0, 100), "gpt-5", "openai"), lopsided=True)
    found = {item.kind: item for item in find([huge], (), price)}
    # Half of 40,000 tokens at 0.125 instead of 1.25 dollars a million, a hundred times.
    assert found["huge_inputs"].saving == 100 * 20_000 * 1_125_000 // M
    assert "sent 40,000 tokens on average for 100 of answer; reading half of it from the" in found["huge_inputs"].text
    assert "low_cache_share" not in found


def test_where_the_cache_costs_the_same_the_half_is_not_sent() -> None:
    huge = replace(calls(100, Tokens(40_000, 0, 0, 100), "flat", "local"), lopsided=True)
    [found] = find([huge], (), price)
    assert found.saving == 2_000_000
    assert found.text.endswith("sending half of it would have saved $2.00")


def test_failed_calls_that_were_paid_for_are_told_with_their_outcomes() -> None:
    one = calls(30, Tokens(2_000, 0, 0, 900), "gpt-5", "openai")
    failed = [replace(one, outcome="timeout"), replace(one, outcome="error", calls=5, cost=57_500)]
    [found] = find(failed, (), price)
    assert found.text == "content: 35 calls to gpt-5 failed and were paid for (30 timeout, 5 error): $0.40"


def test_a_low_share_of_the_cache_is_told_where_it_is_far_cheaper() -> None:
    group = calls(900, Tokens(4_000, 160, 0, 2_000))
    [found] = find([group], (), price)
    assert found.kind == "low_cache_share"
    # From 160 to 2,000 cached tokens a call, each 4.50 dollars a million cheaper.
    assert found.saving == 900 * 1_840 * 4_500_000 // M
    assert (
        "4 % of the input of 900 calls to claude-opus-4-6 came from the provider's cache, where a token costs 10 %"
        in (found.text)
    )
    assert kinds(calls(900, Tokens(4_000, 1_000, 0, 2_000))) == []
    assert kinds(calls(900, Tokens(900, 0, 0, 2_000))) == []
    assert kinds(calls(3, Tokens(400_000, 0, 0, 2_000))) == []


def test_a_tier_that_some_calls_reach_is_counted_for_those_only() -> None:
    short = calls(100, Tokens(10_000, 6_000, 0, 2_000), "claude-sonnet-4-5")
    long = calls(100, Tokens(300_000, 0, 0, 4_000), "claude-sonnet-4-5")
    [found] = find([short, long], (), price)
    assert found.kind == "low_cache_share"
    # The short ones are fairly cached as they are; half of the long ones' input saves 5.40 dollars a million.
    assert found.saving == 100 * 150_000 * 5_400_000 // M


def test_cents_are_not_worth_a_word_and_only_the_largest_are_told() -> None:
    assert find((), [Repeats("a", "gpt-5", 2, FLOOR - 1)], price) == []
    many = find((), [Repeats(f"skill{place}", "gpt-5", 2, FLOOR + place) for place in range(40)], price)
    assert len(many) == MOST
    assert many[0].skill == "skill39"


def test_money_below_a_cent_is_still_seen() -> None:
    assert [money(amount) for amount in (41_000_000, 1_234_567_890, 4_200, 0)] == [
        "$41.00",
        "$1,234.57",
        "$0.0042",
        "$0.00",
    ]
