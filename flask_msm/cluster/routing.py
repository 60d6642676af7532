"""What a request needs to know of the cluster, as one value that is replaced as a whole."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.process.locks import ProcessLock

from .mode import Mode


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.memcached.client import MemcachedNode

    from .mode import ModeState
    from .nodes import NodeTable


class Routing(NamedTuple):
    """What holds for all sessions.

    Attributes:
        alone: Nodes whose answers count alone; none while sessions are kept elsewhere.
        settled_at: Since when workers agree on where sessions are, or from when on they will,
            seconds since the epoch; before it some may read and write local storage only.
        growing: Nodes to whose items changes may be appended.
        limit: The largest record that every node takes, bytes.
    """

    alone: frozenset[str]
    growing: frozenset[str]
    settled_at: float
    limit: int


class Router:
    """Makes the routing of a worker anew when something has changed.

    Args:
        nodes: The nodes by id.
        table: How the worker sees them.
        mode: Where its sessions go.
        others_keep: Returns whether other hosts may have changes of an outage.
        notice: Time in seconds after which every worker has noticed that an outage is over.
        max_size: The largest record in bytes, as far as it does not depend on nodes.

    Attributes:
        now: The routing. A request looks at it once.
        renewed: Called when it was made anew, which is when something happened.
    """

    def __init__(
        self,
        nodes: Mapping[str, MemcachedNode],
        *,
        table: NodeTable,
        mode: ModeState,
        others_keep: Callable[[], bool],
        notice: float,
        max_size: int,
    ) -> None:
        self._nodes = nodes
        self._table = table
        self._mode = mode
        self._others_keep = others_keep
        self._notice = notice
        self._max_size = max_size
        self._lock = ProcessLock()
        self.renewed: Callable[[], object] = lambda: None
        self.now = self._made()

    def renew(self) -> None:
        """Look at everything again. Called after each change: the last call sees all of them."""
        with self._lock:
            self.now = self._made()
        self.renewed()

    def _made(self) -> Routing:
        mode = self._mode
        return Routing(
            alone=self._table.alone if mode.mode is Mode.DISTRIBUTED else frozenset(),
            growing=frozenset(
                [node_id for node_id, node in self._nodes.items() if node.takes_meta]
            ),
            settled_at=inf if self._others_keep() else mode.back_at + self._notice,
            limit=min(self._max_size, *(node.largest for node in self._nodes.values())),
        )
