"""How much of the time services were up: hours and days of them, error budgets, latency history."""

from app.health.availability.budgets import Budget, Uptime
from app.health.availability.figures import budget, burning_now, objectives, uptimes, uptimes_of

__all__ = ["Budget", "Uptime", "budget", "burning_now", "objectives", "uptimes", "uptimes_of"]
