"""Platforms whose tokens are kept: one file each. The contract is in app/tokens/provider.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from app.infra import plugins
from app.tokens.provider import ProviderModule


@lru_cache(maxsize=1)
def platforms() -> Mapping[str, ProviderModule]:
    """Every platform by its name."""
    found = plugins.modules(sys.modules[__name__])
    return {module.PLATFORM: cast("ProviderModule", module) for module in found.values()}
