"""One file is one kind of probe; the registry finds it by its being here."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import cast

from app.health.probing import ProbeModule
from app.infra import plugins


@lru_cache(maxsize=1)
def kinds() -> dict[str, ProbeModule]:
    """Every kind of probe by its name."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.KIND: cast(ProbeModule, module) for module in found}
