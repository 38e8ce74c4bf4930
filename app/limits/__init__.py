"""Counters for calls and for money: one limiter, two currencies."""
