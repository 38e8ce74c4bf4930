"""Costs: every LLM call counted once, every budget held, every dollar explained."""
