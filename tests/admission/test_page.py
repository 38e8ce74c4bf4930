"""docs/degraded-mode.md is true: its keys are the catalogue's, its example is a good file, its document is ours."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from app import admission
from app.admission import mirror
from app.catalog import Mode, parse
from app.config import resource
from tasks.celery import compose
from tests.admission.conftest import Scene

PAGE = resource("docs/degraded-mode.md")


def test_every_key_of_a_mode_is_described_on_the_page_and_in_the_shipped_file() -> None:
    keys = [(key, field) for key, field in Mode.model_fields.items() if key != "name"]
    shipped = resource("deploy/smm-admin.toml").read_text()
    assert [key for key, field in keys if not field.description or f"| `{key}` |" not in PAGE.read_text()] == []
    assert [key for key, _ in keys if not re.search(rf"^#   {key}\b", shipped, re.M)] == []


def test_the_example_is_a_good_file() -> None:
    compose()
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.S)
    assert example is not None
    assert set(parse(example[1], [admission.catalog_problems]).modes) == {"no-vectors"}


def test_the_document_is_what_the_key_holds(scene: Scene) -> None:
    example = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.S)
    assert example is not None
    shown = json.loads(example[1])
    scene.enter("by-hand", fall_back=["brand-context"])
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert mirrored.keys() == shown.keys()
    assert mirrored["operations"].keys() == shown["operations"].keys()
    assert mirrored["operations"]["brand-context"].keys() == shown["operations"]["brand-context"].keys()


def test_the_times_on_the_page_are_the_codes() -> None:
    assert timedelta(minutes=10) == mirror.KEPT
    assert admission.KEY == "smm:modes"
    assert "lives ten minutes" in PAGE.read_text()
    assert "`smm:modes`" in PAGE.read_text()
