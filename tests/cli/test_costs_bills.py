"""`smm-admin costs reconcile`, `bills`, `bill import`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from app import clock
from tests.cli.conftest import Ran
from tests.costs.billed import KEY, Account, table
from tests.costs.spent import call, spent
from tests.fixtures.answering import Answering, answering
from tests.health.catalogs import use

TODAY = clock.now().date()
DAYS = [TODAY - timedelta(days=back) for back in (5, 4, 3)]


@pytest.fixture
def server(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """OpenAI, that bills more than was captured on the last of the days; and somebody who is not there."""
    spent(
        [call(datetime.combine(day, time(12), UTC), cost_micro_usd=9_000_000) for day in [TODAY - timedelta(6), *DAYS]]
    )
    known = Account({DAYS[0]: 9, DAYS[1]: 9, DAYS[2]: 10}, dict.fromkeys(DAYS, (100, 40, 10)))
    with answering(known.openai()) as running:
        dead = table("moonshot", "http://127.0.0.1:1")
        use(monkeypatch, home, "[services.x]\nkind = 'disk'\npath = '/'\n" + table("openai", running.url) + dead)
        yield running


def test_bills_are_compared_now_and_listed(server: Answering, smm: Callable[..., Ran]) -> None:
    assert smm("costs", "bills").out == "no day was compared yet\n"
    assert smm("costs", "bills", "--state", "differs").out == "no such day was compared\n"
    ran = smm("costs", "reconcile", "--provider", "openai", "--since", str(DAYS[0]))
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == ["DAY", "PROVIDER", "CAPTURED", "BILLED", "%", "TOKENS", "OF", "STATE", "WHY"]
    assert lines[1].split() == [str(DAYS[0]), "openai", "$9.00", "$9.00", "+0.0", "110", "110", "agrees", "-"]
    assert lines[3].split()[:8] == [str(DAYS[2]), "openai", "$9.00", "$10.00", "-10.0", "110", "110", "differs"]
    assert "tokens agree, prices do not" in lines[3]
    listed = smm("costs", "bills", "--state", "differs", "--json").json["bills"]
    assert [(one["day"], one["billed"], one["percent"]) for one in listed] == [(str(DAYS[2]), 10.0, -10.0)]
    assert KEY not in smm("config", "show").out + smm("config", "show", "--json").out


def test_a_provider_that_fails_does_not_hold_back_the_others(server: Answering, smm: Callable[..., Ran]) -> None:
    ran = smm("costs", "reconcile")
    assert ran.code == 1
    assert len(ran.out.splitlines()) >= 6
    assert ran.err == "moonshot: http://127.0.0.1:1: connection refused\n"
    for words, said in (
        (("reconcile", "--provider", "opnai"), 'no bill is read of opnai (did you mean "openai"?)'),
        (("reconcile", "--since", "soon"), "since: is no date"),
    ):
        refused = smm("costs", *words)
        assert refused.code in (1, 2)
        assert said in refused.err


def test_a_file_is_taken_whole_or_not_at_all(server: Answering, smm: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "bill.csv"
    file.write_text(f"date,amount\n{DAYS[0]},1,2\n{DAYS[1]},x\n")
    words = ("costs", "bill", "import", str(file), "--provider", "moonshotai")
    refused = smm(*words)
    assert refused.code == 2
    assert "(line 2): must have 2 values" in refused.err
    assert "amount (line 3): must be a plain number" in refused.err
    file.write_text(f"date,amount\n{DAYS[0]},0.50\n")
    assert [line.split()[:8] for line in smm(*words).out.splitlines()[1:]] == [
        [str(DAYS[0]), "moonshot", "$0.00", "$0.50", "-100.0", "0", "-", "differs"]
    ]
    assert "cannot be read" in smm(*words[:3], str(tmp_path / "none"), *words[4:]).err
