"""How often a caller may ask us: the catalogue's [http.NAME], counted by the limiter, told in RateLimit headers.

Answers follow draft-ietf-httpapi-ratelimit-headers. While Redis is away nobody is refused: at such a time the console
is needed most.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import catalog, clock
from app.catalog import HttpLimit, RateLimit
from app.errors import Invalid, SmmError
from app.infra import metrics
from app.infra.logging import get_logger
from app.limits import deciding
from app.limits.core import Ask, Counting, Decision, Use, Verdict
from app.limits.plans import Plan
from app.web.deps import caller_of
from app.web.errors import Unauthenticated, problem
from app.web.middleware import HEADERS

log = get_logger(__name__)

KEYED = "/api/"
"""Beginning of the paths that ask for a key: who has none is a stranger there, so that keys cannot be guessed fast."""

FRONT = "/"
"""As a beginning it would be every path's, which is what `default` is for: it means the front page alone."""

LOOK_SECONDS = 0.25
"""How old the limits that are applied may be."""

WAIT_SECONDS = 1.0
"""How long a request waits for its decision at most; then it goes through."""

AWAY_SECONDS = 5.0
"""After Redis failed, how long it is not asked again, and then by one request only."""

MINUTE, SECOND = 60, 1
LONGEST_CALLER = 200


class Rule:
    """One limit as it is applied: its plan for the limiter, and what it tells of itself."""

    def __init__(self, limit: HttpLimit) -> None:
        self.limit = limit
        self.windows = [(limit.name, limit.rate, MINUTE)]
        if limit.burst:
            self.windows.append((f"{limit.name}-burst", limit.burst, SECOND))
        self.policy = ", ".join(f'"{name}";q={most};w={seconds}' for name, most, seconds in self.windows)
        uses = [Use(_rolling(most, seconds), 0, 1, most) for _, most, seconds in self.windows if most]
        self._plan = Plan(f"http:{limit.name}", 0, uses, kept=False)

    def ask(self, caller: str) -> Ask:
        """One request more of `caller`, a name or an address."""
        subject = f"http:{self.limit.name}:{caller}"
        return Ask(self._plan, "", (subject,), scope="", counting=Counting.RELEASE)

    def headers(self, decision: Decision) -> dict[str, str]:
        """What every answer says: the quotas, and what is left of the one that is in the way, else of the minute's."""
        told = decision.readings
        place = max(range(len(told)), key=lambda place: told[place].room_at or decision.at)
        name, most, seconds = self.windows[place]
        after = wait_seconds(decision) or seconds
        left = max(0, most - told[place].used)
        return {"RateLimit-Policy": self.policy, "RateLimit": f'"{name}";r={left};t={after}'}

    def words(self, wait: int) -> str:
        """For the one who is refused."""
        bounds = f"{self.limit.rate} requests a minute"
        if self.limit.burst:
            bounds += f", at most {self.limit.burst} of them in one second"
        return f'the limit "{self.limit.name}" of {bounds} is reached; there is room again in {wait} s'


def _rolling(most: int, seconds: int) -> RateLimit:
    return RateLimit(name=f"s{seconds}", capacity=most, window="rolling", period=seconds)


def wait_seconds(decision: Decision) -> int:
    """Whole seconds until there is room again, 1 or more; 0 where there is."""
    at = decision.room_at
    return 0 if at is None else max(1, math.ceil((at - decision.at).total_seconds()))


@dataclass(frozen=True, slots=True)
class Rules:
    """All limits of a catalogue. None stands for "as often as it likes"."""

    default: Rule | None = None
    paths: tuple[tuple[str, Rule | None], ...] = ()
    callers: Mapping[str, Rule | None] = field(default_factory=dict)

    def of(self, path: str, caller: str | None) -> Rule | None:
        """The limit of a request; `caller` None: it has no key, or a wrong one."""
        if caller is None and path.startswith(KEYED):
            return self.default
        for beginning, rule in self.paths:
            if path == beginning or (beginning != FRONT and path.startswith(f"{beginning}/")):
                return rule
        return self.callers.get(caller, self.default) if caller is not None else self.default


def rules_of(limits: Mapping[str, HttpLimit]) -> Rules:
    """A catalogue's limits, those of paths with the longest one first."""
    rules = {name: Rule(limit) if limit.rate else None for name, limit in limits.items()}
    paths = [(path.rstrip("/") or FRONT, rules[name]) for name, limit in limits.items() for path in limit.paths]
    return Rules(
        default=rules.get("default"),
        paths=tuple(sorted(paths, key=lambda found: -len(found[0]))),
        callers={caller: rules[name] for name, limit in limits.items() for caller in limit.callers},
    )


class Limited:
    """Refuses what is too much before its body is read. Belongs inside of RequestContext."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._limits: Mapping[str, HttpLimit] = {}
        self._rules = Rules()
        self._look_at = -math.inf
        self._gate = Gate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        caller = await _caller(scope)
        rule = self._current().of(scope["path"], caller)
        if rule is None:
            await self.app(scope, receive, send)
            return
        who = caller if caller is not None else address_of(scope)
        decision = await self._gate.decide(rule.ask(who))
        if decision is None:
            metrics.HTTP_UNCOUNTED.inc(limit=rule.limit.name)
        else:
            scope[HEADERS] = rule.headers(decision)
            if decision.verdict is not Verdict.ALLOW:
                answer = _refusal(rule, who, decision, scope.get("smm.request_id"))
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _current(self) -> Rules:
        now = clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            try:
                limits = catalog.current().limiting.http
            except Invalid:  # the status page tells of it
                return self._rules
            if limits is not self._limits:
                self._limits, self._rules = limits, rules_of(limits)
        return self._rules


class Gate:
    """The way to the limiter, by a thread of its own: who comes while it asks is in the next trip."""

    def __init__(self) -> None:
        self._line: list[tuple[Ask, asyncio.Future[Decision | None]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._away_until: float | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="http-limits")

    async def decide(self, ask: Ask) -> Decision | None:
        """What the limiter says; None while it cannot be asked."""
        if self._away_until is not None:
            if clock.monotonic() < self._away_until:
                return None
            self._put_off()  # this request tries, the others go through meanwhile
        answer: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        self._line.append((ask, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_for_all())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await answer
        except TimeoutError:
            return None

    async def _ask_for_all(self) -> None:
        while self._line:
            line, self._line = self._line, []
            asks = [ask for ask, _ in line]
            found = await asyncio.get_running_loop().run_in_executor(self._thread, _decide_many, asks)
            if found is None:
                self._put_off()
                line, self._line = line + self._line, []
            else:
                self._away_until = None
            for place, (_, answer) in enumerate(line):
                if not answer.done():
                    answer.set_result(found[place] if found else None)

    def _put_off(self) -> None:
        self._away_until = clock.monotonic() + AWAY_SECONDS


def _decide_many(asks: Sequence[Ask]) -> Sequence[Decision] | None:
    try:
        return deciding.decide_many(asks)
    except SmmError as error:
        log.warning("requests are not counted: Redis is away", error=str(error))
    except Exception:
        log.exception("requests are not counted")
    return None


async def _caller(scope: Scope) -> str | None:
    try:
        return (await caller_of(scope)).name[:LONGEST_CALLER]
    except (Unauthenticated, SmmError):  # a key's file that cannot be read is told by whoever needs it
        return None


def address_of(scope: Scope) -> str:
    """Whose request it is without a key: the address, of IPv6 the network of 64 bits that one customer has."""
    client = scope.get("client")
    if not client:
        return "local"
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])[:LONGEST_CALLER]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


def _refusal(rule: Rule, who: str, decision: Decision, request_id: str | None) -> Response:
    wait = wait_seconds(decision)
    metrics.HTTP_LIMITED.inc(limit=rule.limit.name)
    log.info("request refused: too many", limit=rule.limit.name, caller=who, retry_after_seconds=wait)
    return problem(429, rule.words(wait), request_id=request_id, headers={"Retry-After": str(wait)})
