"""One file is one shape of a provider's `usage` object; the registry finds it by its being here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from app.costs.pricing import Tokens
from app.costs.usage_shape import ShapeModule, mapping
from app.errors import Invalid, Problem
from app.infra import plugins


@lru_cache(maxsize=1)
def shapes() -> dict[str, ShapeModule]:
    """Every shape by its name."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.SHAPE: cast(ShapeModule, module) for module in found}


def tokens(provider: str, given: object) -> Tokens:
    """The tokens of a provider's `usage`; the whole answer that holds one will do, too.

    The shape is the provider's where it fits the object's keys, else the one that fits them. Raises Invalid with the
    field that is wrong ("usage.prompt_tokens").
    """
    usage = _inner(mapping(given, "usage"))
    module = _shape(provider.strip().lower(), usage)
    if module is None:
        known = "; ".join(f"{name}: {shape.SUMMARY}" for name, shape in shapes().items())
        raise Invalid([Problem("usage", f"has the keys of no shape that is known ({known})")], subject="call")
    return module.tokens(usage)


def _inner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    inside = given.get("usage")
    return inside if isinstance(inside, dict) else given


def _shape(provider: str, usage: Mapping[str, Any]) -> ShapeModule | None:
    fitting = [module for module in shapes().values() if module.fits(usage)]
    named = [module for module in fitting if any(word in provider for word in module.PROVIDERS)]
    return next(iter(named or fitting), None)
