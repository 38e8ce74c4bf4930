"""What a service does on a platform, as a task: call it, and report what it answered. For real workers."""

from __future__ import annotations

from functools import lru_cache

import httpx

from app.config import settings
from app.infra import adminkey
from app.jobs.worker import JobContext
from tasks.base import job


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    """One for the process: making one takes longer than a call."""
    return httpx.Client(timeout=5)


@job("tests.call_platform", published=True, allowed_queues=("high",))
def call_platform(
    ctx: JobContext, *, platform: str, account: str, what: str, operation: str, name: str
) -> dict[str, int]:
    """One call of the server at `platform`, and its outcome to the product.

    `operation` is the id it was admitted under, `name` what it is.
    """
    answer = _client().post(f"{platform}/{account}/{what}?operation={operation}")
    said = {key: value for key, value in answer.headers.items() if key.startswith("x-")}
    outcome = {"id": operation, "account": account, "operation": name, "status": answer.status_code, "headers": said}
    if answer.is_error:
        outcome["error"] = answer.json()["error"]
    config = settings()
    _client().post(
        f"http://127.0.0.1:{config.web_port}/api/v1/admissions/outcomes",
        json=outcome,
        headers={"X-API-Key": adminkey.load_or_create(config)},
    ).raise_for_status()
    return {"status": answer.status_code}
