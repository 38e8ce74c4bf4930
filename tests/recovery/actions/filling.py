"""Filling a Redis with keys that have rested for as long as a test says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from app.infra.eviction import memory_of


def put(client: Any, keys: Iterable[tuple[bytes | str, int]], *, size: int = 1000) -> None:
    """Keys of about `size` bytes, each with the seconds for which it was not used."""
    client.set("of-tests:model", b"x" * size)
    packed = client.dump("of-tests:model")
    client.delete("of-tests:model")
    pipe = client.pipeline(transaction=False)
    for place, (key, idle) in enumerate(keys, 1):
        pipe.execute_command("RESTORE", key, 0, packed, "REPLACE", "IDLETIME", idle)
        if place % 500 == 0:
            pipe.execute()
    pipe.execute()


def fill(client: Any, percent: float, *, prefix: str = "cache:", idle: int = 3600, size: int = 1000) -> int:
    """Keys under `prefix` until memory is at `percent` of maxmemory, or full; how many there are of them."""
    count, batch = 0, 200
    while memory_of(client).percent < percent:
        try:
            put(client, [(f"{prefix}{number}", idle) for number in range(count, count + batch)], size=size)
        except redis.exceptions.OutOfMemoryError:
            if batch == 1:
                break
            batch = 1  # a batch's own buffers were counted, and are gone
        count += batch
    return sum(1 for _ in client.scan_iter(match=f"{prefix}*", count=1000))


def is_full(client: Any) -> bool:
    """Does it refuse writes?"""
    try:
        client.set("of-tests:one-more", b"x" * 1_000_000)
    except redis.exceptions.OutOfMemoryError:
        return True
    client.delete("of-tests:one-more")
    return False
