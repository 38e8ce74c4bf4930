"""Scripts called with as little around them as can be: one connection a thread, the command written by hand.

Through the client's general path a call costs half as much again as the decision itself. Every call has a time-out. A
command whose connection turns out to be dead is sent once more: each script of ours may be repeated.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

import redis as library
from redis.exceptions import NoScriptError

from app import clock
from app.errors import Transient
from app.infra import redis

SILENT_SECONDS = 1.0
"""After a call was not answered in time, how long this process does not ask: or each request would wait so long."""

_HERE = Path(__file__).parent / "lua"
_ADJUST = ("settle", "spend", "drained")
"""Scripts that change what was counted before."""

_local = threading.local()

_silence: tuple[Any, float] | None = None
"""The pool whose server did not answer in time, and until when it is not asked, by the monotonic clock."""


class Script:
    """A script of this folder, with what all of them share in front of it. One may run twice where a reply was lost."""

    def __init__(self, name: str) -> None:
        parts = ("common", *(("adjust",) if name in _ADJUST else ()), name)
        self.text = "".join((_HERE / f"{part}.lua").read_text() for part in parts)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[str | bytes], arguments: Sequence[str | bytes | int]) -> Any:
        """The script's answer, text as bytes. Raises Transient."""
        return self.call_many([(keys, arguments)])[0]

    def call_many(self, calls: Sequence[tuple[Sequence[str | bytes], Sequence[str | bytes | int]]]) -> list[Any]:
        """The answers to many calls, in order, in one round trip. Raises Transient."""
        packed = [self._packed(keys, arguments) for keys, arguments in calls]
        answers = exchange(b"".join(packed), len(packed))
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # another server, or a restarted one: only what did not run is sent again
            _raise_first(exchange(_packed((b"SCRIPT", b"LOAD", self.text)), 1))
            again = exchange(b"".join(packed[place] for place in unknown), len(unknown))
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        _raise_first(answers)
        return answers

    def _packed(self, keys: Sequence[str | bytes], arguments: Sequence[str | bytes | int]) -> bytes:
        count = len(keys)
        head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % (3 + count + len(arguments), self.sha)
        return head + _parts((count, *keys, *arguments))


def exchange(packed: bytes, count: int) -> list[Any]:
    """Send, and read `count` answers; errors of the server are among them. Raises Transient.

    While the server is silent one caller a second asks it, and the others are told so at once.
    """
    global _silence
    if _silence is not None and _is_silent():
        raise Transient("Redis: no answer a moment ago")
    try:
        answers = _answers(packed, count)
    except TimeoutError as error:
        _silence = redis.client().connection_pool, clock.monotonic() + SILENT_SECONDS
        raise Transient("Redis: TimeoutError") from error
    _silence = None
    return answers


def _answers(packed: bytes, count: int) -> list[Any]:
    """As `exchange`; raises TimeoutError where the server is silent."""
    link = _of_before()
    if link is not None:
        try:
            return _exchange(link, packed, count)
        except TimeoutError:
            raise
        except (OSError, library.RedisError):
            pass  # it was dead, or is not to be understood: once more with another one
    with redis.transient_errors():
        try:
            return _exchange(_new(), packed, count)
        except library.TimeoutError as error:
            raise TimeoutError from error
        except TimeoutError:
            raise
        except OSError as error:
            raise Transient(f"Redis: {type(error).__name__}") from error


def _is_silent() -> bool:
    """False for another server, and for the one caller that tries whether it answers again."""
    global _silence
    pool, now = redis.client().connection_pool, clock.monotonic()
    if _silence is None or _silence[0] is not pool:
        return False
    if now < _silence[1]:
        return True
    _silence = pool, now + SILENT_SECONDS
    return False


class _Link:
    """A connection that the client's library made, with its password, time-outs and TLS; answers are read by hand.

    https://redis.io/docs/latest/develop/reference/protocol-spec/
    """

    def __init__(self, connection: Any) -> None:
        connection.connect()
        self.connection = connection
        self.send = connection._sock.sendall
        self._receive = connection._sock.recv
        self._held = b""
        self._at = 0

    def answer(self) -> Any:
        """The next one. Raises OSError when none comes."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            text = rest.decode("utf-8", "replace")
            return NoScriptError(text) if text.startswith("NOSCRIPT") else library.ResponseError(text)
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"_":
            return None
        raise library.InvalidResponse(f"{kind!r} begins no answer")

    def _line(self) -> bytes:
        while (end := self._held.find(b"\r\n", self._at)) < 0:
            self._more()
        line = self._held[self._at : end]
        self._at = end + 2
        return line

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        while len(self._held) < self._at + length + 2:
            self._more()
        start, self._at = self._at, self._at + length + 2
        return self._held[start : start + length]

    def _more(self) -> None:
        read = self._receive(65_536)
        if not read:
            raise ConnectionError("closed by the server")
        self._held, self._at = self._held[self._at :] + read, 0


def _exchange(link: _Link, packed: bytes, count: int) -> list[Any]:
    """Whatever goes wrong, nobody goes on with a connection on which an answer may still come."""
    try:
        link.send(packed)
        return [link.answer() for _ in range(count)]
    except BaseException:
        close()
        raise


def _of_before() -> _Link | None:
    """This thread's connection; none after a fork, or where another server is to be used."""
    of = getattr(_local, "of", None)
    return _local.link if of is not None and of == (redis.client().connection_pool, os.getpid()) else None


def _new() -> _Link:
    pool = redis.client().connection_pool
    link = _Link(pool.make_connection())
    _local.link, _local.of = link, (pool, os.getpid())
    return link


def close() -> None:
    """Close this thread's connection; the next call makes another one."""
    if getattr(_local, "of", None) is not None:
        _local.of = None
        _local.link.connection.disconnect()


def _raise_first(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise Transient(f"Redis: {type(answer).__name__}: {str(answer).partition(' ')[0]}") from answer


def _packed(parts: Sequence[str | bytes | int]) -> bytes:
    """https://redis.io/docs/latest/develop/reference/protocol-spec/: an array of bulk strings."""
    return b"*%d\r\n%b" % (len(parts), _parts(parts))


def _parts(parts: Sequence[str | bytes | int]) -> bytes:
    out = []
    for part in parts:
        if isinstance(part, str):
            raw = part.encode("utf-8", "surrogatepass")
        elif isinstance(part, bytes):
            raw = part
        else:
            raw = b"%d" % part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)
