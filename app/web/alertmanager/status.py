"""/api/v2/status and /api/v2/receivers: what amtool asks first."""

from __future__ import annotations

import platform
from typing import Any

from app import __version__, catalog, clock
from app.alerts import alertmanager_config
from app.web.alertmanager.refusals import endpoints

router = endpoints()

_started_at = clock.now()


@router.get("/status", summary="Version, uptime, and the routing as Alertmanager's configuration")
def status() -> dict[str, Any]:
    """`config.original` is what `amtool config show` and `amtool config routes` read."""
    return {
        "cluster": {"name": "", "status": "disabled", "peers": []},
        "config": {"original": alertmanager_config.render(catalog.current().telling)},
        "uptime": clock.iso(_started_at),
        "versionInfo": {
            "version": __version__,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": f"Python {platform.python_version()}",
        },
    }


@router.get("/receivers", summary="Names of all receivers")
def receivers() -> list[dict[str, str]]:
    """In the order of the catalogue."""
    telling = catalog.current().telling
    nobody = () if telling.routing.receiver else (alertmanager_config.NOBODY,)
    return [{"name": name} for name in (*telling.receivers, *nobody)]
