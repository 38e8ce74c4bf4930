"""The watchdog's own book of whom it calls: written down before a try and after it, so that a restart repeats nothing.

One line a call, the whole file replaced in one step. A disk that takes nothing costs the memory over a restart, and no
page. One watchdog of a home has the book; a second one beside it pages nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter

from app.alerts.imported import Call, Page, PageState
from app.infra.logging import get_logger
from app.watchdog import kept

MOST = 200
"""Calls that are kept at most: more falls at once are one disaster, and told often enough."""

log = get_logger(__name__)

_CALL: TypeAdapter[Call] = TypeAdapter(Call)


class Book:
    """Calls and how far they are. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._turn: int | None = None
        self._calls: dict[UUID, Call] = {}
        self._stored: dict[UUID, Call] = {}
        self._disk_told = False

    def take_over(self) -> bool:
        """Is the book this process's? The first to ask has it, with what an earlier process left, until it ends."""
        with self._lock:
            if self._turn is not None:
                return True
            self._turn = kept.turn(self._path)
            if self._turn is None:
                return False
            self._calls = {call.id: call for call in kept.read(self._path, _CALL, most=MOST)}
            return True

    def calls(self) -> list[Call]:
        """Everything in it, the oldest first."""
        with self._lock:
            return list(self._calls.values())

    def add(self, calls: Iterable[Call]) -> None:
        """Write down calls before anybody is called."""
        with self._lock:
            for call in calls:
                if len(self._calls) < MOST:
                    self._calls[call.id] = call
                else:
                    log.error("too many calls at once: one is dropped", service=call.service, thread=call.thread)
            self._write()

    def page(self, page_id: UUID) -> tuple[Call, Page] | None:
        """A page with its call, as they are now; None when it is no longer this process's business."""
        with self._lock:
            for call in self._calls.values():
                for page in call.pages:
                    if page.id == page_id:
                        return call, page
            return None

    def change(self, page_id: UUID, how: Callable[[Page], Page]) -> Page | None:
        """Replace a page and write that down; what it is now."""
        with self._lock:
            found = self.page(page_id)
            if found is None:
                return None
            call, before = found
            after = how(before)
            pages = tuple(after if page.id == page_id else page for page in call.pages)
            self._calls[call.id] = replace(call, pages=pages)
            self._write()
            return after

    def extend(self, call_id: UUID, page: Page) -> None:
        """One more page of a call: another way to the same person."""
        with self._lock:
            call = self._calls.get(call_id)
            if call is not None:
                self._calls[call_id] = replace(call, pages=(*call.pages, page))
                self._write()

    def over(self, about: str) -> bool:
        """Falls whose key begins so are over: what nobody was told of need not be told. Was there any?"""
        with self._lock:
            standing = [call for call in self._calls.values() if call.fall.startswith(about) and not call.over]
            for call in standing:
                self._calls[call.id] = replace(call, over=True)
            if standing:
                self._tidy()
                self._write()
            return bool(standing)

    def unstored(self) -> list[Call]:
        """Calls of which the ledger does not know all."""
        with self._lock:
            return [call for call in self._calls.values() if self._stored.get(call.id) != call]

    def services(self) -> set[str]:
        """The services about which people are told from here."""
        with self._lock:
            return {call.service for call in self._calls.values()}

    def standing(self, service: str) -> list[Call]:
        """Calls about a service that are not over and of which somebody was told, or may have been."""
        with self._lock:
            found = [call for call in self._calls.values() if call.service == service]
            return [call for call in found if not call.over and call.is_tried]

    def stored(self, calls: Iterable[Call], handed_over: set[UUID]) -> None:
        """The ledger has these calls as they were then, and delivers the pages `handed_over` itself."""
        with self._lock:
            for call in calls:
                now = self._calls.get(call.id)
                if now is None:
                    continue
                self._stored[call.id] = _handed_over(call, handed_over)
                self._calls[call.id] = _handed_over(now, handed_over)
            self._tidy()
            self._write()

    def waiting(self) -> int:
        """Pages that have not arrived, and are ours to send."""
        with self._lock:
            pages = [page for call in self._calls.values() if not call.over for page in call.pages]
            return sum(page.state not in (PageState.DELIVERED, PageState.HANDED_OVER) for page in pages)

    def _tidy(self) -> None:
        """Forget calls that are over and of which nothing is left to say."""
        for call in list(self._calls.values()):
            if call.over and not self._is_open(call):
                del self._calls[call.id]
                self._stored.pop(call.id, None)

    def _is_open(self, call: Call) -> bool:
        if not call.is_tried:
            return False
        return self._stored.get(call.id) != call or any(page.state is PageState.SENDING for page in call.pages)

    def _write(self) -> None:
        try:
            kept.write(self._path, map(_CALL.dump_json, self._calls.values()))
            self._disk_told = False
        except OSError as error:
            if not self._disk_told:
                self._disk_told = True
                log.error("pages are in memory only: their file cannot be written", error=error.strerror)


def _handed_over(call: Call, pages: set[UUID]) -> Call:
    after = (replace(page, state=PageState.HANDED_OVER) if page.id in pages else page for page in call.pages)
    return replace(call, pages=tuple(after))
