"""The memcached nodes, as the fleet sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .statistics import NodeStats


NodeStateName = Literal["up", "suspect", "recovering", "draining", "drained", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """How one worker sees one node.

    Attributes:
        worker: Name of the worker.
        state: What it sees.
        trusted: Whether it accepts "missing" from the node.
        since: Since when.
        error: Class and reason of the last failure.
        failures: Failures in a row.
        retry_at: When it asks a node that is down again.
        timeouts: How often it waited in vain since it was started, requests and probes.
        breaks: How often the node refused, closed or could not be reached.
    """

    worker: str
    state: NodeStateName
    trusted: bool = True
    since: float | None = None
    error: str | None = None
    failures: int = 0
    retry_at: float | None = None
    timeouts: int | None = None
    breaks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Copying sessions to a node that lacks some, or away from one that is drained.

    Attributes:
        worker: Who does it.
        looked_at: Sessions compared so far.
        copied: Sessions written so far.
        total: Sessions to compare; ``None`` when that is not known.
        began: When.
    """

    worker: str | None = None
    looked_at: int = 0
    copied: int = 0
    total: int | None = None
    began: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """An operator took a node out of use.

    Attributes:
        value: ``draining`` while it is read and copied away, then ``drained``.
        set_by: The operator.
        set_at: When.
        reason: Why, in their words.
    """

    value: Literal["draining", "drained"]
    set_by: str | None = None
    set_at: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One memcached, as the fleet sees it.

    Attributes:
        id: Its id.
        address: ``host:port`` or the path of a socket; ``None`` when that is hidden.
        state: The drain if there is one, else what most workers see, the worse one on a tie;
            ``None`` when no worker has seen it yet.
        trusted: Whether the fleet accepts "missing" from it; a node that is up and not trusted is
            being rebuilt, or waits for it.
        since: Since when it is in that state.
        opinions: How each worker sees it, by name of the worker.
        error: Class and reason of the last failure, the newest of all workers.
        error_at: When.
        failures: Failures in a row, the most of all workers.
        retry_at: When it is asked again, the earliest of all workers.
        stats: The newest statistics, however old.
        stats_error: Why there are none, in words.
        rebuild: How far it is.
        drain: Who took it out of use.
        stamp: What ``drain`` and ``undrain`` take as ``based_on``.
        failover_only: Whether it is used only when others fail.
    """

    id: str
    address: str | None = None
    state: NodeStateName | None = None
    trusted: bool | None = None
    since: float | None = None
    opinions: tuple[Opinion, ...] = ()
    error: str | None = None
    error_at: float | None = None
    failures: int = 0
    retry_at: float | None = None
    stats: NodeStats | None = None
    stats_error: str | None = None
    rebuild: Rebuild | None = None
    drain: Drain | None = None
    stamp: str = "0"
    failover_only: bool = False
