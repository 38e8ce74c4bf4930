"""Tables of tables, `[TABLE.NAME]` each, as typed rows by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.catalog.explain import explain
from app.errors import Problem

Row = TypeVar("Row", bound=BaseModel)


def rows(tree: Mapping[str, Any], table: str, model: type[Row], problems: list[Problem]) -> Iterator[tuple[str, Row]]:
    """Every row of a table that can be read; what is wrong with the others is added to `problems`."""
    written = tree.get(table, {})
    if not isinstance(written, dict):
        problems.append(Problem(table, f"must be a table of tables, [{table}.NAME] each"))
        return
    keys = frozenset(field.alias or key for key, field in model.model_fields.items())
    for name, given in written.items():
        if not isinstance(given, dict):
            problems.append(Problem(f"{table}.{name}", "must be a table"))
            continue
        try:
            yield name, model.model_validate({**given, "name": name})
        except ValidationError as error:
            problems += explain(error, (table, name), known=keys)
