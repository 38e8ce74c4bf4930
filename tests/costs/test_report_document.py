"""The keys of the end-of-day summary are a contract; its text and its page say the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.costs.report_document import document
from app.costs.report_html import POLICY, html
from app.costs.report_text import brief, text
from app.costs.sums import Row, Sums
from tests.costs.reported import KIMI, MADE, OPUS, SINCE, TEXT, facts

CONTRACT: dict[str, Any] = {
    "date": "2026-11-20",
    "total_cost": 12.345678,
    "budget": 15.0,
    "percentage_used": 82.3,
    "breakdown_by_model": {
        "claude-opus-4-6": {"calls": 1240, "cost": 9.5, "percentage": 76.95},
        "kimi-k2.5": {"calls": 400, "cost": 2.845678, "percentage": 23.05},
    },
    "breakdown_by_skill": {"content": 9.5, "": 2.845678},
    "optimization_opportunities": [TEXT],
}
MORE = {
    "tenant": "acme",
    "timezone": "Asia/Kolkata",
    "since": "2026-11-19T18:30:00.000Z",
    "until": "2026-11-20T18:30:00.000Z",
    "made_at": "2026-11-20T18:40:00.000Z",
    "is_over": True,
    "calls": 1640,
    "unpriced_calls": 3,
    "failed_calls": 12,
    "failed_percentage": 0.73,
    "average_latency_ms": 740,
    "tokens": {"input": 1_916_000, "cached": 300_000, "cache_write": 0, "output": 313_200},
    "by_hour": [
        {"at": "2026-11-19T18:30:00.000Z", "calls": 400, "cost": 2.845678},
        {"at": "2026-11-20T04:00:00.000Z", "calls": 1240, "cost": 9.5},
    ],
    "budgets": [
        {
            "name": "tenant_month",
            "scope": "tenant",
            "subject": "tenant:acme",
            "period": "month",
            "since": "2026-10-31T18:30:00.000Z",
            "until": "2026-11-30T18:30:00.000Z",
            "spent": 61.23,
            "amount": 100.0,
            "percentage": 61.23,
        }
    ],
}


def test_the_keys_of_the_contract_come_first_and_in_their_order() -> None:
    made = document(facts())
    assert json.dumps(dict(list(made.items())[: len(CONTRACT)])) == json.dumps(CONTRACT)
    assert dict(list(made.items())[len(CONTRACT) : len(CONTRACT) + len(MORE)]) == MORE
    assert list(made)[len(CONTRACT) + len(MORE) :] == [
        "high_cost_operations",
        "projection",
        "anomalies",
        "by_tenant",
        "by_user",
        "by_agent",
        "by_department",
        "opportunities",
    ]


def test_the_dearest_work_is_told_by_call_and_by_pair() -> None:
    dear = document(facts())["high_cost_operations"]
    assert dear["skill_models"] == [
        {
            "skill": "content",
            "model": "claude-opus-4-6",
            "calls": 1240,
            "cost": 9.5,
            "percentage": 76.95,
            "cost_per_call": 0.007661,
        },
        {
            "skill": "",
            "model": "kimi-k2.5",
            "calls": 397,
            "cost": 2.845678,
            "percentage": 23.05,
            "cost_per_call": 0.007168,
        },
    ]
    assert [(row["at"], row["user"], row["cost"]) for row in dear["calls"]] == [
        ("2026-11-20T04:30:00.000Z", "ann", 0.55)
    ]


def test_a_model_of_two_providers_is_named_with_its_provider() -> None:
    rows = (Row("anthropic/claude-opus-4-6", OPUS), Row("aws/claude-opus-4-6", KIMI), Row("a/b/c", Sums()))
    assert list(document(facts(models=rows))["breakdown_by_model"]) == [
        "anthropic/claude-opus-4-6",
        "aws/claude-opus-4-6",
        "b/c",
    ]


def test_a_day_without_calls_and_without_a_budget_is_a_document_too() -> None:
    made = document(
        facts(
            total=Sums(),
            budget=None,
            projection=None,
            opportunities=(),
            **dict.fromkeys(
                ("models", "skills", "users", "agents", "departments", "hours", "budgets", "anomalies"), ()
            ),
        )
    )
    assert (made["total_cost"], made["budget"], made["percentage_used"], made["failed_percentage"]) == (
        0,
        None,
        None,
        0,
    )
    assert text(made).startswith("Costs of acme on 2026-11-20 (Asia/Kolkata)\n")
    assert "0.00" in html(made)
    assert brief(made) == "Costs of acme on 2026-11-20: $0.00."


def test_the_text_reads_like_a_summary() -> None:
    said = text(document(facts()))
    assert said.startswith(
        "Costs of acme on 2026-11-20 (Asia/Kolkata)\n"
        "==========================================\n"
        "Spent      $12.35 of $15.00 (82.3 %)\n"
        "           [########################------]\n"
        "Calls      1,640, 0.73 % failed, 3 of unknown cost, 740 ms each\n"
        "Tokens     1,916,000 in (300,000 of them cached), 313,200 out\n"
        "Month      The month has cost $61.23 and will end at $95.50 ($90.00 to $101.25)\n"
        "\n"
        "Models\n"
        "  claude-opus-4-6  1,240 calls  $9.50  77.0 %\n"
        "  kimi-k2.5          400 calls  $2.85  23.0 %\n"
    )
    assert "\nSkills\n  content    $9.50  77.0 %\n  (no name)  $2.85  23.0 %\n" in said
    assert "  09:30 content with anthropic/claude-opus-4-6  $9.50 instead of $0.40  volume\n" in said
    assert said.endswith(f"What could cost less\n  - {TEXT}\n")


def test_a_day_that_is_not_over_says_so() -> None:
    made = document(facts(made_at=SINCE.replace(hour=21, minute=0)))
    assert made["is_over"] is False
    assert "so far, as of 02:30\n" in text(made)
    assert "so far: as of 02:30" in html(made)
    assert MADE > SINCE


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=y>'])
def test_the_page_needs_nothing_else_and_runs_nothing(name: str) -> None:
    page = html(document(facts(tenant=name, skills=(Row(name, OPUS),))))
    assert name not in page
    assert not re.search(r"<script|<img|<link|<iframe|\bstyle=|\bon\w+=\"|https?://", page)
    assert page.count("<style>") == 1
    assert page.count("<svg") > 3
    assert "style-src 'sha256-" in POLICY


def test_hours_are_drawn_where_they_were_in_the_day() -> None:
    page = html(document(facts()))
    hours = page.partition('class="hours"')[2].partition("</svg>")[0]
    assert re.findall(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', hours) == [
        ("1.0", "84.1", "10.5"),
        ("238.5", "0.0", "23.0"),
    ]
    assert "<title>09:30: $9.50, 1,240 calls</title>" in hours
