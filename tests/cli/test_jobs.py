"""`smm-admin jobs`, `queues`, `schedule`, `contract`, `timeline`: exit codes, JSON, and one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

Smm = Callable[..., Ran]
ECHO = ("jobs", "submit", "tests.web.echo", "--kwargs", '{"text": "hi"}')


def test_a_job_is_submitted_shown_cancelled_and_retried(smm: Smm) -> None:
    job = smm(*ECHO).out.strip()
    shown = smm("jobs", "show", job, "--json").json
    assert shown["kwargs"] == {"text": "hi", "times": 1}
    assert shown["caller"].startswith("cli")
    assert "state" in smm("jobs", "show", job).out
    assert smm("jobs", "cancel", job).out.strip() == f"{job} is cancelled"
    assert smm("jobs", "retry", job, "--json").json["state"] == "rung"
    assert [row["id"] for row in smm("jobs", "list", "--json").json["jobs"]] == [job]
    assert job in smm("jobs", "list").out


def test_two_jobs_of_one_key_are_one(smm: Smm) -> None:
    assert smm(*ECHO, "--key", "k").out == smm(*ECHO, "--key", "k").out


def test_waiting_ends_with_one_when_the_job_does_not(smm: Smm) -> None:
    ran = smm(*ECHO, "--wait", "--timeout", "0.1")
    assert ran.code == 1
    assert "has not finished within 0.1 s" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jobs", "submit", "no.such.task"), "task: no published task is named no.such.task"),
        (("jobs", "submit", "tests.web.echo"), "kwargs.text"),
        (("jobs", "submit", "tests.web.echo", "--kwargs", "{"), "--kwargs: is no JSON"),
        (("jobs", "submit", "tests.web.echo", "--kwargs", "[]"), "--kwargs: must be a JSON object"),
        ((*ECHO, "--not-before", "soon"), "not_before"),
        ((*ECHO, "--priority", "urgent"), "priority"),
        (("jobs", "show", "x"), "is no job id"),
        (("jobs", "list", "--state", "lost"), "must be one of scheduled, rung"),
        (("timeline", "--since", "yesterday"), "--since"),
    ],
)
def test_misuse_is_one_line_and_exit_code_two(smm: Smm, words: tuple[str, ...], said: str) -> None:
    ran = smm(*words)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "show", "01a1fbe4-68d4-75d5-a8ed-e58ddaa2844d"),
        ("queues", "pause", "nope"),
        ("queues", "purge", "nope", "--yes"),
        ("schedule", "run", "nope"),
        ("schedule", "pause", "nope"),
    ],
)
def test_what_does_not_exist_is_exit_code_one(smm: Smm, words: tuple[str, ...]) -> None:
    ran = smm(*words)
    assert ran.code == 1
    assert len(ran.err.strip().splitlines()) == 1


def test_queues_are_listed_paused_and_resumed(smm: Smm) -> None:
    smm(*ECHO)
    rows = {row["name"]: row for row in smm("queues", "list", "--json").json["queues"]}
    assert (rows["default"]["depth"], rows["default"]["jobs"]["rung"]) == (1, 1)
    assert smm("queues", "pause", "default", "--reason", "upkeep").code == 0
    assert "paused by" in smm("queues", "list").out
    assert smm("queues", "resume", "default", "--json").json == {"queue": "default", "paused": False}


def test_purging_says_how_many_and_asks(smm: Smm, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    for _ in range(3):
        smm(*ECHO)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    refused = smm("queues", "purge", "default")
    assert refused.code == 1
    assert "Cancel 3 waiting jobs of default?" in refused.err
    done = smm("queues", "purge", "default", "--yes", "--json")
    assert done.json == {"queue": "default", "cancelled": 3}
    rows = {row["name"]: row for row in smm("queues", "list", "--json").json["queues"]}
    assert rows["default"]["depth"] == 0


def test_the_timetable_is_listed_run_paused_and_resumed(smm: Smm) -> None:
    assert smm("schedule", "run", "job-relay").code == 0
    assert smm("schedule", "run", "retention").code == 0
    assert [job["task"] for job in smm("jobs", "list", "--json").json["jobs"]] == ["tasks.maintenance.retention"]
    rows = {row["name"]: row for row in smm("queues", "list", "--json").json["queues"]}
    assert rows["tick"]["depth"] == 1
    assert smm("schedule", "pause", "job-relay", "--reason", "x").code == 0
    assert "paused by" in smm("schedule", "list").out
    refused = smm("schedule", "run", "job-relay")
    assert refused.code == 1
    assert "is paused" in refused.err
    assert smm("schedule", "resume", "job-relay").code == 0
    entries = {row["name"]: row for row in smm("schedule", "list", "--json").json["schedule"]}
    assert entries["job-relay"]["paused_at"] is None


def test_the_timeline_speaks_to_people_and_machines(smm: Smm) -> None:
    from app import signals
    from app.infra.db import unit_of_work

    assert smm("timeline").out.strip() == "nothing happened"
    with unit_of_work() as uow:
        signals.record(uow, "jobs.dead", "task:x", facts={"attempts": 3})
    assert "attempts=3" in smm("timeline").out
    assert smm("timeline", "--kind", "jobs.*", "--json").json["signals"][0]["subject"] == "task:x"


def test_the_contract_is_written_between_its_marks(smm: Smm, tmp_path: Path) -> None:
    from app.cli.contract import BEGIN, END

    page = tmp_path / "enqueueing.md"
    page.write_text(f"before\n{BEGIN}\nWHAT WAS HERE\n{END}\nafter\n")
    assert smm("contract", "--write", str(tmp_path)).code == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "WHAT WAS HERE" not in text
    assert "| `times` | integer | no | `1` |" in text
    assert json.loads((tmp_path / "contract.json").read_text()) == smm("contract", "--json").json
    assert "tests.web.echo" in smm("contract").out
    assert smm("contract", "--write", str(tmp_path / "nowhere")).code == 2


def test_without_a_database_it_says_so_in_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from app.cli.main import run

    assert run(["jobs", "list"]) == 1
    said = capsys.readouterr().err
    assert "DATABASE_URL is not set" in said
    assert len(said.strip().splitlines()) == 1
