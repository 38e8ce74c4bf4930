"""What keeps the limiter's counters alive and written down: two ticks that do their work themselves."""

from __future__ import annotations

from app.infra.apart import Steps
from app.limits import closing, crossings, leases, rebuild, snapshots
from tasks.base import tick


@tick("tasks.limits.keep")
def keep() -> None:
    """Write down what changed, tell what was crossed, give back what nobody settled, bring back what was lost."""
    steps = Steps()
    # The counters that are lost come first: nothing is decided without them. A snapshot then is what bounds the loss.
    for name, work in (
        ("rebuild", rebuild.fill),
        ("snapshots", snapshots.take),
        ("crossings", crossings.tell),
        ("leases", leases.sweep),
    ):
        with steps.step(name):
            work()
    steps.conclude()


@tick("tasks.limits.reset")
def reset() -> None:
    """Close the windows that are over: normal operation goes on in the next ones."""
    closing.close_due()
