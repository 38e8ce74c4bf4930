"""Flower tells the truth: what it shows of an attempt is what happened, and it shows no secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.config import settings
from app.infra import adminkey, ids, queue
from tests.fixtures.stack import Stack, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def flower_listens(stack: Stack) -> None:
    """A test before this one may have killed it; the supervisor starts it again."""
    eventually(lambda: ask(stack, "/healthcheck", auth=False).status_code == 200, within=40, what="Flower listens")


def ask(stack: Stack, path: str, *, auth: bool = True) -> httpx.Response:
    credentials = ("admin", adminkey.load_or_create(settings())) if auth else None
    return httpx.get(f"http://127.0.0.1:{stack.flower_port}{path}", auth=credentials, timeout=10, verify=False)


def shown(stack: Stack, job_id: Any, state: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        info: dict[str, Any] = ask(stack, f"/api/task/info/{job_id}").json()
        return info if info["state"] == state else None

    answer: dict[str, Any] = eventually(found, within=30, what=f"Flower shows {job_id} as {state}")
    return answer


def test_nothing_is_shown_without_a_password(stack: Stack) -> None:
    assert ask(stack, "/api/workers", auth=False).status_code == 401
    assert ask(stack, "/tasks", auth=False).status_code == 401


def test_a_retried_attempt_shows_as_retried_and_its_success_as_success(stack: Stack) -> None:
    job_id = stack.submit("tests.flaky", failures=1, pause=3)
    retried = shown(stack, job_id, "RETRY")
    assert "Transient" in str(retried["exception"])
    assert "sk-hidden" not in str(retried)
    assert shown(stack, job_id, "SUCCESS")["kwargs"] == f"{{'job_id': '{job_id}'}}"


def test_a_dead_job_shows_as_failed_with_its_reason_and_without_its_secrets(stack: Stack) -> None:
    job_id = stack.submit("tests.flaky", failures=9, kind="bug", max_attempts=1)
    failed = shown(stack, job_id, "FAILURE")
    assert "RuntimeError" in failed["exception"]
    assert "hunter2secret" not in str(failed)


def test_the_arguments_of_a_foreign_message_are_not_shown(stack: Stack) -> None:
    message_id = str(ids.uuid7())
    body = {"task": "tests.record", "kwargs": {"note": "my-own-business"}}
    queue.send("tasks.intake.submit", queue="intake", kwargs=body, expires=timedelta(minutes=1), task_id=message_id)
    assert "my-own-business" not in str(shown(stack, message_id, "SUCCESS"))


def test_operations_are_refused_by_default(stack: Stack) -> None:
    credentials = ("admin", adminkey.load_or_create(settings()))
    answer = httpx.post(
        f"http://127.0.0.1:{stack.flower_port}/api/worker/shutdown/default@nowhere", auth=credentials, timeout=10
    )
    assert answer.status_code in (401, 403, 404, 405)
