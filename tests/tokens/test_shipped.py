"""The shipped catalogue explains every key about tokens, and its examples work when they are uncommented."""

from __future__ import annotations

import re

from app import catalog
from app.catalog import App, Tokens
from app.config import resource
from app.tokens.providers import platforms

SHIPPED = resource("deploy/smm-admin.toml")
SECTION = SHIPPED.read_text().partition("# --- platforms' tokens")[2].partition("\n# --- ")[0]


def test_every_key_is_explained() -> None:
    keys = {*Tokens.model_fields, *App.model_fields} - {"name", "description"}
    assert [key for key in sorted(keys) if not re.search(rf"^#   (?:\w+, )?{key}\b", SECTION, re.M)] == []


def test_what_is_set_is_the_default() -> None:
    assert catalog.load(SHIPPED).connecting.tokens == Tokens()


def test_the_examples_work_and_there_is_one_for_every_platform() -> None:
    plain = re.sub(r"^#(\[|[a-z_]+ =)", r"\1", SECTION, flags=re.M)
    service = '\n[services.redis]\nkind = "redis"\n'
    apps = catalog.parse(f"#{plain}{service}", lookup=lambda _name: "s3cret").connecting.apps
    assert {app.at for app in apps.values()} == set(platforms())
