"""Bringing a node that missed something back to where it holds all it is home to.

One worker at a time for each node, by a lease in memcached. A pass lists the keys of all other
nodes and joins every record whose home includes the node into it; it compares first, so a pass
that was cut off is resumed at the price of reading.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError, NodeValueError
from flask_msm.record.keys import DIGEST_LENGTH

from .copier import BATCH, Tally
from .lease import Lease, LeaseLostError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_msm.cluster.placement import Placement
    from flask_msm.memcached.client import MemcachedNode

    from .copier import RecordCopier
    from .membership import Membership


#: A listing is no snapshot: passes are repeated until one finds nothing, at most so often.
MAX_PASSES = 4
#: Time in seconds a node may take to list its keys.
LIST_TIME = 30.0
#: What the digest of a session may begin with.
DIGITS = "0123456789abcdef"


class Progress(NamedTuple):
    """How far a rebuild or drain is.

    Attributes:
        began: Monotonic time, seconds.
    """

    node: str
    looked_at: int
    copied: int
    began: float


class UnreadableError(Exception):
    """Records are in the way that this worker cannot read, and another one can."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} records can be read by other workers only")


@dataclass(eq=False)
class Rebuilder:
    """Rebuilds and drains nodes.

    Attributes:
        progress: Of what is going on now, ``None`` when nothing is.
        unlisted: Nodes that do not list their keys.
        left_to_others: Nodes of which another worker can read more than this one.
    """

    membership: Membership
    _: KW_ONLY
    placement: Placement
    copier: RecordCopier
    key_prefix: str

    def __post_init__(self) -> None:
        self._nodes, self._clock = self.membership.nodes, self.membership.clock
        self._control, self._events = self.membership.control, self.membership.events
        self.progress: Progress | None = None
        self.left_to_others: set[str] = set()
        self.unlisted: set[str] = set()

    def rebuild(self, node_id: str, sources: list[str]) -> bool:
        """Bring *node_id* up to date from all others that may hold something; return whether it is.

        If one of them fails the pass does not count, for it may hold the only copy.
        """
        is_home = self.placement.home_test(node_id)

        def target_of(key: bytes) -> list[str]:
            return [node_id] if is_home(key) else []

        # Just above what is known to be missed, not the time of this clock: a miss that happens
        # during the pass is newer, also if the clock of the worker that notices it is behind.
        began = self._control.standing(node_id).missed + 1
        memory = self._memory(node_id)
        if memory is None or not self._guarded("rebuild", node_id, sources, target_of):
            return False
        if self._memory(node_id) != memory:
            text = f"rebuild of {node_id} does not count: it lost its memory meanwhile"
            self._events.add("warning", "rebuild_failed", text, node=node_id, begins="rebuild")
            return False
        self._control.set_rebuilt(node_id, began)
        return True

    def _memory(self, node_id: str) -> str | None:
        """Return which memory answers, if the fleet knows it; ``None`` if not, or none answers."""
        noted = self._control.identity(node_id)
        try:
            deadline = self._clock.monotonic() + self.membership.timeout
            shown = self.membership.identities.of(self._nodes[node_id], deadline)
        except NodeError:
            return None
        if noted is None or shown is None:
            return ""  # a node that keeps no identity: its map decides
        return shown if shown == noted else None

    def drain(self, node_id: str, others: list[str]) -> bool:
        """Copy what *node_id* holds to *others*, which may be written; return whether it is."""
        usable = set(others)

        def target_of(key: bytes) -> list[str]:
            ranked = [
                other for other in self.placement.rank(key.decode("ascii")) if other in usable
            ]
            return ranked[: self.placement.replicas]

        return self._guarded("drain", node_id, [node_id], target_of)

    def _guarded(
        self, what: str, node_id: str, sources: list[str], target_of: Callable[[bytes], list[str]]
    ) -> bool:
        """Do the passes under the node's lease."""
        keepers = sorted(other for other in self._nodes if other != node_id)
        if not keepers:
            return True  # the only node: there is no other to copy from or to
        lease = self._lease(node_id, keepers, sources)
        try:
            if not lease.acquire():
                return False
        except NodeError:
            return False
        self._events.add("info", f"{what}_began", f"{what} of {node_id} began", node=node_id)
        self.progress = Progress(node_id, 0, 0, self._clock.monotonic())
        try:
            with lease.kept():
                last = self._passes(sources, target_of, lease)
        except (LeaseLostError, UnreadableError, NodeError) as error:
            if isinstance(error, UnreadableError):
                self.left_to_others.add(node_id)
            self._failed(what, node_id, error)
            return False
        else:
            self._finished(what, node_id, self.progress, last)
            return True
        finally:
            self.progress = None
            lease.release()

    def _lease(self, node_id: str, keepers: list[str], sources: list[str]) -> Lease:
        # The same keeper for every worker that can reach it.
        reachable = [keeper for keeper in keepers if keeper in sources] or keepers
        key, timeout = f"{self.key_prefix}fleet:lease:{node_id}", self.membership.timeout
        return Lease(self._nodes[reachable[0]], key, clock=self._clock, timeout=timeout)

    def _passes(
        self, sources: list[str], target_of: Callable[[bytes], list[str]], lease: Lease
    ) -> Tally:
        """Copy until nothing is left to copy; return what the last pass met.

        Raises:
            UnreadableError: Records are left that another worker can read.
        """
        tally = Tally()
        for _ in range(MAX_PASSES):
            tally, self._counted = Tally(), 0
            for source in sources:
                self._pass(source, target_of, lease, tally)
            if not tally.written:
                break
        is_readable = self.membership.workers.is_read_elsewhere
        readable = sum(count for needs, count in tally.unread.items() if is_readable(needs))
        if readable:
            raise UnreadableError(readable)
        return tally

    def _pass(
        self, source: str, target_of: Callable[[bytes], list[str]], lease: Lease, tally: Tally
    ) -> None:
        """Copy what *source* holds."""
        listed, prefix = self._listed(source), self.key_prefix.encode()

        def batches() -> Iterator[tuple[MemcachedNode, list[str]]]:
            waiting: dict[str, list[str]] = {}
            for start in range(0, len(listed), DIGEST_LENGTH):
                key = prefix + listed[start : start + DIGEST_LENGTH]
                for target in target_of(key):
                    if target == source:
                        continue
                    keys = waiting.setdefault(target, [])
                    keys.append(key.decode("ascii"))
                    if len(keys) == BATCH:
                        yield self._begun(waiting.pop(target), target, lease, tally)
            for target, keys in waiting.items():
                yield self._begun(keys, target, lease, tally)

        self.copier.copy(batches(), self._nodes[source], tally)
        while tally.foreign:
            lease.check()
            self._copy_foreign(source, *tally.foreign.popitem(), tally)

    def _listed(self, source: str) -> bytearray:
        """Return the digests of the sessions that *source* holds, one behind another."""
        listed = bytearray()
        try:
            self._nodes[source].list_digests(
                self.key_prefix,
                DIGITS,
                DIGEST_LENGTH,
                lambda names: listed.extend(b"".join(names)),
                self._clock.monotonic() + LIST_TIME,
            )
        except NodeValueError:
            self.unlisted.add(source)
            raise
        self.unlisted.discard(source)
        return listed

    def _begun(
        self, keys: list[str], target: str, lease: Lease, tally: Tally
    ) -> tuple[MemcachedNode, list[str]]:
        """Return a batch that is copied next."""
        lease.check()
        self._go_on(len(keys), tally)
        return self._nodes[target], keys

    def _copy_foreign(self, source: str, target: str, keys: list[str], tally: Tally) -> None:
        """Copy what only others can read as it is; the listing contains how long it lives."""
        node, deadline = self._nodes[source], self._clock.monotonic() + LIST_TIME
        expiries = node.expiries(self.key_prefix, keys, deadline)
        self.copier.copy_as_is(expiries, node, self._nodes[target], tally)
        self._go_on(0, tally)

    def _go_on(self, looked_at: int, tally: Tally) -> None:
        copied = tally.written - self._counted
        self._counted = tally.written
        if self.progress is not None:
            self.progress = self.progress._replace(
                looked_at=self.progress.looked_at + looked_at,
                copied=self.progress.copied + copied,
            )

    def _finished(self, what: str, node_id: str, progress: Progress, last: Tally) -> None:
        seconds = self._clock.monotonic() - progress.began
        text = (
            f"{what} of {node_id} finished: {progress.copied} records copied,"
            f" {progress.looked_at} compared in {seconds:.1f} s"
        )
        if last.refused:
            text += f"; {last.refused} were refused, their other copy counts"
        if unread := last.unread.total():
            text += f"; {unread} were left that no worker can read"
        level = "warning" if last.refused or unread else "info"
        self._events.add(level, f"{what}_finished", text, node=node_id, ends=what)

    def _failed(self, what: str, node_id: str, error: Exception) -> None:
        text = f"{what} of {node_id} was broken off: {error}"
        if isinstance(error, NodeValueError):
            text += "; the node stays in use and is read together with others"
        self._events.add("warning", f"{what}_failed", text, node=node_id, begins=what)
