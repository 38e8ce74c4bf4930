"""[modes.NAME] as an operator writes it, and what is said of mistakes."""

from __future__ import annotations

import pytest

from app.admission import catalog_problems
from app.catalog import Catalog, lines_of, parse
from app.errors import Invalid
from tasks.celery import compose
from tests.health.catalogs import tcp

SERVICES = tcp("qdrant") + tcp("n8n")
LINES = SERVICES.count("\n")
MODE = '[modes.m]\nwhile_down = ["qdrant"]\nfall_back = ["a"]\n'


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(SERVICES + text, [catalog_problems], subject="smm.toml")
    return lines_of(caught.value)


def good(text: str) -> Catalog:
    return parse(SERVICES + text, [catalog_problems])


def test_a_mode_has_its_defaults() -> None:
    mode = good(MODE).modes["m"]
    assert (mode.name, mode.while_down, mode.fall_back, mode.wait) == ("m", ("qdrant",), ("a",), ())
    assert (mode.description, mode.replay, mode.delay_seconds) == ("", (), 0)


def test_every_key_of_a_mode_is_read() -> None:
    text = MODE + 'description = "x"\nwait = "b.c-d_e"\ndelay_seconds = 30\n[[modes.m.replay]]\ntask = "t.x"\n'
    mode = parse(SERVICES + text).modes["m"]
    assert (mode.description, mode.wait, mode.delay_seconds) == ("x", ("b.c-d_e",), 30)
    assert [(replay.task, replay.kwargs) for replay in mode.replay] == [("t.x", {})]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (MODE + 'wait = ["b", "a"]', 4, "wait[1]: falls back already: an operation does the one or the other"),
        (MODE + 'wait = [\n"b",\n"b"]', 6, "wait[1]: is there twice"),
        (MODE + 'wait = ["A b"]', 4, "wait[0]: must match ^[a-z][a-z0-9_.-]{0,99}$"),
        (MODE.replace("qdrant", "qdrnt"), 2, 'while_down[0]: there is no service "qdrnt" (did you mean "qdrant"?)'),
        (MODE.replace('"qdrant"', '"n8n", "n8n"'), 2, "while_down[1]: is there twice"),
        (MODE.replace('["qdrant"]', "[]"), 2, "while_down: must not be empty"),
        ('[modes.m]\nwait = ["b"]', 1, "while_down: is required"),
        (MODE + "delay_seconds = -1", 4, "delay_seconds: must be at least 0"),
        (MODE + "delay = 1", 4, 'delay: is not known (did you mean "replay"?)'),
        (MODE + "replay = [{task = 'a b'}]", 4, "replay[0].task: must match ^[A-Za-z_][A-Za-z0-9_.]{0,199}$"),
        (MODE + "replay = [{task = 'a', args = {}}]", 4, 'replay[0].args: is not known (did you mean "kwargs"?)'),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text: str, line: int, said: str) -> None:
    assert f"smm.toml:{LINES + line}: modes.m.{said}" in problems(text)


def test_a_mode_without_operations_is_a_mistake() -> None:
    said = "names no operation: write fall_back, wait or both"
    assert problems("[modes.m]\nwhile_down = ['qdrant']") == [f"smm.toml:{LINES + 1}: modes.m: {said}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modes = 3\n" + SERVICES, "1: modes: must be a table of tables, [modes.NAME] each"),
        (SERVICES + "[modes]\nm = 3", f"{LINES + 2}: modes.m: must be a table"),
        (SERVICES + MODE.replace("modes.m", "modes.M"), f"{LINES + 1}: modes.M.name: must match"),
    ],
)
def test_what_is_no_mode_is_told_as_such(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text, subject="smm.toml")
    assert lines_of(caught.value)[0].startswith(f"smm.toml:{said}")


def test_a_mode_may_name_a_service_whose_table_is_wrong() -> None:
    assert all("modes" not in line for line in problems("[services.x]\n" + MODE.replace("qdrant", "x")))


def test_the_jobs_of_a_replay_must_exist_and_take_their_arguments() -> None:
    compose()
    at = f"smm.toml:{LINES + 4}: modes.m.replay[0]"
    assert problems(MODE + "replay = [{task = 'tasks.health.check_servic'}]") == [
        f'{at}.task: no task is named so (did you mean "tasks.health.check_service"?)'
    ]
    assert problems(MODE + "replay = [{task = 'tasks.health.check_service', kwargs = {serivce = 'x'}}]") == [
        f"{at}.kwargs.serivce: Extra inputs are not permitted",
        f"{at}.kwargs.service: Field required",
    ]
    assert good(MODE + "replay = [{task = 'tasks.health.check_service', kwargs = {service = 'qdrant'}}]").modes
