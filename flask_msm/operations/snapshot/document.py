"""Everything at one moment: the document itself."""

from __future__ import annotations

from dataclasses import dataclass

from .blacklist import BlacklistEntry
from .choices import Choice
from .events import Event
from .nodes import Node
from .observer import Observer
from .traffic import Traffic
from .workers import LocalStorage, Mode, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything, at one moment.

    Attributes:
        at: When it was made.
        observer: Who made it.
        mode: What most workers do, the worse one on a tie.
        since: Since when the first of them does.
        policy: What happens when an attribute cannot be serialized.
        on_reconnect: What happens to local changes when the cluster returns.
        distribution: ``running`` or ``stopped``.
        nodes: By id; empty when no node is configured.
        workers: By host and process.
        blacklist: Last seen first.
        events: Newest first.
        traffic: Of all workers that were seen; ``None`` when no request was counted yet.
        window: Length of the window in seconds.
        step: Length of one step of a series in seconds.
        local: Local storage of the observer's host.
        replicas: Copies of each session.
        interval: Time in seconds between two reports of a worker; 0 when there are none.
        blacklist_total: Entries there are, *blacklist* may be cut.
        events_total: Events there are, *events* may be cut.
    """

    at: float
    observer: Observer
    mode: Mode
    since: float | None = None
    policy: Choice
    on_reconnect: Choice
    distribution: Choice
    nodes: tuple[Node, ...] = ()
    workers: tuple[Worker, ...] = ()
    blacklist: tuple[BlacklistEntry, ...] = ()
    events: tuple[Event, ...] = ()
    traffic: Traffic | None = None
    window: float = 900.0
    step: float = 30.0
    local: LocalStorage | None = None
    replicas: int = 1
    interval: float = 0.0
    blacklist_total: int = 0
    events_total: int = 0
