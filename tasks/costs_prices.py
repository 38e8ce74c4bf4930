"""What keeps prices: a fresh installation gets them by itself, and unknown costs are told once they can be."""

from __future__ import annotations

from app.costs import repricing
from tasks.base import JobContext, job


@job("tasks.costs.keep_prices")
def keep_prices(ctx: JobContext) -> None:
    """Fill the price table when it is empty; price calls of models that were unknown and have a price now."""
    repricing.keep()
    with ctx.complete():
        pass
