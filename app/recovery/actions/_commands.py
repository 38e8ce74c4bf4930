"""What a Redis is busy with: its slow commands, the costliest kinds of commands, its clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis

from app.infra.scrub import scrub_text
from app.infra.text import storable
from app.infra.words import duration
from app.recovery.acting import Done
from app.recovery.actions import _servers

LONGEST_WORD = 80
_KINDS, _GROUPS, _HEAVY = 10, 10, 5
_MB = 1024**2


def captured(client: Any, *, rows: int) -> Done:
    """Everything the server lets us see, as the detail of a step. Raises redis.RedisError."""
    slow = _unless_refused(lambda: [_slow(entry) for entry in client.slowlog_get(rows)])
    kinds = _unless_refused(lambda: _costly(client.info("commandstats")))
    clients = _unless_refused(lambda: _clients(client.client_list()))
    memory = client.info("memory")
    detail = {
        "slow_commands": slow,
        "commands": kinds,
        "clients": clients,
        "used_mb": round(int(memory.get("used_memory", 0)) / _MB, 1),
        "maxmemory_mb": round(int(memory.get("maxmemory", 0)) / _MB, 1),
    }
    worst = max(slow, key=lambda entry: entry["ms"], default=None) if slow else None
    slowest = f"; the slowest, {worst['command']}, took {duration(worst['ms'] / 1000)}" if worst else ""
    count = "no" if slow is None else len(slow)
    return Done(f"recorded {count} slow command{'' if count == 1 else 's'} and the clients{slowest}", detail)


def _unless_refused(ask: Callable[[], Any]) -> Any:
    """The answer; None where the server does not let it be asked."""
    try:
        return ask()
    except redis.ResponseError as error:
        if _servers.is_refusal(error):
            return None
        raise


def _slow(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A command and its first word, which is mostly a key; what was written there is nobody's business."""
    words = bytes(entry["command"]).split(b" ")
    first = _word(words[1]) if len(words) > 1 else ""
    more = " ..." if len(words) > 2 else ""
    return {
        "command": f"{_word(words[0])} {first}{more}".strip(),
        "ms": round(int(entry["duration"]) / 1000, 1),
        "at": int(entry["start_time"]),
        "client": _word(entry.get("client_name") or b"") or _host(_word(entry.get("client_address") or b"")),
    }


def _costly(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The kinds of commands that took most of the server's time since its counters began."""
    found = [
        {"command": _word(name.removeprefix("cmdstat_")), "calls": int(one["calls"]), "ms": round(one["usec"] / 1000)}
        for name, one in stats.items()
        if isinstance(one, dict)
    ]
    return sorted(found, key=lambda one: -one["ms"])[:_KINDS]


def _clients(listed: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    clients = list(listed)
    whose = Counter(_word(one.get("name") or "") or _host(_word(one.get("addr", ""))) for one in clients)
    doing = Counter(_word(one.get("cmd", "")) for one in clients)
    heavy = sorted(clients, key=lambda one: -int(one.get("tot-mem") or one.get("omem") or 0))[:_HEAVY]
    return {
        "count": len(clients),
        "blocked": sum(1 for one in clients if "b" in _word(one.get("flags", ""))),
        "by_name_or_address": dict(whose.most_common(_GROUPS)),
        "by_last_command": dict(doing.most_common(_GROUPS)),
        "largest": [
            {
                "client": _word(one.get("name") or "") or _host(_word(one.get("addr", ""))),
                "command": _word(one.get("cmd", "")),
                "kb": int(one.get("tot-mem") or one.get("omem") or 0) // 1024,
                "idle_seconds": int(one.get("idle", 0)),
            }
            for one in heavy
        ],
    }


def _host(address: str) -> str:
    """Without the port, which every connection has its own of."""
    return address.rpartition(":")[0] or address


def _word(text: str | bytes) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return storable(scrub_text(plain), limit=LONGEST_WORD)
