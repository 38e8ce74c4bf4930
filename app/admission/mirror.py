"""The modes in one key of Redis, for whoever asks before every operation; it follows Postgres, which has the truth."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from app.admission import reading
from app.errors import SmmError
from app.infra import redis
from app.infra.db import read_only
from app.infra.logging import get_logger

KEY = f"{redis.PREFIX}modes"
"""A string: `{version, as_of, operations: {NAME: {effect, since, reason}}}`. Missing: nothing is known, ask the API."""

KEPT = timedelta(minutes=10)
"""It is written again each minute: one that is not speaks of an engine that has stood still for long."""

_SCRIPT = (Path(__file__).parent / "mirror.lua").read_text()

log = get_logger(__name__)


def follow() -> None:
    """Write the modes as they are now, unless Redis has a newer document. Raises nothing for Redis.

    Writers may overtake one another: the older document never replaces the newer one.
    """
    with read_only() as session:
        modes = reading.read(session)
    document = json.dumps(modes.short(), ensure_ascii=False, separators=(",", ":"))
    arguments = [document, modes.version, KEPT // timedelta(milliseconds=1)]
    try:
        with redis.transient_errors():
            redis.client().register_script(_SCRIPT)(keys=[KEY], args=arguments)
    except SmmError as error:
        log.warning("the modes in Redis are not up to date; Postgres has them", error=str(error))
