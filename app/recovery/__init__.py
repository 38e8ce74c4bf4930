"""Repairing what is down: bounded, verified, and told."""
