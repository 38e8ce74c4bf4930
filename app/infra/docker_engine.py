"""The one file that knows the `docker` package: looks at a container and restarts it, each within a bound.

It asks for two things, `GET /containers/{name}/json` and `POST /containers/{name}/restart`, so that a proxy before the
engine's socket may refuse all others. Addresses carry no API version: an engine then answers in its own newest one,
where each fixed version is refused by some engine (1.41 by those from 29 on, 1.44 by 20.10), and asking which versions
there are would be a third thing to let through.

The package is loaded when an engine is first asked: it costs 80 ms and 6 MB, and most processes never ask one.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from app.catalog import Docker
from app.errors import Misconfigured, NotFound, Permanent, SmmError, Transient
from app.infra.scrub import scrub_text
from app.infra.text import storable

Answer = TypeVar("Answer")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_NO_SUCH = "no such container"
_BUSY = frozenset({408, 425, 429})
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class Container:
    """What the engine says of a container.

    `state`: created, running, paused, restarting, removing, exited or dead. `health`: healthy, unhealthy, starting, or
    None where the image has no check. `error`: why it could not be started, in the engine's words.
    """

    id: str
    name: str
    image: str
    state: str
    running: bool
    exit_code: int
    oom_killed: bool
    restart_count: int
    health: str | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str


class Engine:
    """One engine. Every call ends within the table's time-out; its errors are the product's.

    Transient: no socket, refused, silent, broken off, 5xx. NotFound: no container of that name. Permanent: refused for
    good. Misconfigured: a TLS file, a certificate or the rights on the socket are wrong.
    """

    def __init__(self, where: Docker) -> None:
        self._where = where
        self._client: Any = None

    def inspect(self, name: str) -> Container:
        """How the container stands."""
        _check(name)
        document = _bounded(lambda: self._connected().inspect_container(name), self._where.timeout)
        return _container(document)

    def restart(self, name: str, *, stop_seconds: int, within: float | None = None) -> None:
        """Stop it, killing it after `stop_seconds`, and start it. The engine goes on even when its answer is late.

        `within`: seconds the answer is waited for, where that is not as long as stopping and the time-out take.
        """
        _check(name)
        longest = self._where.timeout + stop_seconds
        _bounded(lambda: self._connected().restart(name, timeout=stop_seconds), min(longest, within or longest))

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Any:
        if self._client is None:
            where = self._where
            self._client = _client()(base_url=where.host, version="1.41", timeout=where.timeout, tls=_tls(where))
            self._client.trust_env, self._client.max_redirects = False, 0
        return self._client


@contextmanager
def connected(where: Docker) -> Iterator[Engine]:
    """The engine for the length of the block; nothing is asked of it yet."""
    engine = Engine(where)
    try:
        yield engine
    finally:
        engine.close()


@lru_cache(maxsize=1)
def _client() -> type[Any]:
    """The package's client without a version in its addresses; the one that it is told of is not sent."""
    from docker import APIClient  # noqa: PLC0415

    class Client(APIClient):  # type: ignore[misc] # the package has no types
        def _url(self, pathfmt: str, *args: str, **kwargs: Any) -> str:
            return str(super()._url(pathfmt, *args, **{**kwargs, "versioned_api": False}))

    return Client


def _tls(where: Docker) -> Any:
    if not where.tls:
        return False
    from docker.tls import TLSConfig  # noqa: PLC0415

    for file in (where.tls_ca, where.tls_cert, where.tls_key):
        if file is not None and not file.is_file():
            raise Misconfigured(f"the Docker engine's TLS file {file} is no file")
    pair = (str(where.tls_cert), str(where.tls_key)) if where.tls_cert else None
    return TLSConfig(client_cert=pair, ca_cert=str(where.tls_ca) if where.tls_ca else None, verify=True)


def _check(name: str) -> None:
    """A name becomes a part of an address: anything else could ask for something else."""
    if not _NAME.fullmatch(name):
        raise Permanent("that is no name of a container")


def _bounded(call: Callable[[], Answer], seconds: float) -> Answer:
    """The answer of `call`, waited for no longer than `seconds`.

    The package bounds each read, not their sum, nor the resolution of a name; a late call ends in a thread of its own.
    """
    answers: list[Answer] = []
    troubles: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            troubles.append(error)

    thread = threading.Thread(target=run, name="docker-engine", daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    if troubles:
        raise _ours(troubles[0], seconds) from None
    raise _late(seconds)


def _late(seconds: float) -> Transient:
    return Transient(f"the Docker engine did not answer within {seconds:g} s")


def _ours(error: BaseException, seconds: float) -> BaseException:
    """The product's error for whatever came out of the package; what is nobody's trouble but the code's is kept."""
    from docker.errors import APIError, DockerException  # noqa: PLC0415

    match error:
        case SmmError():
            return error
        case APIError():
            return _refusal(error)
        case ValueError():  # before OSError: the package's JSON errors are both
            return Permanent("what answers is no Docker engine: it sends no JSON")
        case OSError():
            return _network(error, seconds)
        case DockerException():
            return Misconfigured(f"the Docker engine cannot be spoken to: {type(error).__name__}")
        case _:
            return error


def _refusal(error: Any) -> SmmError:
    status = int(error.status_code or 0)
    said = scrub_text(storable(" ".join(str(error.explanation or "").split()), limit=200))
    if status == 404 and _NO_SUCH in said.lower():
        return NotFound("the Docker engine has no container of that name")
    text = f"the Docker engine answers {status}" + (f": {said}" if said else "")
    return Transient(text) if status >= 500 or status in _BUSY else Permanent(text)


def _network(error: BaseException, seconds: float) -> SmmError:
    for cause in _causes(error):
        match cause:
            case FileNotFoundError():
                return Transient("the Docker engine's socket does not exist")
            case PermissionError():
                return Misconfigured("the Docker engine's socket, or a TLS file, is not open to this user")
            case ConnectionRefusedError():
                return Transient("the Docker engine refuses connections")
            case TimeoutError():
                return _late(seconds)
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return Transient("the Docker engine broke off the TLS handshake")
            case ssl.SSLError():
                return Misconfigured(f"TLS with the Docker engine failed: {cause.reason or 'a certificate or key'}")
    return Transient(f"the Docker engine cannot be reached: {type(error).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, also where a library keeps that as an argument; the innermost first."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        item = waiting.pop(0)
        if item is None or item in found:
            continue
        found.append(item)
        kept = [value for value in (*item.args, getattr(item, "reason", None)) if isinstance(value, BaseException)]
        waiting += [item.__cause__, item.__context__, *kept]
    return reversed(found)


def _container(document: object) -> Container:
    said = document if isinstance(document, dict) else {}
    state = said.get("State")
    if not isinstance(state, dict) or not state.get("Status"):
        raise Permanent("what answers is no Docker engine: its answer has no container's state")
    health = state.get("Health") or state.get("Healthcheck") or {}  # podman's name of it
    status = str(health.get("Status") or "none") if isinstance(health, dict) else "none"
    return Container(
        id=str(said.get("Id", "")),
        name=str(said.get("Name", "")).lstrip("/"),
        image=str((said.get("Config") or {}).get("Image") or said.get("Image", "")),
        state=str(state["Status"]),
        running=bool(state.get("Running")),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        restart_count=int(said.get("RestartCount") or 0),
        health=status if status not in ("none", "") else None,
        started_at=_moment(state.get("StartedAt")),
        finished_at=_moment(state.get("FinishedAt")),
        error=scrub_text(storable(str(state.get("Error") or ""), limit=300)),
    )


def _moment(text: object) -> datetime | None:
    """The engine's times have nanoseconds, and the year 1 for never."""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", str(text)))
    except ValueError:
        return None
    if moment.year <= 1 or moment.tzinfo is None:
        return None
    return moment.astimezone(UTC)
