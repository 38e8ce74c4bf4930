"""One log for everything, our own loggers and those of libraries: JSON lines or readable text, scrubbed, on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars
from structlog.typing import EventDict, Processor

from app.config import Settings, settings
from app.infra.scrub import scrub, scrub_text

__all__ = ["bind", "bound", "clear", "configure", "get_logger", "lost_records", "scrub", "scrub_text"]

# Loggers that say too much: httpx prints whole URLs, and Meta's carry tokens; Celery a line per message and tick, which
# Flower and the metrics tell better, and failed attempts are logged by tasks/base.py.
_QUIET = ("httpx", "httpcore", "asyncio", "urllib3", "docker", "kombu", "amqp", "alembic.runtime.plugins")
_QUIET_ENGINE = ("celery.worker.strategy", "celery.worker.request", "celery.app.trace", "celery.beat")
# Loggers whose owners add handlers of their own; what they say goes through the root's.
_ADOPTED = ("celery", "celery.task", "celery.redirected", "uvicorn", "uvicorn.error", "uvicorn.access", "tornado")


class _Handler(logging.Handler):
    """Writes to the stderr of the moment. A full disk or a closed pipe loses records, is counted, and never raises."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self._untold = 0

    @property
    def stream(self) -> TextIO:
        """Where records go; Celery asks its first handler for it."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; after a time of losses, say first how many there were."""
        try:
            line = self.format(record)
        except Exception as error:  # a record that cannot be rendered must not stop its process
            line = f"log record of {record.name} could not be rendered: {type(error).__name__}"
        try:
            if self._untold:
                line = f"{self._untold} log records were lost: stderr could not be written\n{line}"
            self.stream.write(line + "\n")
            self.stream.flush()
            self._untold = 0
        except (OSError, ValueError):
            self.lost += 1
            self._untold += 1


_handler = _Handler()


def lost_records() -> int:
    """How many records this process could not write."""
    return _handler.lost


def configure(process: str, config: Settings | None = None) -> None:
    """Send every record of this process to stderr, named `process`. May be called again, e.g. in a forked child.

    JSON lines or readable text, as `log_format` says; "auto" is readable on a terminal.
    """
    config = config or settings()
    _handler.setFormatter(_formatter(process, config))
    root = logging.getLogger()
    root.handlers = [_handler]
    root.setLevel(config.log_level.upper())
    for name in _ADOPTED:
        adopted = logging.getLogger(name)
        adopted.handlers = []
        adopted.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _QUIET_ENGINE:
        logging.getLogger(name).setLevel(logging.DEBUG if config.log_level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    logging.raiseExceptions = False


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes fields: `log.info("service is down", service="web")`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bind(**context: object) -> None:
    """Put `context` on every further record of this thread or task of asyncio, until `clear`."""
    bind_contextvars(**context)


def clear() -> None:
    """Forget everything bound here."""
    clear_contextvars()


@contextmanager
def bound(**context: object) -> Iterator[None]:
    """Put `context` (task, job, tenant, request_id, ...) on every record made inside the block."""
    with bound_contextvars(**context):
        yield


def _readable(config: Settings) -> bool:
    if config.log_format != "auto":
        return config.log_format == "console"
    return sys.stderr.isatty()


def _scrubbed(_logger: object, _method: str, event: EventDict) -> EventDict:
    clean = scrub(dict(event))
    return cast("EventDict", clean)


def _formatter(process: str, config: Settings) -> structlog.stdlib.ProcessorFormatter:
    def ordered(_logger: object, _method: str, event: EventDict) -> EventDict:
        first = {"timestamp": event.pop("timestamp", None), "level": event.pop("level", None), "process": process}
        return {**first, "logger": event.pop("logger", None), "event": event.pop("event", ""), **event}

    def short_time(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["timestamp"] = str(event.get("timestamp", ""))[11:23]
        return event

    as_text: list[Processor] = [
        short_time,
        structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback),
    ]
    as_json: list[Processor] = [ordered, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_CHAIN,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _scrubbed,
            *(as_text if _readable(config) else as_json),
        ],
    )


_CHAIN: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]

structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_CHAIN, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
