"""docs/configuration.md is true: its reference is the code's, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import catalog
from app.catalog import COMMON_FIELDS, Limits, OneOff, Service, Weekly
from app.cli.config import BEGIN, END
from app.cli.config_reference import markdown
from app.config import Settings, environment_names
from app.errors import Invalid
from app.health.probes import kinds
from app.health.specs import catalog_problems

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_the_reference_is_fresh() -> None:
    section = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    assert section.strip() == markdown().strip(), "run `make docs`"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_described(field: str) -> None:
    assert Settings.model_fields[field].description
    assert f"`{environment_names(field)[0]}`" in PAGE.read_text()


@pytest.mark.parametrize("model", [Service, Limits, OneOff, Weekly])
def test_every_key_of_the_file_is_described(model: type[Service]) -> None:
    hidden = {"name", "options", "references"}
    keys = {field.alias or key: field for key, field in model.model_fields.items() if key not in hidden}
    assert [key for key, field in keys.items() if not field.description or f"| `{key}` |" not in PAGE.read_text()] == []


def test_every_kind_of_service_is_described() -> None:
    assert [kind for kind in kinds() if f"### `{kind}`" not in PAGE.read_text()] == []


def test_the_shipped_file_explains_every_common_key() -> None:
    shipped = (PAGE.parent.parent / "deploy" / "smm-admin.toml").read_text()
    assert [key for key in COMMON_FIELDS if not re.search(rf"^#.*\b{key}\b", shipped, re.M)] == []


def test_the_example_on_the_page_is_a_good_file() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.S)
    assert example is not None
    found = catalog.parse(example[1], [catalog_problems], lookup={"API_KEY": "x"}.get)
    assert len(found.services["api"].maintenance) == 2
    with pytest.raises(Invalid, match="API_KEY is not set"):
        catalog.parse(example[1], [catalog_problems], lookup=lambda _name: None)
