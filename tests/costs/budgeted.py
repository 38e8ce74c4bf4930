"""A house with budgets, and a test that spends money, lets time pass and is the worker."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.costs import budgets as changing
from app.costs import verdict
from app.infra import ids
from app.infra.db import unit_of_work
from app.jobs import spec, worker
from app.limits import budgets, crossings, rebuild, spending
from app.limits.spending import Spent, Who
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

BUDGETS = """
[services.redis]
kind = "redis"

[tenants.delhi]
timezone = "Asia/Kolkata"

[budgets.tenant_month]
scope = "tenant"
period = "month"
amount = 10

[budgets.house_month]
scope = "global"
period = "month"
amount = 1000
"""

ACME = Who(tenant="acme")
CENT, DOLLAR = 10_000, 1_000_000
BACKGROUND, NORMAL, CRITICAL = 3, 2, 0


class House:
    """What happens to budgets, and what is told of it."""

    def __init__(self, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sql = ledger.sql
        self._home, self._monkeypatch = home, monkeypatch

    def catalogue(self, text: str) -> None:
        """From now on this is the file."""
        use(self._monkeypatch, self._home, text)

    def spend(self, dollars: float, who: Who = ACME) -> None:
        """One call of that cost, and what the limiter noted of it is told."""
        call = Spent(str(ids.uuid7()), round(dollars * DOLLAR), clock.now().timestamp(), who)
        spending.record([call], b"")
        crossings.tell(wait=True)

    def set(self, name: str, amount: float, **more: Any) -> None:
        """Somebody sets an amount, in a transaction of its own."""
        given = {"by": "person:ann", "reason": "agreed with finance", **more}
        with unit_of_work() as uow:
            changing.change_amount(uow, name, amount, **given)

    def keep(self) -> None:
        """What happens each minute."""
        with unit_of_work() as uow:
            changing.keep(uow)

    def verdict(self, who: Who = ACME, rank: int = BACKGROUND, *, estimate: int = 0) -> verdict.Verdict:
        return verdict.of(who, rank, estimate)

    def signals(self, kind: str = "costs.budget_%") -> list[Any]:
        query = "SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE :kind ORDER BY id"
        return list(self.sql(query, kind=kind))

    def told(self) -> list[str]:
        """The kind's last word of each signal of a budget, and the threshold."""
        return [
            f"{row.kind.removeprefix('costs.budget_')} {row.labels.get('threshold', '')}".strip()
            for row in self.signals()
        ]

    def rows(self) -> list[tuple[int, bool]]:
        """Each threshold that was reached, and whether it still is."""
        query = "SELECT per_mille, ended_at FROM budget_crossings ORDER BY start_at, amount_micro_usd, per_mille"
        return [(row.per_mille, row.ended_at is None) for row in self.sql(query)]

    def work(self) -> None:
        """Run the jobs that budgets give to admission, in the order in which they were given."""
        query = "SELECT id FROM jobs WHERE task = 'tasks.admission.on_budget' ORDER BY created_at, id"
        for row in self.sql(query):
            self.sql("UPDATE jobs SET state = 'rung' WHERE id = :id AND state = 'scheduled'", id=row.id)
            claimed = worker.claim(row.id, worker="the-test")
            assert claimed is not None
            body = getattr(importlib.import_module("tasks.admission"), claimed.task.rpartition(".")[2])
            worker.run(claimed, spec.get(claimed.task), body)


@pytest.fixture
def house(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Nothing is spent yet."""
    made = House(ledger, home, monkeypatch)
    made.catalogue(BUDGETS)
    while not rebuild.fill():
        pass
    yield made
    budgets.configure(budgets.Changes)
