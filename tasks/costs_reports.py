"""Reports of days that are over: found every few minutes, each made by a job of its own."""

from __future__ import annotations

from datetime import date

from app import clock
from app.costs import report_schedule, reports
from tasks.base import JobContext, job


@job("tasks.costs.due_reports")
def due_reports(ctx: JobContext) -> None:
    """Submit the reports of tenants whose day is over."""
    with ctx.complete() as uow:
        report_schedule.submit_due(uow, clock.now())


@job(report_schedule.REPORT, max_attempts=5)
def report(ctx: JobContext, *, tenant: str, day: str) -> None:
    """Make and keep the report of a tenant's day ("": of all tenants); one that is kept already stays."""
    with ctx.complete() as uow:
        whose = None if tenant == report_schedule.EVERYBODY else tenant
        reports.show(uow, date.fromisoformat(day), whose, now=clock.now())
