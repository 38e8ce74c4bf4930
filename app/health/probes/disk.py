"""How full is the file system under a path?"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from app.health.probing import Defaults, Outcome, Target, failed
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "disk"
SUMMARY = "how full the file system under a path is"
DEFAULTS = Defaults()
READINGS = {
    "used_percent": "used space, of what an ordinary user can use",
    "free_gb": "space still free",
    "total_gb": "size of the file system",
}
THRESHOLDS = {"used_percent": Threshold(warning=85, degraded=90)}
ADVICE = {
    "missing": "The path does not exist on this host: correct it in the catalogue, or mount what belongs there.",
    "used_percent": "Free space on this file system, or enlarge it, before writes fail.",
}
_GB = 1024**3


class Options(BaseOptions):
    """Which file system."""

    path: Path | None = Field(default=None, description="any path on the file system; unset: the product's own files")


def probe(target: Target, options: Options) -> Outcome:
    """Used space as a share of what an ordinary user could ever use, as `df` counts it."""
    try:
        usage = shutil.disk_usage(options.path or target.home)
    except OSError as error:
        return failed("missing", f"the path cannot be read: {error.strerror}")
    reachable = usage.used + usage.free
    return Outcome(
        {
            "used_percent": round(usage.used / reachable * 100, 1) if reachable else 0.0,
            "free_gb": round(usage.free / _GB, 2),
            "total_gb": round(usage.total / _GB, 2),
        }
    )
