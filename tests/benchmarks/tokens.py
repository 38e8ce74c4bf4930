"""Tokens: 100,000 looked at and handed out, 5,000 refreshed at their platform's pace, what opening one costs."""

from __future__ import annotations

import base64
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app import catalog, clock
from app.config import settings
from app.infra import ids
from app.infra.crypto import Keyring
from app.infra.db import unit_of_work
from app.infra.secret import Secret
from app.jobs import relay
from app.tokens import envelope, sweeping
from app.tokens.envelope import Place
from app.tokens.sweeping import decide_all
from tests.benchmarks.support import ROOT, Figure, machine, servers, show, wait_until
from tests.tokens.platforms.meta import MetaPlatform

MANY, REFRESHED = 100_000, 5_000
A_MINUTE = 2_400
DELAY = 0.2
CHILDREN = 12
TENANTS = 50
KEYS = "bench:" + base64.b64encode(bytes(range(32))).decode()
CATALOG = """
[services.idle]
kind = "heartbeat"
period_seconds = 86400

[tokens]
spread_minutes = 0

[apps.instagram]
client_id = "1"
base_url = "{url}"
timeout = 20
refreshes_per_minute = {rate}
"""


def run() -> None:
    """The look and the hand-out; the refreshes by real workers; sealing and opening."""
    print(machine())
    show(opened())
    with (
        MetaPlatform("instagram") as instagram,
        servers(SMM_TOKEN_KEYS=KEYS, SMM_DOORBELLS_PER_QUEUE=str(2 * MANY)) as home,
    ):
        file = home / "smm-admin.toml"
        file.write_text(CATALOG.format(url=instagram.url, rate=0))
        settings.cache_clear()
        show(looked_at())
        _clear()
        file.write_text(CATALOG.format(url=instagram.url, rate=A_MINUTE))
        settings.cache_clear()
        show(refreshed(instagram))


def opened() -> list[Figure]:
    """One token from its ciphertext, against the cipher alone."""
    key = os.urandom(32)
    keys, place = Keyring([("bench", key)]), Place("acme", "instagram", "17841400000000001")
    sealed = envelope.seal(keys, place, "access", 7, Secret("IGAA" + "x" * 180))
    cipher, nonce, text, data = AESGCM(key), sealed.data[1:13], sealed.data[13:], place.of("access", 7)

    def timed(once: Callable[[], object], count: int = 2000) -> float:
        started = time.perf_counter()
        for _ in range(count):
            once()
        return (time.perf_counter() - started) / count * 1e6

    def ours() -> object:
        return envelope.unseal(keys, place, "access", 7, sealed)

    def bare() -> object:
        return cipher.decrypt(nonce, text, data)

    taken = [(timed(ours), timed(bare)) for _ in range(15)]
    opening, alone = (statistics.median(column) for column in zip(*taken, strict=True))
    return [Figure("a token opened, beside the cipher alone", opening, "us", baseline=alone, limit=20)]


def looked_at() -> list[Figure]:
    """The daily look over all of them, and the hand-out of all that are due, against reading the rows and no more."""
    now = clock.now()
    _fill(MANY, now, due=False)
    found = catalog.current()
    with unit_of_work() as uow:
        started = time.perf_counter()
        rows = list(sweeping._tokens(uow, "UTC", [], [], now))
        read = time.perf_counter() - started
        started = time.perf_counter()
        look = decide_all(iter(rows), found, "UTC", now)
        decided = time.perf_counter() - started
    assert look.checked == MANY
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO token_looks (zone, due_at) VALUES ('UTC', :now) "
            "ON CONFLICT (zone) DO UPDATE SET due_at = :now",
            now=now,
        )
    started = time.perf_counter()
    assert sweeping.look_all(now) == MANY
    whole = time.perf_counter() - started
    with unit_of_work() as uow:
        uow.execute("UPDATE token_status SET next_at = :now", now=now)
    handed, started = 0, time.perf_counter()
    while handed < min(MANY, 20_000):
        with unit_of_work() as uow:
            handed += sweeping.hand_out(uow, now)
    submitting = time.perf_counter() - started
    return [
        Figure(f"{MANY} tokens decided, beside reading their rows", whole, "s", baseline=read, limit=2),
        Figure("of it deciding", decided, "s"),
        Figure("tokens handed out as jobs", handed / submitting, "/s", limit=2000, at_least=True),
    ]


def refreshed(instagram: MetaPlatform) -> list[Figure]:
    """Real workers refresh what is due, while a platform answers in 200 ms and allows so many in any minute."""
    now = clock.now()
    given = [instagram.give(f"{place}", age=timedelta(days=55)) for place in range(REFRESHED)]
    _fill(REFRESHED, now, due=True, tokens=[one.access for one in given])
    instagram.delay = DELAY
    refreshed_by = instagram.refreshed
    with workers():
        started = time.perf_counter()
        ends = started + 600
        passes = 0
        while sum(refreshed_by.values()) < REFRESHED and time.perf_counter() < ends:
            if passes % sweeping.EVERY_SECONDS == 0:
                sweeping.sweep()
            relay.relay()
            passes += 1
            time.sleep(max(0.0, started + passes - time.perf_counter()))
        taken = time.perf_counter() - started
        wait_until(lambda: _stored() == REFRESHED, seconds=60, what="every answer is stored")
    ideal = (REFRESHED - 1) // A_MINUTE * 60.0
    once = sum(1 for count in refreshed_by.values() if count == 1)
    return [
        Figure(f"{REFRESHED} refreshed, beside what the limit allows", taken, "s", baseline=ideal),
        Figure("refreshed exactly once", once, "", limit=REFRESHED, at_least=True),
    ]


@contextmanager
def workers() -> Iterator[None]:
    """Workers of the queue `tokens` alone, as whoever has many accounts adds them."""
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tasks", "worker", "-Q", "tokens", "-c", str(CHILDREN)]
    process = subprocess.Popen([*command, "-n", "bench@%h", "--without-mingle", "--without-gossip"], cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _stored() -> int:
    with unit_of_work() as uow:
        found: int = uow.execute("SELECT count(*) FROM token_status WHERE generation = 2").scalar_one()
    return found


def _fill(count: int, now: datetime, *, due: bool, tokens: list[Secret] | None = None) -> None:
    """Accounts of fifty tenants; those that are not due have 11 to 60 days left."""
    keys = Keyring([("bench", bytes(range(32)))])
    with unit_of_work() as uow:
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            names = [str(number) for number in numbers]
            tenants = [f"tenant-{number % TENANTS}" for number in numbers]
            found = [ids.uuid7() for _ in numbers]
            sealed = [
                b"x"
                if tokens is None
                else envelope.seal(
                    keys, Place(tenants[place], "instagram", names[place]), "access", 1, tokens[number]
                ).data
                for place, number in enumerate(numbers)
            ]
            left = [timedelta(days=5) if due else timedelta(days=11 + number % 49) for number in numbers]
            uow.execute(
                "INSERT INTO accounts (id, tenant, platform, external_id) "
                "SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:tenants AS text[]), "
                "array_fill(CAST('instagram' AS text), ARRAY[CAST(:count AS int)]), CAST(:names AS text[]))",
                ids=[str(one) for one in found], tenants=tenants, names=names, count=len(names),
            )  # fmt: skip
            uow.execute(
                "INSERT INTO token_status (account_id, generation, grant_state, access, key_id, issued_at, expires_at, "
                "next_at) SELECT i, 1, 'good', a, 'bench', CAST(:issued AS timestamptz), e, n FROM "
                "unnest(CAST(:ids AS uuid[]), CAST(:access AS bytea[]), CAST(:ends AS timestamptz[]), "
                "CAST(:next AS timestamptz[])) AS t(i, a, e, n)",
                ids=[str(one) for one in found], access=sealed, ends=[now + one for one in left],
                issued=now - timedelta(days=40),
                next=[now if due else now + one - timedelta(days=9) for one in left],
            )  # fmt: skip
    with unit_of_work() as uow:
        uow.execute("ANALYZE accounts")
        uow.execute("ANALYZE token_status")


def _clear() -> None:
    with unit_of_work() as uow:
        uow.execute("TRUNCATE accounts, token_status, token_messages, token_connects, jobs, token_days, token_looks")
