"""What a process says on stderr, read back from real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SPEAK = """
import logging, sys
from app.config import Settings
from app.infra import logging as log
log.configure("web", Settings(log_format={form!r}, log_level={level!r}))
own = log.get_logger("app.thing")
{body}
"""


def speak(
    body: str, *, form: str = "json", level: str = "info", stderr: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    program = SPEAK.format(form=form, level=level, body=body)
    return subprocess.run(
        [sys.executable, "-c", program], check=False, stderr=stderr, stdout=subprocess.PIPE, text=True, timeout=30
    )


def records(body: str, *, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in speak(body, level=level).stderr.splitlines()]


def test_a_record_is_one_line_of_json_with_its_context() -> None:
    (record,) = records('with log.bound(job="j1", tenant="acme"):\n    own.info("done", took_ms=3)')
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "level": "info",
        "process": "web",
        "logger": "app.thing",
        "event": "done",
        "took_ms": 3,
        "job": "j1",
        "tenant": "acme",
    }


def test_context_ends_with_its_block() -> None:
    first, second = records('with log.bound(job="j1"):\n    own.info("a")\nown.info("b")')
    assert (first.get("job"), second.get("job")) == ("j1", None)


def test_what_is_bound_stays_until_cleared() -> None:
    first, second = records('log.bind(task="t")\nown.info("a")\nlog.clear()\nown.info("b")')
    assert (first.get("task"), second.get("task")) == ("t", None)


def test_libraries_speak_through_the_same_formatter() -> None:
    (record,) = records('logging.getLogger("celery.worker").warning("lost %s with token=%s", "redis", "abc123")')
    assert (record["event"], record["logger"], record["level"]) == (
        "lost redis with token=***",
        "celery.worker",
        "warning",
    )


def test_handlers_that_libraries_added_are_taken_away() -> None:
    body = (
        'logging.getLogger("uvicorn").addHandler(logging.StreamHandler())\n'
        'logging.getLogger("uvicorn").propagate = False\n'
        'log.configure("web", Settings(log_format="json"))\nlogging.getLogger("uvicorn.error").info("started")'
    )
    assert [record["event"] for record in records(body)] == ["started"]


def test_secrets_are_masked_in_fields_exceptions_and_warnings() -> None:
    body = (
        'own.info("x", password="Hunter2x", headers={"X-API-Key": "Hunter2x"}, url="redis://:Hunter2x@h:1")\n'
        'try:\n    raise ValueError("https://g/x?access_token=Hunter2x")\nexcept ValueError:\n'
        '    own.exception("failed")\n    logging.getLogger("lib").exception("failed too")\n'
        'import warnings\nwarnings.warn("password=Hunter2x")'
    )
    out = speak(body).stderr
    assert len(out.splitlines()) == 4
    assert "Hunter2x" not in out
    assert "ValueError" in out


def test_clients_that_print_urls_are_quiet() -> None:
    assert records('logging.getLogger("httpx").info("GET https://x")\nlogging.getLogger("httpcore").debug("x")') == []


def test_ticks_that_expired_are_not_told_each() -> None:
    body = (
        'request = logging.getLogger("celery.worker.request")\n'
        'request.info("Discarding revoked task: %s[%s]", "tasks.jobs.relay", "1")\nrequest.error("lost")'
    )
    assert [record["event"] for record in records(body)] == ["lost"]


def test_records_below_the_level_are_left_out() -> None:
    assert [record["event"] for record in records('own.info("a")\nown.warning("b")', level="warning")] == ["b"]


def test_a_terminal_gets_readable_lines() -> None:
    out = speak('own.info("service is down", service="web")', form="console").stderr
    assert "service is down" in out
    assert not out.startswith("{")


def test_without_a_terminal_auto_is_json() -> None:
    assert json.loads(speak('own.info("a")', form="auto").stderr)["event"] == "a"


def test_a_value_that_is_no_json_is_shown_as_text() -> None:
    (record,) = records('from pathlib import Path\nown.info("a", path=Path("/x"), thing=object, many={1})')
    assert (record["path"], record["many"]) == ("/x", [1])


def test_a_record_that_cannot_be_rendered_stops_nothing() -> None:
    body = 'logging.getLogger("lib").warning("%d apples", "no")\nprint("alive")'
    done = speak(body)
    assert (done.returncode, done.stdout.strip()) == (0, "alive")
    assert "lib" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_loses_records_and_nothing_else() -> None:
    with Path("/dev/full").open("w") as full:
        done = speak('own.info("a")\nown.info("b")\nprint(log.lost_records())', stderr=full)
    assert (done.returncode, done.stdout.strip()) == (0, "2")


def test_a_closed_pipe_loses_records_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = speak('own.info("a")\nprint(log.lost_records())', stderr=pipe)
    assert (done.returncode, done.stdout.strip()) == (0, "1")


def test_after_a_time_of_losses_the_log_says_how_many() -> None:
    body = (
        'good, sys.stderr = sys.stderr, open("/dev/full", "w")\nown.info("a")\nown.info("b")\n'
        'sys.stderr = good\nown.info("c")\nown.info("d")'
    )
    lines = speak(body).stderr.splitlines()
    assert lines[0] == "2 log records were lost: stderr could not be written"
    assert [json.loads(line)["event"] for line in lines[1:3]] == ["c", "d"]
