"""Which model may do another's work, and what kind of work: data, to be read and changed by people.

Nothing here says that a model is as good as another. It says for which work a cheaper one is usually good enough, so
that a report may name what it would have cost. The kind of work is told by its size, which is all that calls tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Work:
    """Calls of at most so many tokens on average."""

    name: str
    most_input: int
    most_output: int

    def holds(self, input_tokens: float, output_tokens: float) -> bool:
        """Is a call of this size such work?"""
        return input_tokens <= self.most_input and output_tokens <= self.most_output


BRIEF = Work("brief", 20_000, 400)
"""Replies, captions, labels, choices."""
ROUTINE = Work("routine", 50_000, 1_500)
"""Drafts, summaries, extracts."""
ANY = Work("any", 10**12, 10**12)
"""For a model's successor, which does the same and better."""


@dataclass(frozen=True, slots=True)
class Substitute:
    """`model` may take work from models whose name matches `of`; its provider is "" where it is theirs, too."""

    of: str
    work: Work
    model: str
    provider: str = ""


SUBSTITUTES = (
    Substitute("*claude*opus*", BRIEF, "claude-haiku-4-5"),
    Substitute("*claude*opus*", BRIEF, "kimi-k2.5", "moonshotai"),
    Substitute("*claude*opus*", ROUTINE, "claude-sonnet-4-5"),
    Substitute("*claude*opus*", ROUTINE, "kimi-k2.5", "moonshotai"),
    Substitute("*claude-3-opus*", ANY, "claude-opus-4-5"),
    Substitute("*claude*sonnet*", BRIEF, "claude-haiku-4-5"),
    Substitute("*claude*sonnet*", BRIEF, "kimi-k2.5", "moonshotai"),
    Substitute("gpt-5*", BRIEF, "gpt-5-mini"),
    Substitute("gpt-5*", ROUTINE, "gpt-5-mini"),
    Substitute("gpt-5-mini*", BRIEF, "gpt-5-nano"),
    Substitute("gpt-5*-pro*", ANY, "gpt-5"),
    Substitute("gpt-4o", ROUTINE, "gpt-5-mini"),
    Substitute("gpt-4.1", ROUTINE, "gpt-5-mini"),
    Substitute("gpt-4", ANY, "gpt-4.1"),
    Substitute("gpt-4-*", ANY, "gpt-4.1"),
    Substitute("gemini-*pro*", BRIEF, "gemini-2.5-flash"),
)


def substitutes(provider: str, model: str, input_tokens: float, output_tokens: float) -> list[tuple[str, str]]:
    """(provider, model) of those that may do such calls of a model; the tokens are averages of a call."""
    found = [
        (item.provider or provider, item.model)
        for item in SUBSTITUTES
        if fnmatchcase(model, item.of) and item.work.holds(input_tokens, output_tokens) and item.model != model
    ]
    return list(dict.fromkeys(found))
