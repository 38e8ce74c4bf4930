"""The catalogue's [availability] table and the services' objectives."""

from __future__ import annotations

import pytest

from app.catalog import Availability, parse
from app.errors import Invalid

WEB = '[services.web]\nkind = "tcp"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as raised:
        parse(text)
    return [f"{problem.field}: {problem.message}" for problem in raised.value.problems]


def test_without_the_table_everything_has_its_default() -> None:
    found = parse(WEB)
    assert found.availability == Availability()
    assert (found.services["web"].objective, found.availability.stack_objective) == (99.5, 99.9)
    assert [(pair.long, pair.short, pair.rate) for pair in found.availability.fast] == [
        (3600, 300, 14.4),
        (21_600, 1800, 6),
    ]
    assert [(pair.long, pair.short, pair.rate) for pair in found.availability.slow] == [
        (86_400, 7200, 3),
        (259_200, 21_600, 1),
    ]


def test_windows_and_objectives_are_the_operators() -> None:
    found = parse(
        WEB + "objective = 99.95\n[availability]\nstack_objective = 99\nslow = []\n"
        "fast = [{long = 600, short = 60, rate = 20}]\nminimum_minutes = 1\n"
    )
    assert found.services["web"].objective == 99.95
    assert (found.availability.slow, found.availability.fast[0].rate) == ((), 20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEB + "objective = 100\n", "services.web.objective: must be less than 100"),
        (WEB + "objective = 0\n", "services.web.objective: must be more than 0"),
        (WEB + "[availability]\nstack_objektive = 99\n", 'is not known (did you mean "stack_objective"?)'),
        (WEB + "[availability]\nfast = [{long = 60, short = 60, rate = 1}]\n", "`short` must be shorter than `long`"),
        (WEB + "[availability]\nminimum_minutes = 0\n", "availability.minimum_minutes: must be at least 1"),
        ('[services.stack]\nkind = "tcp"\n', "services.stack: is what all services together are called"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    [problem] = problems(text)
    assert said in problem
