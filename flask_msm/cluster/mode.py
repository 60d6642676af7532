"""How a worker keeps sessions: in the cluster, on local storage, or stopped by an operator."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock


class Mode(Enum):
    """Where sessions of a worker go. A cluster that lacks a node is still ``distributed``."""

    DISTRIBUTED = "distributed"
    LOCAL = "local"
    STOPPED = "stopped"


class ModeSignal(Enum):
    """What changes the mode."""

    CLUSTER_DOWN = "no node answers"
    CLUSTER_UP = "a node answers"
    STOP = "distribution is stopped"
    RESUME = "distribution goes on"


_DISTRIBUTED, _LOCAL, _STOPPED = Mode.DISTRIBUTED, Mode.LOCAL, Mode.STOPPED

MODE_TRANSITIONS: dict[Mode, dict[ModeSignal, Mode]] = {
    _DISTRIBUTED: {
        ModeSignal.CLUSTER_DOWN: _LOCAL,
        ModeSignal.CLUSTER_UP: _DISTRIBUTED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _DISTRIBUTED,
    },
    _LOCAL: {
        ModeSignal.CLUSTER_DOWN: _LOCAL,
        ModeSignal.CLUSTER_UP: _DISTRIBUTED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _LOCAL,
    },
    # A worker that resumes begins locally, and finds out at the next probe whether nodes are
    # there: in distributed mode without nodes its requests would lose time.
    _STOPPED: {
        ModeSignal.CLUSTER_DOWN: _STOPPED,
        ModeSignal.CLUSTER_UP: _STOPPED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _LOCAL,
    },
}


class ModeChange(NamedTuple):
    """The mode before and after a signal."""

    before: Mode
    after: Mode


def advance_mode(mode: Mode, signal: ModeSignal) -> Mode:
    """Return the mode after *signal*."""
    return MODE_TRANSITIONS[mode][signal]


class ModeState:
    """The mode of this worker. Read in every request, without a lock.

    Attributes:
        since: Since when, seconds since the epoch.
        back_at: When nodes were found again after an outage, seconds since the epoch; 0 for never.
        changed: Called when the mode has changed.
    """

    def __init__(self, clock: Clock, begin: Mode = Mode.DISTRIBUTED) -> None:
        self.mode = begin
        self.since = clock.time()
        self.back_at = 0.0
        self.changed: Callable[[], object] = lambda: None
        self._clock = clock
        self._lock = ProcessLock()

    def signal(self, signal: ModeSignal) -> list[ModeChange]:
        """Take note of what may change the mode; return whether it did."""
        with self._lock:
            before = self.mode
            after = advance_mode(before, signal)
            if after is before:
                return []
            self.mode, self.since = after, self._clock.time()
            if after is _DISTRIBUTED:
                self.back_at = self.since
            self.changed()
        return [ModeChange(before, after)]
