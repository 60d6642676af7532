"""The states a node can be in, what moves it from one to another, and what each allows.

Rule 1: every transition stands in ``TRANSITIONS``; the table is total.
Rule 2: what a signal *means* (which failure, how many in a row) is decided in ``advance``, which
is pure: time comes in as an argument.
Rule 3: requests take a node down, only probes bring it back.
"""

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


class Signal(Enum):
    """What happened to a node."""

    #: An operation of a request succeeded.
    ANSWERED = "answered"
    #: A soft failure, not enough of them in a row.
    SOFT_FAILURE = "doubted"
    #: A hard failure, or as many soft ones in a row as it takes.
    LOST = "lost"
    #: A good probe, not enough of them in a row.
    SEEN = "seen"
    #: As many good probes in a row as it takes.
    RECOVERED = "recovered"


_UP, _SUSPECT, _RECOVERING, _DOWN = (
    NodeState.UP,
    NodeState.SUSPECT,
    NodeState.RECOVERING,
    NodeState.DOWN,
)

#: Draining and drained are what an operator chose for a node; ``effective_state`` puts them over
#: these four.
TRANSITIONS: dict[NodeState, dict[Signal, NodeState]] = {
    _UP: {
        Signal.ANSWERED: _UP,
        Signal.SOFT_FAILURE: _SUSPECT,
        Signal.LOST: _DOWN,
        Signal.SEEN: _UP,
        Signal.RECOVERED: _UP,
    },
    _SUSPECT: {
        Signal.ANSWERED: _UP,
        Signal.SOFT_FAILURE: _SUSPECT,
        Signal.LOST: _DOWN,
        Signal.SEEN: _UP,
        Signal.RECOVERED: _UP,
    },
    _DOWN: {
        Signal.ANSWERED: _DOWN,
        Signal.SOFT_FAILURE: _DOWN,
        Signal.LOST: _DOWN,
        Signal.SEEN: _RECOVERING,
        Signal.RECOVERED: _UP,
    },
    _RECOVERING: {
        Signal.ANSWERED: _RECOVERING,
        Signal.SOFT_FAILURE: _RECOVERING,
        Signal.LOST: _DOWN,
        Signal.SEEN: _RECOVERING,
        Signal.RECOVERED: _UP,
    },
}


class Health(NamedTuple):
    """What one worker knows of one node.

    Attributes:
        since: When it entered that state, seconds on the monotonic clock.
        doubts: Soft failures in a row.
        losses: Failed probes and losses in a row; decides how long the node is left alone.
        good_probes: Good probes in a row while it is not up.
        retry_at: Not before this time (monotonic clock) is a node that is down asked again.
    """

    state: NodeState = NodeState.UP
    since: float = 0.0
    doubts: int = 0
    losses: int = 0
    good_probes: int = 0
    retry_at: float = 0.0
    error: str = ""


class Observation(Enum):
    """What a request or a probe saw."""

    SUCCESS = "success"
    SOFT = "soft"
    HARD = "hard"
    PROBE_SUCCESS = "probe success"
    PROBE_SOFT = "probe soft"
    PROBE_HARD = "probe hard"


class Thresholds(NamedTuple):
    """When a node changes its state.

    Attributes:
        backoff: Time in seconds a node is left alone after its first loss; doubles while other
            nodes are left.
        max_backoff: Longest such time, seconds.
    """

    failures: int
    recoveries: int
    backoff: float
    max_backoff: float


def advance(
    health: Health,
    observation: Observation,
    limits: Thresholds,
    *,
    now: float,
    last: bool,
    jitter: float,
    error: str = "",
) -> Health:
    """Return what is known of a node after *observation*.

    *now* is monotonic time in seconds; *jitter*, from 0 to 1, spreads the next attempt of several
    workers. If this is the *last* usable node, soft failures of requests do not take it down, and
    the time until the next attempt does not grow.
    """
    if observation is Observation.SUCCESS:
        doubts = health.doubts if health.state is _RECOVERING else 0
        return _moved(health, Signal.ANSWERED, now)._replace(doubts=doubts)
    if observation is Observation.PROBE_SUCCESS:
        if health.state is _UP and not (health.doubts or health.losses or health.good_probes):
            return health  # the rule
        good = health.good_probes + 1
        signal = Signal.RECOVERED if good >= limits.recoveries else Signal.SEEN
        moved = _moved(health, signal, now)._replace(doubts=0, good_probes=good)
        return moved._replace(good_probes=0, losses=0) if moved.state is _UP else moved
    doubts = health.doubts + 1
    hard = observation in (Observation.HARD, Observation.PROBE_HARD)
    spared = last and observation is Observation.SOFT
    probing = observation in (Observation.PROBE_SOFT, Observation.PROBE_HARD)
    lost = hard or (doubts >= limits.failures and not spared)
    if health.state is _DOWN and not probing:
        return health._replace(error=error or health.error)
    if not lost and not (probing and health.state in (_DOWN, _RECOVERING)):
        return _moved(health, Signal.SOFT_FAILURE, now)._replace(
            doubts=doubts, good_probes=0, error=error
        )
    doubled = 0 if last else health.losses
    pause = min(limits.backoff * 2**doubled, limits.max_backoff)
    return _moved(health, Signal.LOST, now)._replace(
        doubts=0,
        good_probes=0,
        losses=min(health.losses + 1, 30),
        retry_at=now + pause * (0.75 + jitter / 4),
        error=error,
    )


def _moved(health: Health, signal: Signal, now: float) -> Health:
    state = TRANSITIONS[health.state][signal]
    return health if state is health.state else health._replace(state=state, since=now)


def effective_state(state: NodeState, drain: str | None) -> NodeState:
    """Return *state*, or the drain in its place; a node that is down does not count as draining."""
    if drain == NodeState.DRAINED.value:
        return NodeState.DRAINED
    if drain == NodeState.DRAINING.value and state is not _DOWN:
        return NodeState.DRAINING
    return state


class Permissions(NamedTuple):
    """What may be done with a node in a given state.

    Attributes:
        alone: Its answer is enough, if it is at least as new as the browser's token.
        joined: It is asked together with others.
        written: It takes part in every write, and such a write counts as a copy.
        missing: Its answer that a session does not exist counts.
    """

    alone: bool
    joined: bool
    written: bool
    missing: bool


_TRUSTED = Permissions(alone=True, joined=True, written=True, missing=True)
_UNTRUSTED = Permissions(alone=False, joined=True, written=True, missing=False)
_LEAVING = Permissions(alone=False, joined=True, written=False, missing=False)
AWAY = Permissions(alone=False, joined=False, written=False, missing=False)

_RIGHTS = {
    NodeState.UP: _UNTRUSTED,
    NodeState.SUSPECT: _UNTRUSTED,
    NodeState.RECOVERING: _UNTRUSTED,
    NodeState.DRAINING: _LEAVING,
    NodeState.DRAINED: AWAY,
    NodeState.DOWN: AWAY,
}


def rights(state: NodeState, *, trusted: bool) -> Permissions:
    """Return what may be done with a node in *state* that the fleet trusts, or does not."""
    return _TRUSTED if trusted and state is NodeState.UP else _RIGHTS[state]
