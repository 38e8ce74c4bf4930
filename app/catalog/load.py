"""A catalogue from its file: everything wrong with it at once, each with its table, key and line."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from app.catalog import availability, billing, budgeting, connecting, engines, limiting, modes
from app.catalog.expand import Expanded, Lookup, as_problem, expand
from app.catalog.explain import did_you_mean, explain
from app.catalog.model import COMMON_FIELDS, Catalog, Limits, Service
from app.catalog.recovery import TABLES as RECOVERY_TABLES
from app.catalog.recovery import read_playbooks, read_recovery
from app.catalog.telling import TABLES as TELLING_TABLES
from app.catalog.telling import read as read_telling
from app.catalog.toml_lines import Lines, Path
from app.catalog.windows import OneOff, Weekly
from app.config import variable
from app.errors import Invalid, Problem

Check = Callable[[Catalog], list[Problem]]
"""Given by whoever knows more than the catalogue does, such as what the options of a kind of service are."""

MAX_BYTES = 1_048_576
MAX_DEPTH = 100
"""Tables and lists within one another: no file that means something comes near, and reading goes down by recursion."""
_TABLES = (
    "services",
    engines.TABLE,
    availability.TABLE,
    *RECOVERY_TABLES,
    modes.TABLE,
    *limiting.TABLES,
    *budgeting.TABLES,
    billing.TABLE,
    *connecting.TABLES,
    *TELLING_TABLES,
)
_KEYS = {field.alias or key for model in (Service, Limits, OneOff, Weekly) for key, field in model.model_fields.items()}
_TOML_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_TOML_TWICE = re.compile(r"Cannot (?:declare|mutate immutable namespace) \((.*)\)(?: twice)?")
_TOML_NAME = re.compile(r"'([^']*)'")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def load(file: File, checks: Sequence[Check] = (), *, lookup: Lookup = variable) -> Catalog:
    """The catalogue in `file`. Raises Invalid with every problem; an unreadable file is one."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _broken(file, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise _broken(file, f"is larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _broken(file, "is not UTF-8", raw[: error.start].count(b"\n") + 1) from None
    return parse(text, checks, subject=shown_path(file), lookup=lookup)


def parse(text: str, checks: Sequence[Check] = (), *, subject: str = "catalogue", lookup: Lookup = variable) -> Catalog:
    """The catalogue in `text`; `subject` is what its problems call it. Raises Invalid with every problem."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid([_syntax(error, text)], subject=subject) from None
    except RecursionError:
        raise Invalid([_TOO_DEEP], subject=subject) from None
    if _is_too_deep(tree):
        raise Invalid([_TOO_DEEP], subject=subject)
    lines = Lines(text)
    found = expand(tree, lookup)
    problems = [as_problem(path, message, None) for path, message in found.problems]
    services = _services(found, problems)
    catalog = Catalog(
        services=services,
        telling=read_telling(found.tree, found.references, problems),
        docker=engines.read(found.tree, problems),
        availability=availability.read(found.tree, problems),
        recovery=read_recovery(found.tree, problems),
        playbooks=read_playbooks(found.tree, found.references, problems),
        modes=modes.read(found.tree, problems),
        limiting=limiting.read(found.tree, problems),
        budgeting=budgeting.read(found.tree, problems),
        billing=billing.read(found.tree, problems),
        connecting=connecting.read(found.tree, problems),
        digest=_digest(tree),
    )
    problems += _unknown_tables(tree) + _dependencies(found.tree)
    for check in checks:
        problems += check(catalog)
    unset = {problem.field for problem in problems[: len(found.problems)]}
    problems = [item for place, item in enumerate(problems) if place < len(found.problems) or item.field not in unset]
    if problems:
        raise Invalid(sorted(_placed(problems, lines), key=_position), subject=subject)
    return catalog


def lines_of(error: Invalid) -> list[str]:
    """Each problem as compilers print theirs: `deploy/smm-admin.toml:14: services.web.interval: must be at least 1`."""
    return [
        ":".join([error.subject, *([str(problem.line)] if problem.line else [])])
        + ": "
        + (f"{problem.field}: " if problem.field else "")
        + problem.message
        for problem in error.problems
    ]


def shown_path(file: File) -> str:
    """As short as it can be typed from here."""
    try:
        return str(file.resolve().relative_to(File.cwd()))
    except (ValueError, OSError):
        return str(file)


_TOO_DEEP = Problem("", f"has tables within tables more than {MAX_DEPTH} deep")


def _is_too_deep(tree: dict[str, Any]) -> bool:
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _services(found: Expanded, problems: list[Problem]) -> dict[str, Service]:
    table = found.tree.get("services", {})
    if not isinstance(table, dict):
        problems.append(Problem("services", "must be a table of services, [services.NAME] each"))
        return {}
    if not table:
        problems.append(Problem("", "names no service: write at least one [services.NAME] table"))
    services: dict[str, Service] = {}
    for name, written in table.items():
        if not isinstance(written, dict):
            problems.append(Problem(f"services.{name}", "must be a table"))
            continue
        try:
            services[name] = _service(name, written, found.references)
        except ValidationError as error:
            problems += explain(error, ("services", name), known=_KEYS)
    return services


def _service(name: str, written: dict[str, Any], references: dict[Path, str]) -> Service:
    options = {key: value for key, value in written.items() if key not in COMMON_FIELDS}
    common = {key: value for key, value in written.items() if key in COMMON_FIELDS}
    mine: dict[Path, str] = {}
    for path, text in references.items():
        if path[:2] == ("services", name):
            mine[path[2:] if path[2] in COMMON_FIELDS else ("options", *path[2:])] = text
    return Service.model_validate({**common, "name": name, "options": options, "references": mine})


def _unknown_tables(tree: dict[str, Any]) -> list[Problem]:
    return [
        Problem(key, f"is not known{did_you_mean(key, _TABLES)}: the catalogue has {', '.join(_TABLES)}")
        for key in tree
        if key not in _TABLES
    ]


def _dependencies(tree: dict[str, Any]) -> list[Problem]:
    wanted = _wanted(tree)
    problems = [
        Problem(f"services.{name}.depends_on[{place}]", f'there is no service "{other}"{did_you_mean(other, wanted)}')
        for name, others in wanted.items()
        for place, other in enumerate(others)
        if other not in wanted
    ]
    return problems + [
        Problem(f"services.{cycle[0]}.depends_on", f"goes in a circle: {' -> '.join(cycle)}")
        for cycle in _cycles(wanted)
    ]


def _wanted(tree: dict[str, Any]) -> dict[str, list[str]]:
    """Which services each one depends on, also of services that are wrong in something else."""
    table = tree.get("services")
    services = table if isinstance(table, dict) else {}
    wanted: dict[str, list[str]] = {}
    for name, written in services.items():
        others = written.get("depends_on") if isinstance(written, dict) else None
        wanted[name] = [other for other in others if isinstance(other, str)] if isinstance(others, list) else []
    return wanted


def _cycles(wanted: dict[str, list[str]]) -> list[list[str]]:
    """One way around each circle, starting and ending at the same service."""
    done: set[str] = set()
    cycles: list[list[str]] = []
    for start in wanted:
        trail: list[str] = []
        stack = [(start, 0)]
        while stack:
            name, place = stack.pop()
            if place == 0:
                if name in trail:
                    cycles.append([*trail[trail.index(name) :], name])
                    continue
                if name in done or name not in wanted:
                    continue
                trail.append(name)
            if place < len(wanted[name]):
                stack += [(name, place + 1), (wanted[name][place], 0)]
            else:
                done.add(trail.pop())
    return cycles


def _placed(problems: Iterable[Problem], lines: Lines) -> Iterable[Problem]:
    for problem in problems:
        path: Path = tuple(int(m[1]) if m[1] else m[2] for m in _STEP.finditer(problem.field))
        yield problem if problem.line else replace(problem, line=lines.of(path))


def _position(problem: Problem) -> tuple[int, str]:
    return problem.line or 0, problem.field


def _syntax(error: tomllib.TOMLDecodeError, source: str) -> Problem:
    message = str(error)
    place = _TOML_PLACE.search(message)
    line = int(place["line"]) if place and place["line"] else source.rstrip().count("\n") + 1
    text = message[: place.start()] if place else message
    twice = _TOML_TWICE.fullmatch(text)
    if twice:
        return Problem("", f"[{'.'.join(_TOML_NAME.findall(twice[1]))}] is declared twice", line)
    if text == "Cannot overwrite a value":
        return Problem("", "this key is given twice", line)
    return Problem("", f"is no TOML: {text[:1].lower()}{text[1:]}", line)


def _digest(tree: dict[str, Any]) -> str:
    plain = json.dumps(tree, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _broken(file: File, message: str, line: int | None = None) -> Invalid:
    return Invalid([Problem("", message, line)], subject=shown_path(file))
