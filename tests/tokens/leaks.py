"""Searching for tokens where none may be: files, Redis, Postgres, pages and answers. A hit names the place only."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from psycopg2 import sql
from redis import ResponseError

from app.infra.redis import connect

MARKER = "canary-"
"""What every token begins with that a local platform of the tests gives."""

_CHUNK = 1 << 20
_PAGES = 200
_TASKS = 60
_SERVER = ("SLOWLOG GET 128", "CLIENT LIST")
_SHORTEST = 7
_TOO_MANY = 429
_PATIENCE_SECONDS = 60.0


class Needles:
    """What is searched for: the marker and the secrets given, as they are, quoted, in base64 and in hexadecimal."""

    def __init__(self, *secrets: str) -> None:
        """A secret of fewer than 7 characters is refused: it would be found by chance."""
        self._forms: set[bytes] = set()
        for secret in (MARKER, *secrets):
            self.add(secret)

    def add(self, secret: str) -> None:
        """Look for this one as well from now on."""
        if len(secret) < _SHORTEST:
            raise ValueError("too short to be searched for")
        self._forms |= set(_forms(secret))

    def found_in(self, text: object) -> bool:
        """Is one of them in `text`, bytes or anything that prints?"""
        raw = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
        return any(form in raw for form in self._forms)

    @property
    def longest(self) -> int:
        """Bytes of the longest form."""
        return max(map(len, self._forms))

    @property
    def texts(self) -> list[str]:
        """Every form as text."""
        return sorted(form.decode("ascii", "replace") for form in self._forms)


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield raw.hex().encode()
    for shift in range(3):  # where in a group of three bytes it begins
        for after in ("\0", "\x40", "\x80", "\xc0") if (shift + len(raw)) % 3 == 2 else ("",):
            encoded = base64.b64encode(bytes(shift) + raw + after.encode("latin-1"))
            # What its neighbours decide is left out; of the last sign they decide too little for that.
            inner = encoded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6 + bool(after)]
            yield inner
            yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def in_texts(needles: Needles, texts: Mapping[str, object] | Iterable[tuple[str, object]]) -> list[str]:
    """Names of those texts that have one."""
    pairs = texts.items() if isinstance(texts, Mapping) else texts
    return [name for name, text in pairs if needles.found_in(text)]


def in_files(needles: Needles, directory: Path) -> list[str]:
    """Files at any depth, whatever they are: logs, states, and what a server keeps of its data and its journal."""
    return [
        f"file {path.relative_to(directory)}"
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and _file_has(needles, path)
    ]


def _file_has(needles: Needles, path: Path) -> bool:
    kept = b""
    with suppress(FileNotFoundError), path.open("rb") as stream:  # it may be gone since it was listed
        while chunk := stream.read(_CHUNK):
            if needles.found_in(kept + chunk):
                return True
            kept = chunk[-needles.longest :]
    return False


def in_redis(needles: Needles, url: str) -> list[str]:
    """Every key and its value, the log of slow commands, and the names of clients."""
    client = connect(url, timeout_seconds=10, decode=False)
    with closing(client):
        found = [place for key in client.scan_iter(count=1000) for place in _in_key(needles, client, key)]
        asked = ((f"Redis {what}", _flat(client.execute_command(*what.split()))) for what in _SERVER)
        return found + in_texts(needles, asked)


def _in_key(needles: Needles, client: Any, key: bytes) -> list[str]:
    if needles.found_in(key):
        return [f"the name of a key of Redis, with the SHA-256 {hashlib.sha256(key).hexdigest()[:12]}"]
    kind = client.type(key).decode()
    read: Mapping[str, Callable[[], object]] = {
        "string": lambda: client.get(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "hash": lambda: client.hgetall(key),
        "stream": lambda: [client.xrange(key), client.xinfo_groups(key)],
        "none": lambda: b"",
    }
    try:
        value = read[kind]() if kind in read else client.dump(key)
    except ResponseError:  # it became another kind, or went, meanwhile
        return []
    return [f"Redis {kind} {key.decode('utf-8', 'replace')}"] if needles.found_in(_flat(value)) else []


def _flat(value: object) -> bytes:
    """Every text in it, one after another."""
    match value:
        case bytes():
            return value
        case Mapping():
            return b"\n".join(_flat(inner) for pair in value.items() for inner in pair)
        case list() | tuple() | set() | frozenset():
            return b"\n".join(map(_flat, value))
        case _:
            return str(value).encode()


_TABLES = """
SELECT c.oid::regclass::text AS name, array_agg(a.attname ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
GROUP BY 1 ORDER BY 1"""
_SESSIONS = "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


def in_postgres(needles: Needles, url: str) -> list[str]:
    """Every column of every table, and what each session asked last."""
    found = []
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(_SESSIONS)
        if any(needles.found_in(query or "") for (query,) in cursor.fetchall()):
            found.append("Postgres: the last statement of a session")
        cursor.execute(_TABLES)
        for table, columns in cursor.fetchall():
            if _has(cursor, needles, table, "t"):
                found += [f"Postgres {table}.{column}" for column in columns if _has(cursor, needles, table, column)]
    return found


def _has(cursor: Any, needles: Needles, table: str, what: str) -> bool:
    """`what`: a column, or "t" for the whole row. A bytea is compared in hexadecimal, as it prints."""
    row = sql.SQL("t::text") if what == "t" else sql.SQL("t.{}::text").format(sql.Identifier(what))
    asked = sql.SQL("SELECT EXISTS (SELECT FROM {} t, unnest(%s) AS form WHERE strpos({}, reverse(form)) > 0)")
    # Backwards: the server may write a slow statement into its log, where the next search would find it.
    cursor.execute(asked.format(sql.SQL(table), row), ([form[::-1] for form in needles.texts],))
    return bool(cursor.fetchone()[0])


Get = Callable[[str], Any]
"""Asks for a path; the answer has `status_code`, `content`, `text`, `headers` and `json()`, as httpx's have."""


def in_answers(needles: Needles, get: Get, paths: Iterable[str]) -> list[str]:
    """Answers to these paths, whatever their status, with their headers."""
    return [f"answer of {path}" for path in paths if _answer_has(needles, _answer(get, path))]


def _answer(get: Get, path: str) -> Any:
    """Waits where so many questions are not allowed: nothing was searched then."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (answer := get(path)).status_code == _TOO_MANY:
        assert time.monotonic() < deadline, f"{path} cannot be searched: too many requests"
        time.sleep(0.1)
    return answer


def _answer_has(needles: Needles, answer: Any) -> bool:
    return needles.found_in(answer.content) or needles.found_in(dict(answer.headers))


def api_paths(document: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """Every GET of an OpenAPI document. `known`: values of parameters in paths; one that is not known is made up."""

    def filled(found: re.Match[str]) -> str:
        name = found.group(1).partition(":")[0]
        return quote(known.get(name, "00000000-0000-7000-8000-000000000000"), safe="")

    return [re.sub(r"\{(\w+(?::\w+)?)\}", filled, path) for path, how in document["paths"].items() if "get" in how]


def in_api(needles: Needles, get: Get, known: Mapping[str, str]) -> list[str]:
    """Answers of every GET of `/openapi.json`, and that document."""
    return in_answers(needles, get, ["/openapi.json", *api_paths(_answer(get, "/openapi.json").json(), known)])


def in_pages(needles: Needles, get: Get, *starts: str) -> list[str]:
    """Pages and whatever they lead to, up to 200 of them. Raises AssertionError where a start is no page."""
    found, waiting, seen = [], list(starts), set(starts)
    for start in starts:
        assert _answer(get, start).status_code == 200, f"{start} cannot be searched"
    while waiting and len(seen) <= _PAGES:
        path = waiting.pop(0)
        answer = _answer(get, path)
        if _answer_has(needles, answer):
            found.append(f"page {path.partition('?')[0]}")
        if "html" in answer.headers.get("content-type", ""):
            links = re.findall(r"""(?:href|src|action)=["'](/[^"'#]*)""", answer.text)
            fresh = [link.replace("&amp;", "&") for link in dict.fromkeys(links)]
            waiting += [link for link in fresh if link not in seen and "/logout" not in link]
            seen |= set(fresh)
    return found


def in_flower(needles: Needles, get: Get) -> list[str]:
    """Flower's pages, its lists of all tasks, and tasks by themselves: arguments, results, exceptions and their traces.

    Of those that are about tokens or failed, the newest: a product that ran for long knows thousands.
    """
    known = _answer(get, "/api/tasks?limit=10000").json()
    telling = [task for task, of in known.items() if "tokens" in str(of.get("name")) or of.get("exception")]
    tasks = (telling or list(known))[:_TASKS]
    lists = ("/", "/workers", "/tasks", "/broker", "/api/tasks?limit=10000", "/api/workers?refresh=0", "/metrics")
    each = [path for task in tasks for path in (f"/api/task/info/{task}", f"/task/{task}")]
    return [f"Flower, {place}" for place in in_answers(needles, get, [*lists, *each])]
