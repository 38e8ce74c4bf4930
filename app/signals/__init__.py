"""Durable facts and who is told of them; also the timeline that operators read."""

from app.signals.service import Signal, configure, handlers_of, is_news, load, record, timeline

__all__ = ["Signal", "configure", "handlers_of", "is_news", "load", "record", "timeline"]
