"""A day as a report is made of it, without a database: the client Acme in India, on the day before a month's end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from app.costs.opportunities import Group, Opportunity
from app.costs.pricing import Tokens
from app.costs.report_calls import CallFacts
from app.costs.report_document import BudgetUsed, Facts
from app.costs.sums import Row, Sums, period_of

DAY = date(2026, 11, 20)
ZONE = "Asia/Kolkata"
SINCE, UNTIL = period_of(DAY, ZONE)
MADE = UNTIL + timedelta(minutes=10)
OPUS = Sums(1240, 0, 12, 1_116_000, 300_000, 0, 223_200, 9_500_000, 900_000)
KIMI = Sums(400, 3, 0, 800_000, 0, 0, 90_000, 2_845_678, 300_000)
TEXT = "content: 1,240 calls to claude-opus-4-6 averaged 180 output tokens; kimi-k2.5 would have cost $1.34"


def facts(**more: object) -> Facts:
    """All there is to say about a day; `more` instead of some of it."""
    given: dict[str, object] = {
        "day": DAY,
        "tenant": "acme",
        "timezone": ZONE,
        "since": SINCE,
        "until": UNTIL,
        "made_at": MADE,
        "total": Sums(1640, 3, 12, 1_916_000, 300_000, 0, 313_200, 12_345_678, 1_200_000),
        "budget": 15_000_000,
        "models": (Row("anthropic/claude-opus-4-6", OPUS), Row("moonshotai/kimi-k2.5", KIMI)),
        "skills": (Row("content", OPUS), Row("", KIMI)),
        "users": (Row("ann", OPUS), Row("", KIMI)),
        "agents": (Row("writer", OPUS),),
        "departments": (Row("marketing", OPUS),),
        "hours": (Row("", KIMI, SINCE), Row("", OPUS, SINCE + timedelta(hours=9, minutes=30))),
        "budgets": (
            BudgetUsed(
                "tenant_month",
                "tenant",
                "tenant:acme",
                "month",
                100_000_000,
                61_230_000,
                datetime(2026, 10, 31, 18, 30, tzinfo=UTC),
                datetime(2026, 11, 30, 18, 30, tzinfo=UTC),
            ),
        ),
        "calls": CallFacts(
            groups=(
                Group("content", "anthropic", "claude-opus-4-6", 1228, Tokens(1, 0, 0, 1), 9_400_000),
                Group("content", "anthropic", "claude-opus-4-6", 12, Tokens(1, 0, 0, 1), 100_000, "error"),
                Group("", "moonshotai", "kimi-k2.5", 397, Tokens(1, 0, 0, 1), 2_845_678),
            ),
            dearest=(
                {
                    "id": "01983c5e-7f00-7000-8000-000000000001",
                    "at": SINCE + timedelta(hours=10),
                    "tenant": "acme",
                    "skill": "content",
                    "agent": "writer",
                    "user_id": "ann",
                    "provider": "anthropic",
                    "model": "claude-opus-4-6",
                    "input_tokens": 90_000,
                    "output_tokens": 4_000,
                    "cost_micro_usd": 550_000,
                    "outcome": "ok",
                },
            ),
            latency_ms=740,
        ),
        "opportunities": (
            Opportunity("cheaper_model", "content", "claude-opus-4-6", 8_160_000, TEXT, {"calls": 1240}),
        ),
        "anomalies": (
            {
                "hour": SINCE + timedelta(hours=9, minutes=30),
                "tenant": "acme",
                "model": "anthropic/claude-opus-4-6",
                "skill": "content",
                "expected_micro_usd": 400_000,
                "actual_micro_usd": 9_500_000,
                "cause": "volume",
            },
        ),
        "projection": {
            "period": "month",
            "since": "2026-10-31T18:30:00.000Z",
            "until": "2026-11-30T18:30:00.000Z",
            "spent": 61.23,
            "projected": 95.5,
            "low": 90.0,
            "high": 101.25,
            "is_rough": False,
        },
    }
    return Facts(**(given | more))  # type: ignore[arg-type]
