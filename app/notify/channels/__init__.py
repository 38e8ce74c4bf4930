"""One file is one kind of channel; the registry finds it by its being here."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import cast

from app.infra import plugins
from app.notify.channel import ChannelModule


@lru_cache(maxsize=1)
def kinds() -> dict[str, ChannelModule]:
    """Every kind of channel by its name."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.KIND: cast(ChannelModule, module) for module in found}
