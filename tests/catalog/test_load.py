"""The file as an operator writes it, and what is said of their mistakes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import Catalog, in_maintenance, lines_of, load, parse
from app.catalog.expand import expand
from app.errors import Invalid, Problem

WEB = '[services.web]\nkind = "http"\nurl = "http://127.0.0.1:8000/healthz"\n'


def problems(text: str, **environment: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(text, subject="smm.toml", lookup=environment.get)
    return lines_of(caught.value)


def test_a_service_has_its_defaults_and_keeps_the_kinds_own_keys() -> None:
    web = parse(WEB).services["web"]
    assert (web.confirm_interval, web.failures_to_down, web.successes_to_up) == (5, 3, 2)
    assert (web.interval, web.timeout, web.watched_by, web.essential, web.severity) == (
        None,
        None,
        None,
        False,
        "error",
    )
    assert web.options == {"url": "http://127.0.0.1:8000/healthz"}


def test_every_common_key_is_read() -> None:
    text = WEB + (
        'enabled = false\ndescription = "x"\ninterval = 30\nconfirm_interval = 2.5\ntimeout = 5\nfailures_to_down = 4\n'
        'successes_to_up = 1\nessential = true\nseverity = "critical"\nwatched_by = "watchdog"\n'
        'container = "claw-web"\nteam = "platform"\ntags = ["a", "b"]\nthresholds.latency_ms = {warning = 50}\n'
        'maintenance = [{days = ["friday"], from = 15:00:00, to = "17:00", reason = "updates"}]\n'
    )
    web = parse(text).services["web"]
    assert (web.interval, web.confirm_interval, web.timeout) == (30, 2.5, 5)
    assert (web.thresholds["latency_ms"].warning, web.thresholds["latency_ms"].degraded) == (50, None)
    assert web.tags == ("a", "b")
    assert in_maintenance(web, datetime(2026, 11, 20, 16, tzinfo=UTC)) == "updates"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("interval = 0.5", "4: services.web.interval: must be at least 1"),
        ("interval = true", "4: services.web.interval: must be a number"),
        ('interval = "soon"', "4: services.web.interval: must be a number"),
        ("interval = inf", "4: services.web.interval: must be a finite number"),
        ("timeout = 121", "4: services.web.timeout: must be at most 120"),
        ("failures_to_down = 1.5", "4: services.web.failures_to_down: must be a whole number"),
        ("tags = 3", "4: services.web.tags: must be a list"),
        ("tags = [\n'A b',\n]", "5: services.web.tags[0]: must match ^[a-z][a-z0-9_-]{0,62}$"),
        ('severity = "fatal"', '4: services.web.severity: must be "info", "warning", "error" or "critical"'),
        ('depends_on = ["wed"]', '4: services.web.depends_on[0]: there is no service "wed" (did you mean "web"?)'),
        ('depends_on = ["web"]', "4: services.web.depends_on: goes in a circle: web -> web"),
        (
            "thresholds.latency_ms = {warn = 5}",
            '4: services.web.thresholds.latency_ms.warn: is not known (did you mean "warning"?)',
        ),
        (
            'maintenance = [\n{from = 2026-01-02T00:00:00, until = 2026-01-03T00:00:00Z, reason = "x"}]',
            "5: services.web.maintenance[0].from: must have an offset, such as 2026-03-01T22:00:00Z",
        ),
        (
            'maintenance = [{days = ["friday"], from = "1", to = "25:00", reason = "x", reasons = "UTC"}]',
            '4: services.web.maintenance[0].reasons: is not known (did you mean "reason"?)',
        ),
        ('token = "${TOKEN}"', "4: services.web.token: the environment variable TOKEN is not set"),
        ('token = "${TO-KEN}"', "4: services.web.token: ${TO-KEN} is no reference: write ${NAME} or ${NAME:-default}"),
        (
            "[service.x]",
            '4: service: is not known (did you mean "services"?): the catalogue has services, docker, availability,'
            " recovery, playbooks, modes, limits, operations, http, tenants, budgets, providers, tokens, apps,"
            " channels, people,"
            " teams, rotations, receivers, ladders, alerts, alerting, routing, inhibitions, mutes",
        ),
        ("[services.x]", "4: services.x.kind: is required"),
        ("[services.X]\nkind = 'http'", "4: services.X.name: must match ^[a-z][a-z0-9_-]{0,62}$"),
        ('url = "twice"', "4: this key is given twice"),
        ("[services.web]", "4: [services.web] is declared twice"),
        ("x = = 1", "4: is no TOML: invalid value"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(line: str, said: str) -> None:
    assert f"smm.toml:{said}" in problems(WEB + line)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "[services.a]\nkind = 'x'\ninterval = 0\n[services.b]\ninterval = 0\ndepends_on = ['c']\n[service]\n"
    lines = [line.split(":")[1] for line in problems(text)]
    assert lines == ["3", "4", "5", "6", "7"]


def test_circles_are_told_once_each() -> None:
    text = "".join(
        f"[services.{name}]\nkind = 'x'\ndepends_on = {others}\n"
        for name, others in {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": ["e"]}.items()
    )
    assert [line.split("circle: ")[1] for line in problems(text)] == ["a -> b -> c -> a", "e -> e"]


def test_an_empty_file_is_a_mistake() -> None:
    assert problems("# nothing\n") == ["smm.toml: names no service: write at least one [services.NAME] table"]


@pytest.mark.parametrize(("raw", "said"), [(b"\xff", "line 1.: is not UTF-8"), (b"#" * 1_048_577, "is larger than")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(raw)
    with pytest.raises(Invalid, match=said):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"none\.toml is not valid: .*cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_problems_of_checks_get_their_lines() -> None:
    def check(catalog: Catalog) -> list[Problem]:
        return [Problem(f"services.{name}.url", "is odd") for name in catalog.services]

    with pytest.raises(Invalid) as caught:
        parse(WEB, [check], subject="smm.toml")
    assert lines_of(caught.value) == ["smm.toml:3: services.web.url: is odd"]


def test_references_come_from_the_environment_and_are_shown_as_written() -> None:
    text = WEB + 'description = "$${x}"\nheaders = {X-Api-Key = "${KEY}", list = ["a-${PORT:-80}"]}\n'
    web = parse(text, lookup={"KEY": "hunter2"}.get).services["web"]
    assert web.options["headers"] == {"X-Api-Key": "hunter2", "list": ["a-80"]}
    assert web.description == "${x}"
    assert web.shown()["options"]["headers"] == {"X-Api-Key": "${KEY}", "list": ["a-${PORT:-80}"]}
    assert "hunter2" not in repr(web) + str(web.shown())


def test_a_missing_variable_is_told_once() -> None:
    assert len(problems(WEB + 'kind2 = "${A}"\nseverity = "${B}"\n')) == 2


@given(st.text(alphabet="${}:-ab A_", max_size=30), st.dictionaries(st.sampled_from("abA"), st.text(max_size=4)))
def test_any_text_is_expanded_or_refused(text: str, environment: dict[str, str]) -> None:
    found = expand({"x": text}, environment.get)
    if "${" not in text:
        assert found.tree == {"x": text}
    assert found.problems or isinstance(found.tree["x"], str)


def test_the_digest_tells_content_and_not_comments() -> None:
    first = parse(WEB).digest
    assert parse("# a comment\n" + WEB.replace(" = ", "=")).digest == first
    assert parse(WEB + "interval = 5\n").digest != first


@pytest.mark.parametrize("depth", [60, 200, 5_000])
def test_routes_far_too_deep_are_refused_in_a_sentence(depth: int) -> None:
    nested = WEB + "[routing]\nroutes = " + "[{routes = " * depth + "[]" + "}]" * depth + "\n"
    assert problems(nested) == ["smm.toml: has tables within tables more than 100 deep"]
    dotted = WEB + "[routing]\n" + ".".join(["a"] * 2 * depth) + " = 1\n"
    assert problems(dotted) == ["smm.toml: has tables within tables more than 100 deep"]


def test_routes_may_be_deeper_than_anybody_writes_them() -> None:
    nested = WEB + "[routing]\nroutes = " + "[{routes = " * 40 + "[]" + "}]" * 40 + "\n"
    assert parse(nested).telling.routing.routes
