"""What the pages name exists: links, headings, commands and their options, variables, make targets, tests."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from app.cli import main
from app.config import Settings, environment_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("deploy/**/*.md"))]
LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|`|\$\(|\$ |&& |; )smm-admin(?= )(?P<rest>[^`\n#|();&<>]*)", re.MULTILINE)
TEST = re.compile(r"`(test_\w+)`")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The ids that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_of(page: Path) -> str:
    """What the page shows as code: fenced or indented blocks and spans."""
    text = page.read_text()
    fenced = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    return "\n".join([*fenced, *indented, *re.findall(r"`[^`\n]+`", text)])


def commands() -> dict[str, click.Command]:
    """`smm-admin`'s commands and their subcommands, by their words."""
    found: dict[str, click.Command] = {}
    for name in main.summaries():
        cli = typer.Typer()
        importlib.import_module(f"app.cli.{name.replace('-', '_')}").register(cli)
        cli.callback()(lambda: None)
        group = typer.main.get_command(cli)
        assert isinstance(group, typer.core.TyperGroup)
        for word, command in group.commands.items():
            found[word] = command
            for sub, inner in getattr(command, "commands", {}).items():
                found[f"{word} {sub}"] = inner
                found |= {f"{word} {sub} {last}": leaf for last, leaf in getattr(inner, "commands", {}).items()}
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_command_on_the_pages_exists_with_its_options() -> None:
    known = commands()
    wrong = []
    for page in PAGES:
        for match in COMMAND.finditer(code_of(page)):
            words = shlex.split(match["rest"].replace("...", "").replace("|", " "), posix=False)
            if not words or not words[0][0].isalpha():
                continue
            command = next((known[" ".join(words[:n])] for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
            options = {option for parameter in command.params for option in parameter.opts} if command else set()
            group = bool(getattr(command, "commands", {}))
            unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
            if command is None or unknown or (group and len(words) > 1):
                wrong.append((named(page), match[0].strip()))
    assert wrong == []


def test_every_variable_on_the_pages_is_a_setting() -> None:
    settings = {name for field in Settings.model_fields for name in environment_names(field)}
    shown_by_env = {"SMM_URL"}
    for page in PAGES:
        used = set(re.findall(r"\bSMM_[A-Z][A-Z_]*[A-Z]\b", page.read_text()))
        assert used - settings - shown_by_env == set(), named(page)


def test_every_make_target_on_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        used = set(re.findall(r"(?:^|`)(?:\w+=\S+ )?make ([a-z]+)", code_of(page), re.MULTILINE))
        assert used <= targets, named(page)


def test_every_test_that_the_pages_point_at_exists() -> None:
    defined = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))
    pointed = {name for page in PAGES for name in TEST.findall(page.read_text())}
    assert len(pointed) > 20
    assert pointed - defined == set()


def test_every_page_is_reached_from_the_front() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve()
            for link in LINK.findall(page.read_text())
            if "://" not in link and not link.startswith("#")
        ]
    assert [named(page) for page in PAGES if page not in seen and "docs" in page.parts] == []
