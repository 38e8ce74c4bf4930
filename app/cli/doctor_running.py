"""What the running product says of its catalogue: its environment may lack what the shell of `smm-admin doctor` has."""

from __future__ import annotations

import json
from ipaddress import ip_address

from app.cli.finding import Finding
from app.config import Settings
from app.errors import SmmError
from app.health.status import BROKEN
from app.infra import http

_SECONDS = 3.0


def catalogue(config: Settings) -> Finding | None:
    """Why the product does not use the file that is there; None where it does, or does not answer."""
    for notice in _notices(config):
        if notice.startswith(BROKEN):
            said = f"the running product refuses the file, its last good one stays in force: {notice[len(BROKEN) :]}"
            return Finding("catalogue", False, said, "correct it, or restart it with the variables that it lacks")
    return None


def _notices(config: Settings) -> list[str]:
    try:
        with http.client(timeout_seconds=_SECONDS) as client:
            answer = http.attempt(client, "GET", _address(config), content=b"", headers={}, max_body_bytes=_MOST)
        found = json.loads(answer.body)
    except (SmmError, ValueError):
        return []
    notices = found.get("notices") if isinstance(found, dict) else None
    return [notice for notice in notices if isinstance(notice, str)] if isinstance(notices, list) else []


_MOST = 4 * http.MAX_BODY_BYTES


def _address(config: Settings) -> str:
    """Of this host's web process, also where it listens on all addresses."""
    host = config.web_host
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{config.web_port}/health"
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.web_port}/health"
