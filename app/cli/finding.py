"""What `smm-admin doctor` says of one thing it has looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `advice` says what to do when it is not `ok`, or could be better: a `hint`."""

    check: str
    ok: bool
    detail: str
    advice: str = ""
    hint: bool = False

    @property
    def line(self) -> str:
        """For people."""
        mark = "FAIL" if not self.ok else "hint" if self.hint else "ok  "
        advice = f": {self.advice}" if self.advice and (self.hint or not self.ok) else ""
        return f"{mark}  {self.check:<10}  {self.detail}{advice}"
