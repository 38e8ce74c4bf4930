"""docs/channels.md is true: every option, its default, the rates, the flags and the examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.catalog import parse
from app.notify import catalog_problems, kinds, resolve_all
from tests.health.catalogs import tcp

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "channels.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
ENVIRONMENT = {"TELEGRAM_TOKEN": "123456:ABC", "HOOK_SECRET": "x", "HOOK_AUTHORIZATION": "Bearer x"}


def looked_up(name: str) -> str:
    return ENVIRONMENT.get(name, f"https://example.com/{name}")


@pytest.mark.parametrize("kind", kinds())
def test_every_option_stands_on_the_page_with_its_default_and_no_other(kind: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", SECTIONS[kind], re.MULTILINE))
    options = {field.alias or name: field for name, field in kinds()[kind].Options.model_fields.items()}
    assert set(rows) == set(options)
    for name, field in options.items():
        if field.is_required():
            assert rows[name] == "required"
        elif field.default not in (None, ()) and not field.default_factory:
            value = str(field.default).lower() if isinstance(field.default, bool) else field.default
            assert rows[name] == f"`{value}`"


@pytest.mark.parametrize("kind", kinds())
def test_hidden_options_are_said_to_be_hidden(kind: str) -> None:
    for name, field in kinds()[kind].Options.model_fields.items():
        if SecretStr.__name__ in str(field.annotation):
            assert re.search(rf"^\| `{name}` .*hidden \|$", SECTIONS[kind], re.MULTILINE)


@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"console"}))
def test_the_rate_on_the_page_is_the_kinds_own(kind: str) -> None:
    rate = kinds()[kind].RATE
    assert re.search(rf"{rate.per_second:g} (?:messages?|events?) a\s+second and {rate.burst} at once", SECTIONS[kind])


@pytest.mark.parametrize("kind", kinds())
def test_the_table_of_kinds_is_true(kind: str) -> None:
    module = kinds()[kind]
    row = re.search(rf"^\| \[`{kind}`\]\(#{kind}\) \|(.*)\|$", PAGE, re.MULTILINE)
    assert row is not None
    _goes, to, later, repeat, acknowledged, letters = (cell.strip() for cell in row[1].split("|"))
    assert (to != "–") == module.TAKES_TO
    assert (later.startswith(("reply", "stand in"))) == module.THREADS
    assert (repeat == "says that it may be one") != module.DEDUPLICATES
    assert (acknowledged == "yes") == module.ACKNOWLEDGES
    assert (letters == "yes") == module.LETTERS


def test_every_example_is_a_good_file() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == len(kinds()) + 1
    catalogs = [parse(tcp("web") + text, [catalog_problems], lookup=looked_up) for text in examples]
    assert {spec.module.KIND for catalog in catalogs for spec in resolve_all(catalog).values()} == set(kinds())
