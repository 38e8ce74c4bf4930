"""What catalogues and services may say that does harm: secrets, odd values, actions that are away or broken."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from app.config import variable
from app.recovery import reading, sweeping
from app.recovery.actions import actions
from app.recovery.core import Again, Done, Failed, Verdict
from tests.recovery.field import PLAYBOOK, service_of

SECRET = "hunter2-of-the-stack"


def with_step(step: str) -> str:
    return PLAYBOOK.replace('{do = "poke", word = "{service.container}"}', step)


def everything_stored(field: Any) -> str:
    tables = ("recovery_runs", "recovery_steps", "signals", "alert_episodes", "alert_history", "jobs", "job_history")
    return "\n".join(str(row) for table in tables for row in field.sql(f"SELECT t::text FROM {table} t"))


@pytest.mark.parametrize(
    "result", [Done(f"called {SECRET}!"), Failed(f"no {SECRET}"), Again(60, f"waits for {SECRET}", {"is": [SECRET]})]
)
def test_a_secret_of_a_step_is_in_nothing_that_is_stored_or_shown(
    play: Any, monkeypatch: pytest.MonkeyPatch, result: Any
) -> None:
    monkeypatch.setenv("WORD_OF_THE_NIGHT", SECRET)
    assert variable("WORD_OF_THE_NIGHT") == SECRET
    field = play.begin(service_of("qdrant") + with_step('{do = "poke", word = "at ${WORD_OF_THE_NIGHT}, {subject}"}'))
    field.poke.result = lambda work: result
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.steps[0].says == "poke at ${WORD_OF_THE_NIGHT}, qdrant"
    assert "${WORD_OF_THE_NIGHT}" in run.steps[0].text
    assert SECRET not in everything_stored(field)
    assert SECRET not in json.dumps([reading.run_dict(run, whole=True) for run in field.runs()])


def test_what_forbids_a_step_does_not_tell_its_secret(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD_OF_THE_NIGHT", SECRET)
    field = play.begin(service_of("qdrant") + with_step('{do = "poke", word = "${WORD_OF_THE_NIGHT}"}'))
    field.poke.forbidden = lambda options, service, catalog: f"nobody may poke {options.word}"
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.why == "nobody may poke ${WORD_OF_THE_NIGHT}"
    assert SECRET not in everything_stored(field)


@pytest.mark.parametrize("value", ["2026-03-01T12:00:00Z", "2026-03-01", "3e9", "nan", "inf", '"\\u0000x"'])
def test_options_of_any_kind_that_toml_has_are_the_same_after_they_were_stored(play: Any, value: str) -> None:
    field = play.begin(service_of("qdrant") + with_step(f'{{do = "poke", more = {{at = [{value}]}}}}'))
    field.fall("qdrant")
    field.work()
    assert len(field.poke.asked) == 1


def test_a_step_whose_action_is_away_is_no_reason_to_begin_nothing(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    away = actions().pop("poke")
    try:
        field.fall("qdrant")
        field.work()
    finally:
        actions()["poke"] = away
    (run,) = field.runs()
    assert (run.verdict, run.why) == (Verdict.ESCALATED, "there is no action poke")


@pytest.mark.parametrize("broken", ["says", "forbidden"])
def test_an_action_that_breaks_before_it_acts_ends_its_run_and_no_other(play: Any, broken: str) -> None:
    field = play.begin(service_of("qdrant") + service_of("z-other") + PLAYBOOK)

    def breaks(*_: Any) -> str:
        raise RuntimeError("oh no")

    setattr(field.poke, broken, breaks)
    field.fall("qdrant")
    field.fall("z-other")
    field.sql("DELETE FROM jobs")
    sweeping.look()
    field.work()
    assert [run.service for run in field.runs()] == ["qdrant", "z-other"]
    assert all(run.ended_at is not None for run in field.runs())


def test_a_detail_is_kept_short(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.poke.result = lambda work: Done("poked", {"much": "x" * 100_000, "when": timedelta(1), "what": float("nan")})
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.steps[0].text == "poked"
    assert len(json.dumps(dict(run.steps[0].detail))) < 65_536


def test_a_first_step_waits_as_it_says(play: Any) -> None:
    field = play.begin(service_of("qdrant") + with_step('{do = "poke", after = 60}'))
    field.fall("qdrant")
    field.work()
    assert not field.poke.asked
    field.age(seconds=61)
    field.work()
    assert len(field.poke.asked) == 1


def test_what_a_service_says_cannot_take_over_a_terminal_or_forge_a_line(play: Any) -> None:
    field = play.begin(service_of("qdrant") + with_step('{do = "poke", word = "{facts.error.text}"}'))
    field.poke.result = lambda work: Failed("it said \x1b[2J\x1b]0;x\x07 and\n12:00:00 recovered\u202e.")
    field.fall("qdrant")
    field.sql(
        "UPDATE services SET last_result = jsonb_set(last_result, '{error,text}', to_jsonb(E'a\\nb\\x1b[2J'::text))"
    )
    field.work()
    (run,) = field.runs()
    assert run.steps[0].says == "poke a b [2J"
    assert run.steps[0].text == "it said [2J ]0;x and 12:00:00 recovered ."
    assert all(line.isprintable() for line in field.shown()[0]["actions"])
