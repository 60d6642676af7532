"""The processes of the application, and what each of them keeps and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .traffic import Traffic


Mode = Literal["distributed", "local", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorage:
    """What a host (or, with ``simple``, a process) keeps itself.

    Attributes:
        kind: ``filesystem``, ``simple``, or the class of a cache of the application.
        sessions: Sessions in it, mirrored or not.
        bytes: Space they take.
        dirty: Sessions in it with changes the cluster does not have.
        limit_sessions: Most sessions.
        limit_bytes: Most bytes.
        error: Why it fails; ``None`` while it works.
    """

    kind: str
    sessions: int | None = None
    bytes: int | None = None
    dirty: int | None = None
    limit_sessions: int | None = None
    limit_bytes: int | None = None
    error: str | None = None


#: What a worker counts from its start on, and what that means.
COUNTED = {
    "conflicts": "Writes that met another writer of the same session and were joined with it.",
    "written_back": "Reads that found copies apart and brought them together.",
    "fewer_copies": "Writes that found fewer nodes than there shall be copies.",
    "relocated": "Writes that had to use another node than a home of the session.",
    "not_stored": "Writes that no node took; local storage did, unless it failed as well.",
    "stale_served": "Reads that found nothing as new as the cookie asked for.",
    "queued": "Copies that were made behind the response.",
    "kept_late": "Changes kept on the host because nodes did not take them in time.",
    "mirror_dropped": "Copies for local storage that were left out because too many waited.",
    "corrupt": "Records that were damaged and not used.",
    "unknown_records": "Records of another secret or a newer version, which were left alone.",
    "detached": "Sessions that no store could be asked for.",
    "dropped_after_logout": "Changes of requests that ended after the session had.",
    "dropped_frozen": "Changes of requests that came too late for the id they were sent with.",
    "followed": "Changes sent with the id from before a regenerate(), brought to the new one.",
    "refreshed": "Sessions whose life was prolonged without a change.",
    "unexpected": "Errors that should not happen: please report them with the log.",
    "refused": "Saves that failed because an attribute cannot be stored.",
    "stored_as_none": "Attributes that were stored as None.",
    "kept_local": "Attributes that stayed in this process.",
    "stops_asked": "Times that distribution was to be stopped because of an attribute.",
    "clock_ahead": "Stamps of another host whose clock is more than a minute ahead of this one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process.

    Attributes:
        id: Its name in the fleet.
        host: Name of its host.
        pid: Its process.
        version: Of this package.
        started: When.
        last_heard: When its report was made.
        mode: Where its sessions go.
        mode_since: Since when.
        policy: The serialization policy it obeys.
        control: The newest stamp of the operators' choices it has applied.
        stale: It was not seen for three intervals.
        gone: It was not seen for ten intervals, or signed off.
        live: Sessions with objects that exist in this process only.
        mirrored: Sessions in its local storage that the cluster has as well.
        dirty: Sessions in its local storage with changes the cluster does not have.
        local: Its local storage; workers of a host share it unless it is ``simple``.
        traffic: What its sessions did.
        counts: What happened in it since it started, by one of ``COUNTED``; what never did is
            left out.
    """

    id: str
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started: float | None = None
    last_heard: float | None = None
    mode: Mode | None = None
    mode_since: float | None = None
    policy: str | None = None
    control: str | None = None
    stale: bool = False
    gone: bool = False
    live: int | None = None
    mirrored: int | None = None
    dirty: int | None = None
    local: LocalStorage | None = None
    traffic: Traffic | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
