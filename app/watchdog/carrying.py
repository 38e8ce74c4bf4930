"""Brings pages to their addresses: each by a thread of its own, again and again, until it arrives, cannot, or need not.

A try is in the book before it begins and after it has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from app import catalog as catalogs
from app import clock
from app.alerts.imported import Call, Page, PageState
from app.infra.logging import get_logger
from app.notify import ChannelSpec, Delivery, Message, Outcome, resolve_all, send, take
from app.watchdog import planning
from app.watchdog.pages import Book

MOST_THREADS = 100
"""Pages that are on their way at once; more wait for one of these to arrive."""
PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds before the next try; the last one again and again, for as long as the trouble lasts."""
EARLY_AFTER = 2
"""Tries after which a page also goes another way, while its own channel is still being tried."""

log = get_logger(__name__)


class Carriers:
    """Every method may be called from any thread; `changed` is called when the ledger should know."""

    def __init__(self, book: Book, changed: Callable[[], None], pauses: Sequence[float] = PAUSES) -> None:
        self._book = book
        self._changed = changed
        self._pauses = pauses
        self._lock = threading.Lock()
        self._carried: set[UUID] = set()
        self._queued: deque[UUID] = deque()
        self._threads = 0
        self._over = threading.Condition()

    def look_again(self) -> None:
        """Some pages may not be wanted any more."""
        with self._over:
            self._over.notify_all()

    def carry_all(self) -> None:
        """See that somebody carries every page that is still to be delivered."""
        for call in self._book.calls():
            for page in call.pages:
                if page.state in (PageState.WAITING, PageState.SENDING) and not call.over:
                    self._carry(page.id)

    def _carry(self, page_id: UUID) -> None:
        with self._lock:
            if page_id in self._carried:
                return
            self._carried.add(page_id)
            if self._threads >= MOST_THREADS:
                self._queued.append(page_id)
                return
            self._threads += 1
        threading.Thread(target=self._carrier, args=(page_id,), name=f"page-{page_id}", daemon=True).start()

    def _carrier(self, page_id: UUID) -> None:
        """A thread's life: this page, then whichever waits."""
        current: UUID | None = page_id
        while current is not None:
            try:
                self._deliver(current)
            except Exception:
                log.exception("a page was given up by mistake", page=str(current))
            with self._lock:
                self._carried.discard(current)
                current = self._queued.popleft() if self._queued else None
                if current is None:
                    self._threads -= 1

    def _deliver(self, page_id: UUID) -> None:
        """Try until it arrives, cannot, or need not."""
        while (found := self._wanted(page_id)) is not None:
            call, page = found
            spec = resolve_all(catalogs.current()).get(page.channel)
            if spec is None:
                self._book.change(
                    page_id, lambda page: replace(page, state=PageState.GIVEN_UP, error="no such channel")
                )
                outcome = Outcome(delivered=False, permanent=True)
            else:
                self._pause(page_id, _rate_wait(spec, page))
                if self._wanted(page_id) is None:
                    return
                outcome = self._try(spec, page)
            page = self._after(page_id, page, outcome)
            self._changed()
            if outcome.delivered:
                return
            if outcome.permanent or page.attempts >= EARLY_AFTER:
                self._go_another_way(call.id, page_id)
            if outcome.permanent:
                return
            asked = outcome.retry_after.total_seconds() if outcome.retry_after is not None else 0.0
            self._pause(page_id, max(asked, self._pauses[min(page.attempts, len(self._pauses)) - 1]))

    def _wanted(self, page_id: UUID) -> tuple[Call, Page] | None:
        """The page, if it is still to be delivered and by us."""
        found = self._book.page(page_id)
        if found is None or found[0].over or found[1].state not in (PageState.WAITING, PageState.SENDING):
            return None
        return found

    def _pause(self, page_id: UUID, seconds: float) -> None:
        """Wait, but not for longer than the page is wanted."""
        until = clock.monotonic() + seconds
        with self._over:
            while (left := until - clock.monotonic()) > 0 and self._wanted(page_id) is not None:
                self._over.wait(left)

    def _try(self, spec: ChannelSpec, page: Page) -> Outcome:
        in_doubt = page.in_doubt
        began = self._book.change(
            page.id,
            lambda page: replace(
                page, state=PageState.SENDING, attempts=page.attempts + 1, sent_at=clock.now(), http_status=None
            ),
        )
        if began is None:
            return Outcome(delivered=False, permanent=True)
        return send(
            spec,
            Delivery(message=Message.from_json(began.message), to=page.destination or None, may_be_repeat=in_doubt),
        )

    def _after(self, page_id: UUID, page: Page, outcome: Outcome) -> Page:
        """Write down what became of the try."""
        state = PageState.GIVEN_UP if outcome.permanent else PageState.WAITING
        if outcome.delivered:
            state = PageState.DELIVERED
        written = self._book.change(
            page_id,
            lambda page: replace(
                page,
                state=state,
                finished_at=clock.now() if outcome.delivered else None,
                http_status=outcome.http_status,
                provider_id=outcome.provider_id,
                latency_ms=outcome.latency_ms,
                error=outcome.error or page.error if not outcome.delivered else None,
            ),
        )
        return written or page

    def _go_another_way(self, call_id: UUID, page_id: UUID) -> None:
        """One more page where the catalogue names a channel for that; once a page."""
        found = self._book.page(page_id)
        if found is None or any(other.fallback_of == page_id for other in found[0].pages):
            return
        made = planning.instead(*found, catalogs.current())
        if made is not None:
            self._book.extend(call_id, made)
            self._carry(made.id)


def _rate_wait(spec: ChannelSpec, page: Page) -> float:
    """Seconds until the address may be told again; one that is none is the channel's own business to refuse."""
    try:
        destination = spec.destination(page.destination or None)
    except Exception:
        return 0.0
    return take(destination, spec.rate.per_second, spec.rate.burst)
