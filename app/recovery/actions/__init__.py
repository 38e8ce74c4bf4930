"""One file is one kind of action; the registry finds it by its being here."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import cast

from app.infra import plugins
from app.recovery.acting import ActionModule


@lru_cache(maxsize=1)
def actions() -> dict[str, ActionModule]:
    """Every action by its name."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.NAME: cast(ActionModule, module) for module in found}
