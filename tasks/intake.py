"""Jobs asked for over the broker: a row keyed by the message's id, so a redelivery adds nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import Reject

from app import signals
from app.errors import Invalid, Transient
from app.infra.db import unit_of_work
from app.infra.logging import get_logger
from app.jobs import intake
from tasks.base import envelope

NAME = "tasks.intake.submit"
CALLER = "celery"
_PAUSE_SECONDS = 1.0

log = get_logger(__name__)


@contextmanager
def from_outside(message_id: str) -> Iterator[None]:
    """What a message asks for is done, put back while the ledger is away, or recorded as what cannot be done."""
    try:
        yield
    except Invalid as error:
        facts = {"message": message_id, "problems": [str(problem) for problem in error.problems]}
        with unit_of_work() as uow:
            signals.record(uow, "intake.rejected", "intake:celery", facts=facts)
        raise
    except Transient as error:
        log.warning("message put back: the ledger does not answer", message=message_id, error=str(error))
        time.sleep(_PAUSE_SECONDS)  # nothing else could run here either, and an empty loop would only burn
        raise Reject(reason="the ledger does not answer", requeue=True) from None


@envelope(NAME)
def submit(message: Any, /, **body: Any) -> None:
    """Write one job. While Postgres is away the message goes back to the queue; what cannot be a job is recorded."""
    message_id = str(message.request.id)
    with from_outside(message_id):
        request = intake.parse(body)
        with unit_of_work() as uow:
            intake.accept(uow, request, caller=CALLER, idempotency_key=message_id, body_hash=intake.body_hash(body))
