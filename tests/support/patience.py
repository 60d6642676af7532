"""Limits of applications whose nodes are all well: a machine that is busy makes none suspect."""

from __future__ import annotations


#: Configuration, times in seconds: a node that answers late was not scheduled.
PATIENT = {"MSM_TIMEOUT": 8, "MSM_CONNECT_TIMEOUT": 8, "MSM_REQUEST_DEADLINE": 8}
#: The same where a node hangs and that is to be noticed.
NOTICES = {"MSM_TIMEOUT": 1, "MSM_CONNECT_TIMEOUT": 1, "MSM_REQUEST_DEADLINE": 3}


def rebuild_soon(monitor) -> None:
    """Rebuild without the wait that long deadlines ask for; workers are ticked by hand."""
    monitor.rebuilds.hold_off = 0.6
