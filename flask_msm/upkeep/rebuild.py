"""Bringing a node that missed something back to where it holds all it is home to.

One worker at a time for each node, by a lease in memcached. A pass lists the keys of all other
nodes and joins every record whose home includes the node into it; it compares first, so a pass
that was cut off is resumed at the price of reading.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError, NodeValueError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.clock import Clock
    from flask_msm.cluster.placement import Placement
    from flask_msm.cluster.ports import CasToken, ManagedNode
    from flask_msm.fleet.control import Control
    from flask_msm.fleet.events import Events

    from .copier import Copier


#: Time in seconds a lease is valid, and after which it is renewed.
LEASE, RENEW = 15, 5.0
#: A listing is no snapshot: passes are repeated until one finds nothing, at most so often.
MAX_PASSES = 4
#: Time in seconds a node may take to list its keys.
LIST_TIME = 30.0
#: Keys copied between two looks at the lease.
CHUNK = 2000


class Progress(NamedTuple):
    """How far a rebuild or drain is.

    Attributes:
        node: The node.
        looked_at: Records compared.
        copied: Records written.
        began: Monotonic time, seconds.
    """

    node: str
    looked_at: int
    copied: int
    began: float


class LeaseLostError(Exception):
    """Somebody else does it, or this worker was too slow."""


class Lease:
    """The right to rebuild one node, kept on another one.

    Args:
        node: Where it is kept.
        key: Under which key.
        clock: Its monotonic clock is used.
        timeout: Time in seconds one operation may take.
    """

    def __init__(self, node: ManagedNode, key: str, *, clock: Clock, timeout: float) -> None:
        self._node = node
        self._key = key
        self._clock = clock
        self._timeout = timeout
        self._owner = secrets.token_hex(8).encode()
        self._renewed_at = 0.0

    def acquire(self) -> bool:
        """Return whether this worker has it now."""
        self._renewed_at = self._clock.monotonic()
        return self._node.start_add(self._key, self._owner, LEASE, self._deadline()).result()

    def renew(self) -> None:
        """Keep it, if it is time.

        Raises:
            LeaseLostError: It is not this worker's any more.
        """
        if self._clock.monotonic() - self._renewed_at < RENEW:
            return
        self._renewed_at = self._clock.monotonic()
        token = self._mine()
        if token is None or not self._replace(token, LEASE):
            raise LeaseLostError

    def release(self) -> None:
        """Give it back; an unreachable node forgets it by itself."""
        try:
            token = self._mine()
            if token is not None:
                self._replace(token, 1)
        except NodeError:
            return

    def _mine(self) -> CasToken | None:
        item = self._node.start_gets(self._key, self._deadline()).result()
        return item.token if item is not None and item.value == self._owner else None

    def _replace(self, token: CasToken, ttl: int) -> bool:
        exchange = self._node.start_cas(self._key, self._owner, ttl, token, self._deadline())
        return bool(exchange.result())

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._timeout


class Rebuilder:
    """Rebuilds and drains nodes.

    Args:
        nodes: Node clients by id.
        placement: Says which node is home to a key.
        control: Takes note of what was finished.
        copier: Copies records.
        events: Told of beginnings and ends.
        clock: Its monotonic clock is used.
        key_prefix: Keys of sessions and leases begin with it.
        timeout: Time in seconds one operation may take.

    Attributes:
        progress: Of what is going on now, ``None`` when nothing is.
        unlisted: Nodes that do not list their keys.
    """

    def __init__(
        self,
        nodes: Mapping[str, ManagedNode],
        *,
        placement: Placement,
        control: Control,
        copier: Copier,
        events: Events,
        clock: Clock,
        key_prefix: str,
        timeout: float,
    ) -> None:
        self.progress: Progress | None = None
        self.unlisted: set[str] = set()
        self._nodes = nodes
        self._placement = placement
        self._control = control
        self._copier = copier
        self._events = events
        self._clock = clock
        self._prefix = key_prefix
        self._timeout = timeout

    def rebuild(self, node_id: str, sources: list[str]) -> bool:
        """Bring *node_id* up to date from *sources*; return whether it is.

        Args:
            node_id: The node.
            sources: All other nodes that may hold something. If one of them fails the pass does
                not count, for it may hold the only copy.
        """

        def target_of(key: str) -> list[str]:
            return [node_id] if node_id in self._placement.homes(key) else []

        # Just above what is known to be missed, not the time of this clock: a miss that happens
        # during the pass is newer, also if the clock of the worker that notices it is behind.
        began = self._control.standing(node_id).missed + 1
        if not self._guarded("rebuild", node_id, sources, target_of):
            return False
        self._control.set_rebuilt(node_id, began)
        return True

    def drain(self, node_id: str, others: list[str]) -> bool:
        """Copy what *node_id* holds to the nodes that take over; return whether all is there.

        Args:
            node_id: The node that leaves.
            others: The nodes that may be written.
        """
        usable = set(others)

        def target_of(key: str) -> list[str]:
            ranked = [other for other in self._placement.rank(key) if other in usable]
            return ranked[: self._placement.replicas]

        return self._guarded("drain", node_id, [node_id], target_of)

    def _guarded(
        self, what: str, node_id: str, sources: list[str], target_of: Callable[[str], list[str]]
    ) -> bool:
        """Do the passes under the node's lease."""
        keepers = sorted(other for other in self._nodes if other != node_id)
        if not keepers:
            return True  # the only node: there is nobody to copy from or to
        lease = self._lease(node_id, keepers, sources)
        try:
            if lease is None or not lease.acquire():
                return False
        except NodeError:
            return False
        self._events.add("info", f"{what}_began", f"{what} of {node_id} began", node=node_id)
        self.progress = Progress(node_id, 0, 0, self._clock.monotonic())
        try:
            self._passes(sources, target_of, lease)
        except LeaseLostError:
            return False
        except NodeError as error:
            self._failed(what, node_id, error)
            return False
        else:
            self._finished(what, node_id, self.progress)
            return True
        finally:
            self.progress = None
            lease.release()

    def _lease(self, node_id: str, keepers: list[str], sources: list[str]) -> Lease | None:
        # The same keeper for every worker that can reach it.
        reachable = [keeper for keeper in keepers if keeper in sources] or keepers
        key = f"{self._prefix}fleet:lease:{node_id}"
        return Lease(self._nodes[reachable[0]], key, clock=self._clock, timeout=self._timeout)

    def _passes(
        self, sources: list[str], target_of: Callable[[str], list[str]], lease: Lease
    ) -> None:
        for _ in range(MAX_PASSES):
            copied = sum(self._pass(source, target_of, lease) for source in sources)
            if not copied:
                return

    def _pass(self, source: str, target_of: Callable[[str], list[str]], lease: Lease) -> int:
        """Copy what *source* holds; return how many records were written."""
        try:
            listed = self._nodes[source].metadump(self._prefix, self._clock.monotonic() + LIST_TIME)
        except NodeValueError:
            self.unlisted.add(source)
            raise
        self.unlisted.discard(source)
        by_target: dict[str, list[str]] = {}
        for key in listed:
            if is_session_key(key, self._prefix):
                for target in target_of(key):
                    if target != source:
                        by_target.setdefault(target, []).append(key)
        copied = 0
        for target, keys in by_target.items():
            for start in range(0, len(keys), CHUNK):
                lease.renew()
                chunk = keys[start : start + CHUNK]
                written = self._copier.copy(chunk, self._nodes[source], self._nodes[target])
                copied += written
                if self.progress is not None:
                    self.progress = self.progress._replace(
                        looked_at=self.progress.looked_at + len(chunk),
                        copied=self.progress.copied + written,
                    )
        return copied

    def _finished(self, what: str, node_id: str, progress: Progress) -> None:
        seconds = self._clock.monotonic() - progress.began
        self._events.add(
            "info",
            f"{what}_finished",
            f"{what} of {node_id} finished: {progress.copied} records copied,"
            f" {progress.looked_at} compared in {seconds:.1f} s",
            node=node_id,
        )

    def _failed(self, what: str, node_id: str, error: NodeError) -> None:
        text = f"{what} of {node_id} was broken off: {error}"
        if isinstance(error, NodeValueError):
            text += "; the node stays in use and is read together with others"
        self._events.add("warning", f"{what}_failed", text, node=node_id)


def is_session_key(key: str, prefix: str) -> bool:
    """Return whether *key* is the storage key of a session under *prefix*."""
    digest = key[len(prefix) :]
    return len(digest) == 40 and not digest.strip("0123456789abcdef")
