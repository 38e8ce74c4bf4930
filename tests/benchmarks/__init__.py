"""Measurements behind the figures of docs/performance.md: `python -m tests.benchmarks NAME`."""
