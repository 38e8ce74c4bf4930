"""Latencies in fixed buckets, so that percentiles of any span can be had from sums. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

BOUNDS_MS: tuple[float, ...] = (
    *(0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000),
    *(7500, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000),
)  # fmt: skip
"""Where each bucket but the first begins. What is stored was counted by these: they must never change."""

SIZE = len(BOUNDS_MS) + 1


def bucket_of(latency_ms: float) -> int:
    """The bucket that a latency is counted in; a bound belongs to the bucket that it begins."""
    return bisect_right(BOUNDS_MS, latency_ms)


def merged(histograms: Iterable[Sequence[int] | None]) -> list[int]:
    """The counts of all together; None has none."""
    total = [0] * SIZE
    for counts in histograms:
        if counts is not None:
            total = [before + more for before, more in zip(total, counts, strict=True)]
    return total


def percentile(counts: Sequence[int], percent: float, *, least: float, most: float) -> float | None:
    """The latency in ms that `percent` of all do not exceed, to within its bucket; None without any.

    Inside the bucket the counts are taken as evenly spread. `least` and `most` are the smallest and largest latency
    that were counted: nothing is said to lie beyond them.
    """
    rank = percent / 100 * sum(counts)
    before = 0
    for place, count in enumerate(counts):
        if count and before + count >= rank:
            low = BOUNDS_MS[place - 1] if place else 0.0
            high = BOUNDS_MS[place] if place < len(BOUNDS_MS) else most
            value = low + (high - low) * (rank - before) / count
            return min(max(value, least), most)
        before += count
    return None
