"""The limiter once more, to be read rather than to be fast: what the scripts must do, in plain values.

Times are milliseconds since 1970, amounts whole units. Nothing changes in place: whatever happens gives a new Limiter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

Amounts = Mapping[int, int]
Place = tuple[str, str]
"""Subject and limit: where a counter is."""


@dataclass(frozen=True)
class Rule:
    """A limit. A calendar window is `length` long; a rolling one is `buckets` buckets of the width `length`."""

    name: str
    length: int
    buckets: int
    capacity: int
    levels: tuple[int, ...]

    @property
    def is_rolling(self) -> bool:
        return self.buckets > 0


@dataclass(frozen=True)
class Use:
    """So much of this limit of this subject, up to a ceiling; `cost` None: the estimate."""

    subject: str
    rule: Rule
    ceiling: int
    cost: int | None


@dataclass(frozen=True)
class Counter:
    """`amounts`: what was used, by calendar window (its start) or by bucket (its number)."""

    amounts: Amounts = field(default_factory=dict)
    peaks: Amounts = field(default_factory=dict)
    refused: Amounts = field(default_factory=dict)
    deferred: Amounts = field(default_factory=dict)
    told: Amounts = field(default_factory=dict)
    blocked_until: int = 0
    capacity: int | None = None


@dataclass(frozen=True)
class Taken:
    """What an id took of a limit; `slot` is a calendar window or a bucket."""

    subject: str
    rule: Rule
    slot: int
    amount: int
    is_money: bool


@dataclass(frozen=True)
class Record:
    """What is known of an id. `ended`: "", "settled" or "refunded"."""

    operation: str
    taken: tuple[Taken, ...] = ()
    waits: bool = False
    ended: str = ""
    lease_ends: int = 0


@dataclass(frozen=True)
class Question:
    """One decision to be made. `how`: now, defer, release or peek."""

    id: str
    operation: str
    rank: int
    uses: tuple[Use, ...]
    subjects: tuple[str, ...]
    fields: tuple[str, ...] = ()
    needs_token: bool = False
    how: str = "now"
    estimate: int = 0
    lease: int = 0
    pass_: str = ""


@dataclass(frozen=True)
class Said:
    """`rooms`: of each limit when there may be room again, 0 where there is some."""

    verdict: str
    used: tuple[int, ...] = ()
    rooms: tuple[int, ...] = ()
    behind: str | None = None
    holds: int = 0


def slot_of(rule: Rule, now: int) -> int:
    """The calendar window, or the bucket, that `now` is in."""
    return now // rule.length if rule.is_rolling else now - now % rule.length


def counts(rule: Rule, slot: int, now: int) -> bool:
    """Is what was used then still counted now? A bucket is, until as many others have begun."""
    newest = slot_of(rule, now)
    return slot > newest - rule.buckets if rule.is_rolling else slot == newest


def ends(rule: Rule, slot: int) -> int:
    """When what was used then is no longer counted."""
    return (slot + rule.buckets) * rule.length if rule.is_rolling else slot + rule.length


def used_of(rule: Rule, counter: Counter, now: int) -> int:
    """What is used of the limit now."""
    return sum(amount for slot, amount in counter.amounts.items() if counts(rule, slot, now))


def ceiling_of(use: Use, counter: Counter) -> int:
    """Where the platform says less than we do, the class's share of that."""
    if counter.capacity is None or counter.capacity >= use.rule.capacity:
        return use.ceiling
    return -(-use.ceiling * counter.capacity // use.rule.capacity)


def room_of(use: Use, counter: Counter, cost: int, now: int) -> int:
    """When there may be room for the cost, 0 where there is: the oldest buckets are forgotten first."""
    rule, room = use.rule, 0
    excess = used_of(rule, counter, now) + cost - ceiling_of(use, counter)
    if cost > 0 and excess > 0:
        room = now + rule.length * rule.buckets if rule.is_rolling else ends(rule, slot_of(rule, now))
        for slot in sorted(slot for slot in counter.amounts if rule.is_rolling and counts(rule, slot, now)):
            excess -= counter.amounts[slot]
            if excess <= 0:
                room = ends(rule, slot)
                break
    return max(room, counter.blocked_until if counter.blocked_until > now else 0)


@dataclass(frozen=True)
class Limiter:
    """Everything that is kept. `events`: the crossings that were told: subject, limit, level and use of each."""

    counters: Mapping[Place, Counter] = field(default_factory=dict)
    records: Mapping[str, Record] = field(default_factory=dict)
    lanes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stayed: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    holds: Mapping[str, tuple[tuple[int, int, str], ...]] = field(default_factory=dict)
    events: tuple[tuple[str, str, int, int], ...] = ()

    def counter(self, subject: str, rule: Rule) -> Counter:
        return self.counters.get((subject, rule.name), Counter())

    def decide(self, asked: Question, now: int) -> tuple[Limiter, Said]:
        """Everything is consumed, or nothing."""
        record = self.records.get(asked.id)
        if record is not None and asked.how != "peek" and not (record.waits and asked.how == "release"):
            return self, Said("again")
        costs = [asked.estimate if use.cost is None else use.cost for use in asked.uses]
        counters = [self.counter(use.subject, use.rule) for use in asked.uses]
        used = tuple(used_of(use.rule, counter, now) for use, counter in zip(asked.uses, counters, strict=True))
        rooms = tuple(
            room_of(use, counter, cost, now) for use, counter, cost in zip(asked.uses, counters, costs, strict=True)
        )
        held = self._held(asked, now)
        behind = self._behind(asked)
        if held or behind is not None or any(rooms):
            return self._refuse(asked, rooms, held, now), Said("wait", used, rooms, behind, held)
        if asked.how == "peek":
            return self, Said("allow", used)
        after, taken = self, []
        for use, cost in zip(asked.uses, costs, strict=True):
            slot = slot_of(use.rule, now)
            if cost > 0:
                after = after._add(use.subject, use.rule, slot, cost, now)
            taken.append(Taken(use.subject, use.rule, slot, cost, use.cost is None))
        record = Record(asked.operation, tuple(taken), lease_ends=now + asked.lease if asked.lease else 0)
        after = replace(after, records={**after.records, asked.id: record})
        if asked.pass_ and after._stayed(asked) is None:
            after = after._stay(asked, ())
        return after, Said("allow", tuple(was + cost for was, cost in zip(used, costs, strict=True)))

    def _held(self, asked: Question, now: int) -> int:
        """How many holds stop it."""
        lines = [hold for name in {*asked.fields, *asked.subjects} for hold in self.holds.get(name, ())]
        return sum(
            asked.rank >= least and (until == 0 or until > now) and (effect != "token" or asked.needs_token)
            for least, until, effect in lines
            if effect != "hint"
        )

    def _behind(self, asked: Question) -> str | None:
        """The last lane, of its operation and its limits, in which something as urgent waits or had to stay."""
        found = None
        lanes = (asked.operation, *(use.rule.name for use in asked.uses))
        if asked.how != "release":
            queue = self.lanes.get(asked.subjects[0], {})
            found = next((lane for lane in reversed(lanes) if lane in queue and queue[lane] <= asked.rank), None)
        stayed = self._stayed(asked) if asked.pass_ and asked.how != "peek" else None
        return next((lane for lane in reversed(lanes) if stayed and lane in stayed), found)

    def _stayed(self, asked: Question) -> frozenset[str] | None:
        """What had to stay in this pass so far."""
        pass_, lanes = self.stayed.get(asked.subjects[0], ("", frozenset()))
        return lanes if pass_ == asked.pass_ else None

    def _stay(self, asked: Question, lanes: Sequence[str]) -> Limiter:
        before = self._stayed(asked) or frozenset()
        return replace(self, stayed={**self.stayed, asked.subjects[0]: (asked.pass_, before | set(lanes))})

    def _refuse(self, asked: Question, rooms: Sequence[int], held: int, now: int) -> Limiter:
        """A limit without room counts the try; in a pass what is full is waited for, and so is the operation."""
        after = self
        full = [use for use, room in zip(asked.uses, rooms, strict=True) if room]
        if asked.how in ("now", "defer"):
            for use in full:
                counter, slot = after.counter(use.subject, use.rule), 0
                if not use.rule.is_rolling:
                    slot = slot_of(use.rule, now)
                name = "refused" if asked.how == "now" else "deferred"
                tries = getattr(counter, name)
                after = after._put(
                    use.subject, use.rule, replace(counter, **{name: {**tries, slot: tries.get(slot, 0) + 1}})
                )
        if asked.pass_ and asked.how != "peek":
            lanes = [asked.operation] + ([] if held else [use.rule.name for use in full])
            after = after._stay(asked, lanes)
        return after

    def give_back(self, id_: str, now: int) -> tuple[Limiter, bool]:
        """All that the id took is free again."""
        record = self.records.get(id_)
        if record is None or record.waits or record.ended:
            return self, False
        return self._end(id_, record, 0, now, calls_too=True), True

    def lapse(self, id_: str, now: int) -> tuple[Limiter, bool]:
        """The money that the id took is free again, once its lease is over."""
        record = self.records.get(id_)
        if record is None or record.waits or record.ended or record.lease_ends > now:
            return self, False
        return self._end(id_, record, 0, now, calls_too=False), True

    def settle(self, id_: str, actual: int, now: int, uses: Sequence[Use] | None = None) -> tuple[Limiter, bool]:
        """The money that the id took becomes `actual`; by `uses`, where nothing is known of it."""
        record = self.records.get(id_)
        if (record is None or record.waits) and uses is not None:
            money = [use for use in uses if use.cost is None]
            record = Record("", tuple(Taken(use.subject, use.rule, slot_of(use.rule, now), 0, True) for use in money))
        if record is None or record.waits or record.ended == "settled":
            return self, False
        after = self._end(id_, record, actual, now, calls_too=False)
        return replace(after, records={**after.records, id_: replace(after.records[id_], ended="settled")}), True

    def _end(self, id_: str, record: Record, money: int, now: int, *, calls_too: bool) -> Limiter:
        after, left = self, []
        for taken in record.taken:
            amount = money if taken.is_money else 0 if calls_too else taken.amount
            if amount != taken.amount:
                after = after._add(
                    taken.subject, taken.rule, taken.slot, amount - taken.amount, now, tells=taken.is_money
                )
            left.append(replace(taken, amount=amount))
        ended = replace(record, taken=tuple(left), ended="refunded")
        return replace(after, records={**after.records, id_: ended})

    def correct(self, subject: str, rule: Rule, least: int, capacity: int | None, now: int) -> tuple[Limiter, bool]:
        """Upward only."""
        counter = self.counter(subject, rule)
        if capacity is not None:
            counter = replace(counter, capacity=capacity)
        after = self._put(subject, rule, counter)
        missing = least - used_of(rule, counter, now)
        if missing <= 0:
            return after, False
        return after._add(subject, rule, slot_of(rule, now), missing, now), True

    def block(self, subject: str, rule: Rule, until: int) -> Limiter:
        """The later end counts."""
        counter = self.counter(subject, rule)
        return self._put(subject, rule, replace(counter, blocked_until=max(counter.blocked_until, until)))

    def mark(self, subject: str, lanes: Mapping[str, int], *, whole: bool) -> Limiter:
        """What waits in a queue; `whole`: nothing else does."""
        merged = {} if whole else dict(self.lanes.get(subject, {}))
        for lane, rank in lanes.items():
            merged[lane] = min(rank, merged.get(lane, rank))
        stayed = self.stayed
        if whole and not merged:
            stayed = {name: kept for name, kept in stayed.items() if name != subject}
        return replace(self, lanes={**self.lanes, subject: merged}, stayed=stayed)

    def note_waiting(self, id_: str, operation: str) -> Limiter:
        """Unless something was decided."""
        record = self.records.get(id_)
        if record is not None and not record.waits:
            return self
        return replace(self, records={**self.records, id_: Record(operation, waits=True)})

    def _add(self, subject: str, rule: Rule, slot: int, change: int, now: int, *, tells: bool = True) -> Limiter:
        """More, or less, in that window or bucket, never below zero; a crossing on the way up is told."""
        counter = self.counter(subject, rule)
        was = counter.amounts.get(slot, 0)
        after = replace(counter, amounts={**counter.amounts, slot: max(0, was + change)})
        if change < 0 and not rule.is_rolling:
            after = replace(after, peaks={**after.peaks, slot: max(was, after.peaks.get(slot, 0))})
        if not tells or not counts(rule, slot, now):
            return self._put(subject, rule, after)
        used = used_of(rule, after, now)
        reached = sum(used >= level for level in rule.levels)
        window = 0 if rule.is_rolling else slot
        told = after.told.get(window, 0)
        events = self.events
        if reached > told:
            events = (*events, (subject, rule.name, reached, used))
            after = replace(after, told={**after.told, window: reached})
        elif rule.is_rolling and used * 10 < rule.levels[0] * 9:
            after = replace(after, told={**after.told, window: 0})
        return replace(self._put(subject, rule, after), events=events)

    def _put(self, subject: str, rule: Rule, counter: Counter) -> Limiter:
        return replace(self, counters={**self.counters, (subject, rule.name): counter})
