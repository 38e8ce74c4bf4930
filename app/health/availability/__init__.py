"""How much of the time services were up: hours and days of them, error budgets, latency history."""
