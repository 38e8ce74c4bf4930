"""What a service does on a platform, as a task: call it, and report what it answered. For real workers."""

from __future__ import annotations

import os

import httpx

from app.config import settings
from app.infra import adminkey
from app.jobs.worker import JobContext
from tasks.base import job


@job("tests.call_platform", published=True, allowed_queues=("bulk",))
def call_platform(ctx: JobContext, *, account: str, what: str, operation: str, name: str) -> dict[str, int]:
    """One call, and its outcome to the product. `operation` is the id it was admitted under, `name` what it is."""
    answer = httpx.post(f"{os.environ['SMM_TEST_PLATFORM']}/{account}/{what}?operation={operation}", timeout=5)
    said = {key: value for key, value in answer.headers.items() if key.startswith("x-")}
    outcome = {"id": operation, "account": account, "operation": name, "status": answer.status_code, "headers": said}
    if answer.is_error:
        outcome["error"] = answer.json()["error"]
    config = settings()
    httpx.post(
        f"http://127.0.0.1:{config.web_port}/api/v1/admissions/outcomes",
        json=outcome,
        headers={"X-API-Key": adminkey.load_or_create(config)},
        timeout=5,
    ).raise_for_status()
    return {"status": answer.status_code}
