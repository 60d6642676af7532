"""How far the cluster knows what a host keeps of a session."""

from __future__ import annotations

from enum import IntEnum


class SyncState(IntEnum):
    """What the cluster knows of a session in local storage; the higher one stays."""

    #: All of it.
    SYNCED = 0
    #: Not yet, or not any more: it was to be written and that was not confirmed.
    PENDING = 1
    #: It was written while no node could be reached, or distribution was stopped.
    OUTAGE = 2
