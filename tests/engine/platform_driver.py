"""One process of a service that asks before it acts: so many admissions, evenly; prints each answer."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx


def main(url: str, key: str, platform: str, plan: list[dict[str, object]], seconds: float) -> None:
    """Ask for each entry of `plan` at its time."""
    client = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=10)
    start = time.monotonic()
    for place, entry in enumerate(plan):
        time.sleep(max(0.0, start + place * seconds / len(plan) - time.monotonic()))
        patience = float(str(entry["patience"]))
        body = {
            "operation": entry["operation"],
            "account": entry["account"],
            "id": entry["id"],
            "expires_at": (datetime.now(UTC) + timedelta(seconds=patience)).isoformat(),
            "task": {
                "task": "tests.call_platform",
                "queue": "high",
                "kwargs": {
                    "platform": platform,
                    "account": entry["account"],
                    "what": entry["what"],
                    "operation": entry["id"],
                    "name": entry["operation"],
                },
            },
        }
        answer = client.post("/api/v1/admissions", json=body)
        answer.raise_for_status()
        print(json.dumps(answer.json()), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    main(given["url"], given["key"], given["platform"], given["plan"], given["seconds"])
