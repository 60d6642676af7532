"""What operators may change at run time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A setting that operators may change at run time.

    Attributes:
        value: What holds now.
        configured: What is configured in the observing worker.
        set_by: Operator who chose *value*; ``None`` while the configuration holds.
        set_at: When.
        reason: Why, in their words.
        stamp: What a command passes as ``based_on``; ``"0"`` when it was never chosen.
        applied_by: Workers that report to obey this stamp (or a later one).
        of: Workers that could be asked: those seen and not gone.
    """

    value: str
    configured: str
    set_by: str | None = None
    set_at: float | None = None
    reason: str | None = None
    stamp: str = "0"
    applied_by: int | None = None
    of: int | None = None
