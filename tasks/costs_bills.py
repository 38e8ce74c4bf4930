"""What providers bill beside what was captured: each morning a job for each provider; balances every hour."""

from __future__ import annotations

from datetime import date
from typing import Any

from app import catalog, clock, jobs
from app.costs import bills
from app.costs.billing import prepaid
from tasks.base import JobContext, job

_READ_BALANCE = "tasks.costs.read_balance"


@job("tasks.costs.reconcile")
def reconcile(ctx: JobContext) -> None:
    """Submit the comparison of each provider whose bill is read."""
    with ctx.complete() as uow:
        bills.forget_gone(uow)
        bills.submit(uow)


@job(bills.RECONCILE, max_attempts=8)
def reconcile_provider(_ctx: JobContext, *, provider: str, since: str | None = None) -> dict[str, Any]:
    """Compare the last days of a provider, or those from a day on, with its bill."""
    now, states = clock.now(), dict[str, str]()
    with bills.told_once(provider, now):
        found = bills.reconcile(provider, now, since=None if since is None else date.fromisoformat(since))
        states = {bill.day.isoformat(): bill.state.value for bill in found}
    return {"days": states}


@job("tasks.costs.read_balances")
def read_balances(ctx: JobContext) -> None:
    """Submit the reading of each account that is paid in advance."""
    with ctx.complete() as uow:
        for name, provider in catalog.current().billing.enabled.items():
            if prepaid(provider) is not None:
                jobs.submit(uow, _READ_BALANCE, key=name, provider=name)


@job(_READ_BALANCE, max_attempts=4)
def read_balance(_ctx: JobContext, *, provider: str) -> None:
    """Write down what is left of an account."""
    now = clock.now()
    with bills.told_once(provider, now):
        bills.keep_balance(bills.configured(provider), now)
