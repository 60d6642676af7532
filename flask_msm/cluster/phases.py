"""What a node is for people: one word for the whole fleet, from how its workers see it. Pure.

*up*, *filling* (it answers, and lacks sessions or did a moment ago), *down* and *drained*. Workers
notice a change one after another, so a word holds until it is certain: a node that some workers do
not reach is not *down* before most of them say so, and one that returned is *filling* until it was
whole for as long as every worker needs to see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Sequence


PhaseName = Literal["up", "filling", "down", "drained", "unreached"]

#: A fault is over when nothing was seen of it for so many intervals.
HELD = 2
#: How bad each state is.
BAD = {"down": 5, "suspect": 4, "recovering": 3, "draining": 2, "drained": 1, "up": 0}
_UP, _FILLING, _DOWN = "up", "recovering", "down"


class SeenNode(NamedTuple):
    """How one worker sees a node. Times are seconds since the epoch.

    Attributes:
        since: Since when it is in that state.
        down_at: When this worker last saw it not up, ``None`` for never.
        lacking_at: When it last knew the node to lack sessions, ``None`` for never.
    """

    state: str
    trusted: bool = True
    since: float | None = None
    down_at: float | None = None
    lacking_at: float | None = None


class Phase(NamedTuple):
    """What a node is, and since when (seconds since the epoch) as far as that is known.

    ``unreached``: some workers do not reach it, and most do.
    """

    name: PhaseName
    since: float | None = None


def worst_of_most(states: Sequence[str]) -> str | None:
    """Return the state that most workers see, the worse one on a tie."""
    if not states:
        return None
    return max(set(states), key=lambda state: (states.count(state), BAD[state]))


def phase(
    sights: Sequence[SeenNode], *, drained: bool, now: float, interval: float
) -> Phase | None:
    """Return what a node is; ``None`` when no worker has seen it.

    Args:
        sights: How each worker sees it.
        drained: An operator took it out of use.
        now: Seconds since the epoch.
        interval: Time in seconds between two probes of a worker.
    """
    if drained:
        return Phase("drained")
    if not sights:
        return None
    held = HELD * interval
    gone = [sight for sight in sights if sight.state == _DOWN]
    if worst_of_most([sight.state for sight in sights]) == _DOWN:
        return Phase("down", _first(gone))
    others = [sight for sight in sights if sight.state != _DOWN]
    returns = any(s.state == _FILLING or _is_recent(s.down_at, now, held) for s in others)
    if gone and not returns:
        # It may have died a moment ago, or only these do not reach it.
        begun = _first(gone)
        return Phase("unreached", begun) if begun and now - begun >= held else Phase("up")
    lacks = not all(sight.trusted for sight in others)
    recent = any(_is_recent(sight.lacking_at, now, held) for sight in others)
    if gone or returns or lacks or recent:
        return Phase("filling", _first([s for s in others if s.state == _FILLING]))
    ended = [at for s in others for at in (s.down_at, s.lacking_at) if at is not None]
    return Phase("up", max(ended, default=None))


def _first(sights: Sequence[SeenNode]) -> float | None:
    return min((sight.since for sight in sights if sight.since is not None), default=None)


def _is_recent(at: float | None, now: float, held: float) -> bool:
    return at is not None and now - at < held
