"""Bills as files: all of them or nothing, and every line that is wrong is named."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from app.costs.bill_import import read
from app.errors import Invalid
from tests.costs.billed import provider

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)


def taken(text: str | bytes, **more: object) -> dict[date, int]:
    raw = text if isinstance(text, bytes) else text.encode()
    return read(raw, provider("moonshot", "http://127.0.0.1", **more), NOW)


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as caught:
        taken(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_day_a_line_is_taken_in_any_currency_that_has_a_rate() -> None:
    assert taken("\ufeffdate,amount\r\n2026-11-10,12.50\r\n\r\n2026-11-11,0\r\n".encode()) == {
        date(2026, 11, 10): 12_500_000,
        date(2026, 11, 11): 0,
    }
    mixed = "date,amount,currency\n2026-11-10,100,CNY\n2026-11-11,1,USD\n2026-11-12,1,\n"
    assert list(taken(mixed, rates={"CNY": 0.14}).values()) == [14_000_000, 1_000_000, 1_000_000]
    assert list(taken("date,amount\n2026-11-10,100\n", currency="CNY", rates={"CNY": 0.14}).values()) == [14_000_000]


def test_every_line_that_is_wrong_is_named_at_once() -> None:
    lines = (
        "date,amount,currency",
        "2026-11-10,12.5,USD",
        "10.11.2026,12.5,USD",
        "2026-11-10,1,USD",
        "2026-11-20,1,USD",
        "2026-02-30,1,USD",
        "2026-11-11,-1,USD",
        '2026-11-12,"1,5",USD',
        "2026-11-13,1e3,usd",
        "2026-11-14,2000000000,USD",
        "2026-11-15,1,EUR",
        "2026-11-16,1",
        "2026-11-17,٣,USD",
    )
    assert [problem.partition(":")[0] for problem in refused("\n".join(lines))] == [
        "date (line 3)",
        "date (line 4)",
        "date (line 5)",
        "date (line 6)",
        "amount (line 7)",
        "amount (line 8)",
        "amount (line 9)",
        "currency (line 9)",
        "amount (line 10)",
        "currency (line 11)",
        "(line 12)",
        "amount (line 13)",
    ]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "must begin with a line"),
        (b"day,amount\n", "must begin with a line"),
        (b"date,amount\n", "holds no day"),
        (b"\xff\xfe", "is no CSV in UTF-8"),
        (b'date,amount\n"2026', "is no CSV in UTF-8"),
        (b"x" * 1_048_577, "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_none_is_refused(raw: bytes, said: str) -> None:
    [problem] = refused(raw)
    assert said in problem
