"""Published and unpublished jobs for the API to be asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.base import JobContext, job


@job("tests.web.echo", published=True, max_attempts=3, allowed_queues=("bulk",))
def echo(ctx: JobContext, *, text: str, times: Annotated[int, Field(ge=1, le=9)] = 1) -> dict[str, str]:
    """Give the text back."""
    return {"text": text * times}


@job("tests.web.private")
def private(ctx: JobContext) -> None:
    """Not for others."""
