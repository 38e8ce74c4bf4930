"""One file is one platform whose answers are read; the registry finds it by its being here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import cast

from app.admission import platform
from app.admission.platform import PlatformModule, Reading, Sent
from app.infra import plugins


@lru_cache(maxsize=1)
def platforms() -> dict[str, PlatformModule]:
    """Every platform by its name in the catalogue."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.PLATFORM: cast(PlatformModule, module) for module in found}


def headers_of(name: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those that are read; nobody keeps the others."""
    module = platforms().get(name or "")
    return platform.kept(headers, {platform.RETRY_AFTER} if module is None else module.HEADERS)


def read(name: str | None, sent: Sent, now: datetime) -> Reading:
    """What the answer of a platform says about its limits."""
    module = platforms().get(name or "")
    return platform.plainly(sent, now) if module is None else module.read(sent, now)
