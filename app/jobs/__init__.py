"""The durable ledger of work: what must happen is a row; Celery's messages only ring for it."""

from app.jobs.core import JobState, Priority
from app.jobs.service import Submission, submit, submit_many

__all__ = ["JobState", "Priority", "Submission", "submit", "submit_many"]
