"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from app.infra.db import Base

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("tasks/**/*.py"), ROOT / "celeryconfig.py"])
MODULE_LINES = 350
FUNCTION_LINES = 60

# Who may look at the environment besides app/config.py, and why.
ENVIRONMENT = {
    "app/infra/supervisor/startup.py": "hands the whole environment on to the processes it starts",
    "app/infra/embedded/account.py": "hands PATH on to the servers it starts",
    "app/cli/up.py": "NO_COLOR is a convention of terminals, not a setting of ours",
}
# Put together here, so that this file does not name what no file may name.
REGISTRIES = [".".join(words) for words in (("pypi", "org"), ("files", "pythonhosted"), ("registry", "npmjs"))]
REGISTRIES += [".".join(words) for words in (("deb", "debian"), ("crates", "io"), ("proxy", "golang"), ("ghcr", "io"))]
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.$~}}-])/{name}/" for name in ("work", "root", "tmp/lab", "Users")))


def tracked() -> list[Path]:
    """Every text file of the project: git's list, or without git everything outside dot directories."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in found if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> Iterator[str]:
    """Every dotted name that the file mentions: `time.time`, `os.environ`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_names_a_package_registry() -> None:
    naming = {
        named(path): host for path in tracked() for host in REGISTRIES if host in path.read_text("utf-8", "replace")
    }
    assert naming == {}


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = {named(path): MACHINE_PATHS.search(path.read_text("utf-8", "replace")) for path in tracked()}
    assert {name: match.group() for name, match in found.items() if match} == {}


def test_every_requirement_is_pinned_with_hashes_and_without_an_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    requirements = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]
    assert len(requirements) > 30
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []
    assert [line for line in requirements if "://" in line or line.startswith("-")] == []


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_module_stays_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_every_module_says_its_job() -> None:
    silent = [
        named(path)
        for path in SOURCES
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_the_environment_is_read_in_one_place() -> None:
    readers = {named(path) for path in SOURCES if {"os.environ", "os.getenv"} & set(calls(path))}
    readers |= {named(path) for path in SOURCES if {"os.environ", "os.getenv"} & set(imports(path))}
    assert readers - {"app/config.py"} == set(ENVIRONMENT)


def test_the_time_is_asked_in_one_place() -> None:
    asking = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.monotonic"}
    askers = {
        named(path)
        for path in SOURCES
        if asking & {name.removeprefix("datetime.") if name.count(".") > 1 else name for name in calls(path)}
        or {"time.time", "time.monotonic"} & set(imports(path))
    }
    assert askers == {"app/clock.py"}


def test_one_file_of_the_domain_knows_celery() -> None:
    engine = ("celery", "kombu", "billiard", "flower")
    knowing = {
        named(path)
        for path in SOURCES
        if named(path).startswith("app/") and any(name.split(".")[0] in engine for name in imports(path))
    }
    assert knowing <= {"app/infra/queue.py"}


def test_no_source_prints_or_leaves_work_for_later() -> None:
    later = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    assert [named(path) for path in tracked() if path.suffix == ".py" and later.search(path.read_text())] == []


def test_the_migrations_make_exactly_the_tables_of_the_models(database: str) -> None:
    for path in sorted((ROOT / "app").glob("*/models.py")):
        importlib.import_module(f"app.{path.parent.name}.models")
    partition = re.compile(r"_(p\d{8}|default)$")
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _parents: kind != "table" or not partition.search(name or ""),
            },
        )
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []
