"""Fixtures of recovery's tests."""

from tests.recovery.field import play

__all__ = ["play"]
