"""Pages for what the engine cannot page for: each fall, and each repair that did not help, once to each address, until
it arrives or the trouble is over. Who was told of a fall is told what was done about it, too.

Deciding whom to call is one thread's work, each page another's: the watch never waits for either, and no channel for
another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue

from sqlalchemy.exc import SQLAlchemyError

from app import catalog as catalogs
from app import clock
from app.alerts import imported
from app.alerts.imported import Call, Page, PageState
from app.config import settings
from app.errors import SmmError
from app.infra import db
from app.infra.logging import get_logger
from app.watchdog import known, planning
from app.watchdog.carrying import PAUSES, Carriers
from app.watchdog.falls import Fall, Trouble
from app.watchdog.pages import Book

MOST_FALLS = 100
"""Falls that wait to be looked at."""
HELD_SECONDS = 10.0
"""What held a page back is looked at again after this time."""
LEDGER_SECONDS = 2.0
"""How long the ledger may take to say whether the engine has told already."""

log = get_logger(__name__)


class Pager:
    """`fallen` and `risen` as often as you like, from the watch; `changed` is called when the ledger should know."""

    def __init__(
        self,
        book: Book,
        run_dir: Path,
        changed: Callable[[], None],
        *,
        pauses: Sequence[float] = PAUSES,
        held_seconds: float = HELD_SECONDS,
        taken: Callable[[str, datetime], str] = lambda *_: "",
    ) -> None:
        self._book = book
        self._known = known.path_in(run_dir)
        self._changed = changed
        self._carriers = Carriers(book, changed, pauses)
        self._held_seconds = held_seconds
        self._taken = taken
        self._falls: SimpleQueue[Trouble | str] = SimpleQueue()
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._waiting = 0
        self._settled = threading.Event()
        self._settled.set()
        self._told_held: dict[str, tuple[str, ...]] = {}

    def start(self) -> None:
        """Begin, with what a run before this one left."""
        threading.Thread(target=self._run, name="pager", daemon=True).start()
        if self._book.take_over():
            self._carriers.carry_all()

    def fallen(self, fall: Trouble) -> None:
        """A service is down, or a repair has failed. The first time, and again while nobody could be called, it is
        looked at.
        """
        with self._lock:
            if self._waiting >= MOST_FALLS or clock.monotonic() < self._asked.get(fall.key, 0.0):
                return
            self._asked[fall.key] = float("inf")
            self._waiting += 1
            self._settled.clear()
        self._falls.put(fall)

    def risen(self, name: str) -> None:
        """A service is up, or nobody's business any more: nothing more is tried for its falls."""
        self._forget(f"{name} ")

    def mended(self, key: str) -> None:
        """What a repair could not help is over."""
        self._forget(key)

    def acted(self, service: str) -> None:
        """Something was done about a service: those who were told of its fall are told of that."""
        with self._lock:
            self._waiting += 1
            self._settled.clear()
        self._falls.put(service)

    def _forget(self, about: str) -> None:
        with self._lock:
            for key in [key for key in self._asked if key.startswith(about)]:
                del self._asked[key]
                self._told_held.pop(key, None)
        if self._book.over(about):
            self._carriers.look_again()
            self._changed()

    def waiting(self) -> int:
        """Pages that have not arrived, and are ours to send."""
        return self._book.waiting()

    def settle(self, seconds: float) -> bool:
        """Wait until every fall that was handed on is in the book, or nobody is called for it."""
        return self._settled.wait(seconds)

    def _run(self) -> None:
        while True:
            fall = self._falls.get()
            again = self._held_seconds
            about = fall if isinstance(fall, str) else fall.spec.name
            try:
                if isinstance(fall, str):
                    self._tell_acted(fall)
                else:
                    again = self._look_at(fall)
            except Exception as error:  # whatever is wrong with the catalogue, the next look may find it right
                log.error("nobody could be called", service=about, error=str(error), kind=type(error).__name__)
            with self._lock:
                if not isinstance(fall, str) and fall.key in self._asked:
                    self._asked[fall.key] = clock.monotonic() + again
                self._waiting -= 1
                if not self._waiting:
                    self._settled.set()

    def _tell_acted(self, service: str) -> None:
        threads: dict[str, list[Call]] = {}
        for call in self._book.standing(service):
            threads.setdefault(call.thread, []).append(call)
        look = self._look(service)
        for call in self._book.calls():
            if call.service == service and not call.over and look.taken:
                self._reword(call, look)
        told = [made for calls in threads.values() if (made := planning.acted(calls, look)) is not None]
        if told:
            self._book.add(told)
            log.info("telling what was done", service=service, pages=sum(len(call.pages) for call in told))
            self._carriers.carry_all()

    def _reword(self, call: Call, look: planning.Look) -> None:
        def with_actions(page: Page) -> Page:
            return planning.reworded(call, page, look) if page.state is PageState.WAITING else page

        for page in call.pages:
            if page.state is PageState.WAITING:
                self._book.change(page.id, with_actions)

    def _look(self, service: str) -> planning.Look:
        now = clock.now()
        return planning.Look(catalogs.current(), known.kept(self._known), settings(), now, self._taken(service, now))

    def _look_at(self, fall: Trouble) -> float:
        """Call whom the plan says; in how many seconds to look again."""
        if not self._book.take_over():
            self._say_held(fall, ("another watchdog of this installation pages",))
            return self._held_seconds
        self._carriers.carry_all()
        calls = self._book.calls()
        if any(call.fall == fall.key for call in calls):
            return float("inf")
        made = planning.plan(fall, self._look(fall.spec.name), called=calls)
        self._say_held(fall, made.held)
        if not made.calls:
            return self._held_seconds
        untold = _untold(fall, made.calls)
        self._book.add(untold)
        if self._is_over(fall):  # while the ledger was asked
            self._book.over(fall.key)
            return float("inf")
        for call in untold:
            log.warning("paging", service=call.service, thread=call.thread[:12], pages=len(call.pages))
        self._carriers.carry_all()
        return float("inf")

    def _is_over(self, fall: Trouble) -> bool:
        with self._lock:
            return fall.key not in self._asked

    def _say_held(self, fall: Trouble, reasons: tuple[str, ...]) -> None:
        """Say why nobody is called, once for each reason."""
        with self._lock:
            said = self._told_held.get(fall.key, ())
            self._told_held[fall.key] = reasons
        if reasons and reasons != said:
            log.warning("not paged for now", service=fall.spec.name, why=list(reasons))


def _untold(fall: Trouble, calls: Sequence[Call]) -> list[Call]:
    """Without those whose every alert the engine has told since the fall; while nobody knows, all of them."""
    service = fall.spec.service
    if isinstance(fall, Fall) and service.kind == "postgres" and "url" not in service.options:
        return list(calls)  # the ledger itself is what has fallen: asking it would only cost time
    fingerprints = [raised.fingerprint for call in calls for raised in call.raised]
    try:
        with db.read_within(LEDGER_SECONDS) as session:
            told = imported.told_since(session, fingerprints, fall.began_at)
    except (SmmError, SQLAlchemyError):
        return list(calls)
    return [call for call in calls if not {raised.fingerprint for raised in call.raised} <= told]
