"""What was seen while people clicked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


LOCAL = "local"


class Click(NamedTuple):
    """One request that was answered.

    Attributes:
        phase: What was the matter when it was sent, in words.
        mode: Where the worker kept sessions before and after it.
        spent: Time in seconds it took in the worker, but for waiting for a processor.
        waited: Time in seconds the browser waited, all attempts included.
        ways: The worker's process, and how many of its reads and changes took the fast path, or
            another, up to this one; empty where it does not say so.
    """

    phase: str
    mode: str
    spent: float
    waited: float
    ways: tuple[int, ...] = ()

    @property
    def was_local(self) -> bool:
        """Whether the worker kept sessions on its host all the time."""
        return set(self.mode.split()) == {LOCAL}


@dataclass(slots=True)
class Observations:
    """Everything the visitors of one act saw. Lists are only appended to, by many threads.

    Attributes:
        phase: What is the matter at the moment, in words.
        outage: No node can be reached: one host cannot know of a logout on another one.
        apart: Besides, requests go to any host: one cannot know of changes on another one.
        together: When the last outage ended, monotonic time in seconds.
        may_break: Connections may break, for a process that answers them is killed.
        clicks: Requests that were answered.
        failed: Answers with 5xx or another error, and connections that broke without a reason.
        broken: Connections that broke because a process was killed; sent again.
        lost: Acknowledged changes that were not there when they had to be.
        unseen: Acknowledged changes that could not be seen before the nodes returned.
        late: Changes of one tab that were seen late because a parallel tab's older answer came
            later; they may not be missing at the end.
        signed_out: Sessions that were gone, and cookies that were replaced or deleted.
        undone: Logouts after which the session was served again.
        undone_elsewhere: The same on another host, which could not know of it yet.
        logouts: How many logouts were acknowledged.
    """

    phase: str = "before"
    outage: bool = False
    apart: bool = False
    together: float = 0.0
    may_break: bool = False
    clicks: list[Click] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    signed_out: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    undone_elsewhere: list[str] = field(default_factory=list)
    logouts: int = 0

    def fast_share(self, phase: str) -> float | None:
        """Return the share of reads and changes that took the fast path in *phase*.

        Returns:
            From 0 to 1; ``None`` if there were none.
        """
        seen: dict[int, list[tuple[int, ...]]] = {}
        for click in self.clicks:
            if click.phase == phase and click.ways:
                seen.setdefault(click.ways[0], []).append(click.ways)
        fast, other = (
            sum(
                max(one[at] for one in ways) - min(one[at] for one in ways)
                for ways in seen.values()
            )
            for at in (1, 2)
        )
        return fast / (fast + other) if fast + other else None

    def complaints(self) -> list[str]:
        """Return what went wrong, in words."""
        kinds = {
            "failed": self.failed,
            "lost": self.lost,
            "signed out": self.signed_out,
            "logout undone": self.undone,
        }
        return [f"{kind}: {line}" for kind, lines in kinds.items() for line in lines]
