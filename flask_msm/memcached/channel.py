"""A node as its exchanges see it, and what happened on the way to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_msm.errors import NodeBusyError, NodeError, NodeUnreachableError

from .failures import PoolExhaustedError, classify


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .pool import Pool
    from .wire import WireError


@dataclass(slots=True)
class ConnectionCounters:
    """What happened on the way to one node. Lost updates between threads are harmless.

    Attributes:
        connects: Connections opened.
        reconnects: Commands sent again because the server had closed an idle connection.
        retries: Reads sent again after a soft failure.
        timeouts: Operations that were not answered in time, or busy.
        failures: Operations that failed hard.
        exhausted: Operations that found no free connection before their deadline.
        stale: ``cas`` for which no connection from before its read was left.
        abandoned: Connections closed because a reply was not read to its end.
    """

    connects: int = 0
    reconnects: int = 0
    retries: int = 0
    timeouts: int = 0
    failures: int = 0
    exhausted: int = 0
    stale: int = 0
    abandoned: int = 0

    def count(self, error: NodeError) -> None:
        """Count an operation that ended with *error*."""
        match error:
            case NodeBusyError():
                self.timeouts += 1
            case NodeUnreachableError():
                self.failures += 1
            case PoolExhaustedError():
                self.exhausted += 1
            case _:
                pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A node as its exchanges see it.

    Attributes:
        node: Id of the node.
        pool: Its connections.
        connect: Opens one more by a point in time.
        timeout: Seconds the node may take for an answer.
        retry_attempts: How often a read is sent again after a soft failure.
        retry_delay: Seconds between that failure and the next attempt.
        monotonic: The clock that deadlines refer to.
        sleep: Waits for some seconds.
        counters: What happened so far.
    """

    node: str
    pool: Pool
    connect: Callable[[float], Connection]
    timeout: float
    retry_attempts: int
    retry_delay: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    counters: ConnectionCounters = field(default_factory=ConnectionCounters)

    def meaning(self, error: WireError | OSError) -> NodeError:
        """Return what *error* means for the node, and count it."""
        meaning = classify(self.node, error)
        self.counters.count(meaning)
        return meaning
