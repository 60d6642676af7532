"""What is wrong, as the command line prints it: since when, who is hurt, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .state.attention import attention
from .state.formatting import duration, iso


if TYPE_CHECKING:
    from collections.abc import Iterator

    from .snapshot import Snapshot


#: So many causes are printed, the worst ones; of the others a number.
MOST = 5


def cause_lines(view: Snapshot) -> list[tuple[str, str]]:
    """Return a few lines for each cause, the worst first."""
    items = attention(view)
    lines: list[tuple[str, str]] = []
    for item in items[:MOST]:
        since = ""
        if item.since is not None:
            since = f", since {iso(item.since)} ({duration(view.at - item.since)})"
        lines.append((item.level, f"{item.title}: {item.text}{since}"))
        if item.hurt:
            lines.append(("  who is hurt", item.hurt))
        lines += _numbered(item.steps)
    if len(items) > MOST:
        lines.append(("", f"and {len(items) - MOST} more: see the dashboard, or --json"))
    return lines


def _numbered(steps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number, step in enumerate(steps, 1):
        yield "  what to do" if number == 1 else "", f"{number}. {step}"
