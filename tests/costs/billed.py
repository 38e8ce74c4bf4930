"""Providers that tell what they bill, as their documentation says: paged answers by UTC day, and balances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from app.catalog import Provider
from tests.fixtures.answering import Asked, Reply

KEY = "sk-admin-5ecretW0rd-of-the-bills"
DAY = timedelta(days=1)

OPENAI_COSTS = "GET /v1/organization/costs"
COMPLETIONS, EMBEDDINGS = "GET /v1/organization/usage/completions", "GET /v1/organization/usage/embeddings"
ANTHROPIC_COSTS, MESSAGES = "GET /v1/organizations/cost_report", "GET /v1/organizations/usage_report/messages"
BALANCE = "GET /v1/users/me/balance"


def provider(billing: str, url: str, **more: Any) -> Provider:
    """A table of the catalogue, of a provider that is named as its way of billing."""
    given = {"name": billing, "billing": billing, "key": KEY, "base_url": url, "timeout": 2}
    return Provider.model_validate({**given, **more})


def table(billing: str, url: str, *lines: str) -> str:
    """The same as TOML."""
    return "\n".join(
        [f"[providers.{billing}]", f'billing = "{billing}"', f'key = "{KEY}"', f'base_url = "{url}"', *lines, ""]
    )


@dataclass
class Account:
    """What a provider knows: dollars and tokens (input, cached, output) by day. `page` buckets at a time."""

    dollars: dict[date, Any] = field(default_factory=dict)
    tokens: dict[date, tuple[int, int, int]] = field(default_factory=dict)
    currency: str = "usd"
    page: int = 31

    def openai(self) -> dict[str, Callable[[Asked], Reply]]:
        return {
            OPENAI_COSTS: self._answering(_seconds, self._openai_cost),
            COMPLETIONS: self._answering(_seconds, self._completions),
            EMBEDDINGS: self._answering(_seconds, lambda _day: []),
        }

    def anthropic(self) -> dict[str, Callable[[Asked], Reply]]:
        return {
            ANTHROPIC_COSTS: self._answering(_times, self._cents),
            MESSAGES: self._answering(_times, self._messages),
        }

    def _answering(self, edges: Callable[[date], Mapping[str, Any]], results: Any) -> Callable[[Asked], Reply]:
        def answer(asked: Asked) -> Reply:
            first, last = _span(asked)
            wanted = [first + place * DAY for place in range((last - first).days)]
            start = int(asked.query.get("page", "page_0").removeprefix("page_"))
            until = start + min(self.page, int(asked.query["limit"]))
            more = until < len(wanted)
            buckets = [{**edges(day), "results": results(day)} for day in wanted[start:until]]
            return Reply(body={"data": buckets, "has_more": more, "next_page": f"page_{until}" if more else None})

        return answer

    def _openai_cost(self, day: date) -> Sequence[object]:
        if day not in self.dollars:
            return []
        return [
            {"object": "organization.costs.result", "amount": {"value": self.dollars[day], "currency": self.currency}}
        ]

    def _cents(self, day: date) -> Sequence[object]:
        cents = f"{self.dollars.get(day, 0) * 100:.6f}"
        return [{"amount": cents, "currency": self.currency.upper(), "cost_type": None, "model": None}]

    def _completions(self, day: date) -> Sequence[object]:
        sent, cached, answered = self.tokens.get(day, (0, 0, 0))
        return [{"input_tokens": sent, "input_cached_tokens": cached, "output_tokens": answered, "model": None}]

    def _messages(self, day: date) -> Sequence[object]:
        sent, cached, answered = self.tokens.get(day, (0, 0, 0))
        standard = {
            "uncached_input_tokens": sent - cached - 30,
            "cache_creation": {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 20},
            "cache_read_input_tokens": cached,
            "output_tokens": answered,
            "server_tool_use": {"web_search_requests": 1},
            "service_tier": "standard",
        }
        return [standard] if sent else []


def _seconds(day: date) -> Mapping[str, Any]:
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400}


def _times(day: date) -> Mapping[str, Any]:
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + DAY}T00:00:00Z"}


def _span(asked: Asked) -> tuple[date, date]:
    if "start_time" in asked.query:
        first, last = (datetime.fromtimestamp(int(asked.query[name]), UTC) for name in ("start_time", "end_time"))
    else:
        first, last = (datetime.fromisoformat(asked.query[name]) for name in ("starting_at", "ending_at"))
    return first.date(), last.date()


def balance(cash: float, voucher: float = 0.0) -> Reply:
    """As Moonshot answers: what is available leaves a debt out."""
    data = {"available_balance": voucher + max(cash, 0), "voucher_balance": voucher, "cash_balance": cash}
    return Reply(body={"code": 0, "data": data, "scode": "0x0", "status": True})
