"""How a worker keeps sessions: in the cluster, on local storage, or stopped by an operator."""

from __future__ import annotations

from enum import Enum


class Mode(Enum):
    """Where sessions of a worker go. A cluster that lacks a node is still ``distributed``."""

    DISTRIBUTED = "distributed"
    LOCAL = "local"
    STOPPED = "stopped"


class ModeSignal(Enum):
    """What changes the mode."""

    NODES_GONE = "no node answers"
    NODES_BACK = "a node answers"
    STOP = "distribution is stopped"
    RESUME = "distribution goes on"


_DISTRIBUTED, _LOCAL, _STOPPED = Mode.DISTRIBUTED, Mode.LOCAL, Mode.STOPPED

MODE_TRANSITIONS: dict[Mode, dict[ModeSignal, Mode]] = {
    _DISTRIBUTED: {
        ModeSignal.NODES_GONE: _LOCAL,
        ModeSignal.NODES_BACK: _DISTRIBUTED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _DISTRIBUTED,
    },
    _LOCAL: {
        ModeSignal.NODES_GONE: _LOCAL,
        ModeSignal.NODES_BACK: _DISTRIBUTED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _LOCAL,
    },
    # Whoever resumes finds out at the next probe whether nodes are there: it begins locally,
    # for a worker that calls itself distributed and reaches no node would lose time.
    _STOPPED: {
        ModeSignal.NODES_GONE: _STOPPED,
        ModeSignal.NODES_BACK: _STOPPED,
        ModeSignal.STOP: _STOPPED,
        ModeSignal.RESUME: _LOCAL,
    },
}


def advance_mode(mode: Mode, signal: ModeSignal) -> Mode:
    """Return the mode after *signal*."""
    return MODE_TRANSITIONS[mode][signal]
