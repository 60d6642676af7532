"""The states a node can be in, and what each state allows."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class NodeState(Enum):
    """How one worker sees one node."""

    UP = "up"
    SUSPECT = "suspect"
    RECOVERING = "recovering"
    DRAINING = "draining"
    DRAINED = "drained"
    DOWN = "down"


class Rights(NamedTuple):
    """What may be done with a node in a given state.

    Attributes:
        alone: Its answer is enough, if it is at least as new as the browser's token.
        joined: It is asked together with others.
        written: It takes part in every write.
        counts: A write to it counts as one of the copies.
        missing: It may say that a session does not exist.
    """

    alone: bool
    joined: bool
    written: bool
    counts: bool
    missing: bool


_TRUSTED = Rights(alone=True, joined=True, written=True, counts=True, missing=True)
_UNTRUSTED = Rights(alone=False, joined=True, written=True, counts=True, missing=False)
_LEAVING = Rights(alone=False, joined=True, written=False, counts=False, missing=False)
_AWAY = Rights(alone=False, joined=False, written=False, counts=False, missing=False)

_RIGHTS = {
    NodeState.UP: _UNTRUSTED,
    NodeState.SUSPECT: _UNTRUSTED,
    NodeState.RECOVERING: _UNTRUSTED,
    NodeState.DRAINING: _LEAVING,
    NodeState.DRAINED: _AWAY,
    NodeState.DOWN: _AWAY,
}


def rights(state: NodeState, *, trusted: bool) -> Rights:
    """Return what may be done with a node in *state* that the fleet trusts, or does not."""
    return _TRUSTED if trusted and state is NodeState.UP else _RIGHTS[state]
