"""Figures are judged right, and every benchmark can be found."""

from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import main, modules
from tests.benchmarks.support import Figure, percentile


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50, 99, 100)
    assert percentile([7.0], 99) == 7


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("no limit", 5, "ms"), ""),
        (Figure("a ceiling", 50, "ms", limit=50), "ok"),
        (Figure("a ceiling", 51, "ms", limit=50), "MISSED"),
        (Figure("a floor", 4999, "/s", limit=5000, at_least=True), "MISSED"),
        (Figure("a ratio", 29, "ms", baseline=10, limit=3, limit_of_ratio=True), "ok"),
        (Figure("a ratio", 31, "ms", baseline=10, limit=3, limit_of_ratio=True), "MISSED"),
    ],
)
def test_a_figure_is_held_against_its_limit(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_every_benchmark_says_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name, module in modules().items():
        assert name in listed
        assert module.__doc__


def test_an_unknown_benchmark_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["made-up"]) == 2
    assert "no benchmark is named made-up" in capsys.readouterr().err
