"""How much of this host's memory is in use?"""

from __future__ import annotations

import psutil

from app.health.probing import Defaults, Outcome, Target
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "memory"
SUMMARY = "how much of this host's memory is in use"
DEFAULTS = Defaults()
READINGS = {
    "used_percent": "memory in use",
    "available_mb": "memory a new process could have",
    "total_mb": "memory of the host",
}
THRESHOLDS = {"used_percent": Threshold(warning=85, degraded=90)}
ADVICE = {"used_percent": "Find the process that grows (`top`, or the metrics page) before the kernel kills one."}
_MB = 1024**2


class Options(BaseOptions):
    """Memory takes no options."""


def probe(_target: Target, _options: Options) -> Outcome:
    """Memory that could not be given to a new process without swapping, in percent."""
    memory = psutil.virtual_memory()
    return Outcome(
        {
            "used_percent": round(memory.percent, 1),
            "available_mb": round(memory.available / _MB),
            "total_mb": round(memory.total / _MB),
        }
    )
