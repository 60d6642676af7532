"""Writing one record to several nodes by joining, in rounds.

Each round sends one command to every node that is not done yet, then reads all replies: the nodes
work side by side, and the usual write costs a ``cas`` on the primary while the backup is read,
then a ``cas`` on the backup. All that a node turns out to know is joined before the next round,
so no order of two parallel writers, and no old copy, loses a change.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError, NodeValueError, UnknownRecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.record import Kind, Record, join_optional

from .copy_writer import CopyWriter, WriterState
from .store import Copy, RecordTooLargeError, Rewrite, Saved


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from .replica_set import ReplicaSet


#: Upper bound on retry rounds. Two concurrent writers need about two rounds each; this many are
#: never reached within a deadline.
MAX_ROUNDS = 64


class _Write:
    """One write: what is known, what shall be stored, and the writers of its copies."""

    def __init__(self, nodes: ReplicaSet, key: str, rewrite: Rewrite, deadline: float) -> None:
        self.nodes = nodes
        self.key = key
        self.rewrite = rewrite
        self.deadline = deadline
        self.seen: Record | None = None
        self.base: Record | None = None
        self.replicas = 0
        self.active: list[CopyWriter] = []
        self.failed: set[str] = set()
        self.refused: set[str] = set()
        #: How often a node turned out to know more.
        self.conflicts = 0
        self._sealed: tuple[Record, bytes, int] | None = None

    def seal(self, record: Record) -> tuple[bytes, int]:
        """Return the bytes and the time to live of *record*."""
        if self._sealed is None or self._sealed[0] is not record:
            data = self.nodes.envelope.seal(record, self.key)
            limit = self.nodes.limit(self.key)
            if len(data) > limit:
                raise RecordTooLargeError(len(data), limit, record.attributes.largest())
            ttl = ttl_for(record.expires_at, earliest(self.nodes.clock))
            self._sealed = record, data, ttl
        return self._sealed[1:]

    def opened(self, item: Any) -> Copy:
        return self.nodes.opened(item, self.key)

    def send(self, mine: Record, *, may_put: bool) -> list[CopyWriter]:
        busy = []
        for writer in self.active:  # a loop, for this is in the way of every write
            # Two writers that write all copies in every round could answer each other for ever.
            waits = (
                self.conflicts > 1 and writer is not self.active[0] and not self.first_holds(mine)
            )
            may = may_put and not waits
            if writer.start(mine, self.base, self.seal, self.deadline, may_put=may):
                busy.append(writer)
        return busy

    def first_holds(self, mine: Record) -> bool:
        """Return whether the first copy is written already."""
        return self.active[0].holds(mine, self.base)

    def is_blind(self) -> bool:
        """Return whether a node must be read before it can be written."""
        for writer in self.active:  # noqa: SIM110  (as above)
            if writer.standing is WriterState.BLIND:
                return True
        return False

    def receive(self, busy: list[CopyWriter]) -> list[CopyWriter]:
        """Read all replies; return the writers whose node is out of the question."""
        lost = []
        for writer in busy:
            try:
                writer.finish(self.opened)
                self.nodes.answered(writer.node.id)
            except NodeError as error:
                self.nodes.report(writer.node.id, error)
                refused = isinstance(error, NodeValueError)
                (self.refused if refused else self.failed).add(writer.node.id)
                lost.append(writer)
            except UnknownRecordError:
                lost.append(writer)
        return lost

    def ask_other_homes(self) -> Record | None:
        """Look for a tombstone before a copy that disappeared is written anew."""
        found = None
        for node_id in self.nodes.placement.homes(self.key):
            asked = any(writer.node.id == node_id for writer in self.active)
            if asked or not self.nodes.views.rights(node_id).joined:
                continue
            try:
                item = self.nodes.clients[node_id].start_gets(self.key, self.deadline).result()
                found = join_optional(found, self.opened(item).known)
            except NodeError as error:
                self.nodes.report(node_id, error)
            except UnknownRecordError:
                continue
        return found

    def learn(self, busy: list[CopyWriter], mine: Record) -> bool:
        """Add what the replies contain; return whether any node knew more than was known.

        What this write itself has stored is known: it must count when it is read back, and when
        the caller gets what the stores hold now.
        """
        for writer in busy:
            if not writer.read:
                # What was made from all that was known contains it; no need to join.
                made = writer.record is mine and self.seen is self.base
                self.seen = mine if made else join_optional(self.seen, writer.record)
        before = known = self.seen
        gone = False
        for writer in busy:
            gone |= writer.gone
            if writer.read and writer.part:
                known = join_optional(known, writer.part)
            elif writer.read and writer.record == self.base:
                writer.record = self.base
            elif writer.read:
                known = join_optional(known, writer.record)
        if gone:
            known = join_optional(known, self.ask_other_homes())
        self.seen = known
        return known != before

    def run(self, copies: dict[str, Copy], replicas: int, avoid: Collection[str]) -> Saved:
        self.replicas = replicas
        candidates = self.candidates(copies, avoid)
        self.active = list(islice(candidates, replicas))
        for copy in copies.values():
            self.seen = join_optional(self.seen, copy.known)
        mine = self.draft()
        for number in range(MAX_ROUNDS):
            if number and self.nodes.clock.monotonic() >= self.deadline:
                break  # no node would be asked any more
            # Only the very first round writes next to a node that has not been read: later, a
            # conflict or a vanished copy is a sign of other writers, so all are read first.
            busy = self.send(mine, may_put=number == 0 or not self.is_blind())
            if not busy:
                break
            for writer in self.receive(busy):
                busy.remove(writer)
                self.active.remove(writer)
                self.active += islice(candidates, 1)
            if self.learn(busy, mine):
                self.nodes.counters.conflicts += 1
                self.conflicts += 1
                mine = self.draft()
        return self.account(mine)

    def candidates(self, copies: dict[str, Copy], avoid: Collection[str]) -> Iterator[CopyWriter]:
        """Yield the nodes that may take a copy, best first; those to *avoid* if there are none."""
        ranking = self.nodes.placement.rank(self.key)
        usable = [node_id for node_id in ranking if self.nodes.views.rights(node_id).written]
        if avoid:
            usable = [node_id for node_id in usable if node_id not in avoid] or usable
        for node_id in usable:
            # Looked at again, for it may have failed since: others come before it is needed.
            if self.nodes.views.rights(node_id).written:
                yield CopyWriter(self.nodes.clients[node_id], self.key, copies.get(node_id))

    def draft(self) -> Record:
        """Return what is to be stored, made from all that is known."""
        self.base = self.seen
        return self.rewrite(self.seen)

    def account(self, mine: Record) -> Saved:
        """Count the confirmed copies and report which homes were left out."""
        confirmed = {writer.node.id for writer in self.active if writer.holds(mine, self.base)}
        homes = self.nodes.placement.homes(self.key)
        counters = self.nodes.counters
        # With copies behind the response the other homes come later.
        for node_id in homes if self.replicas == len(homes) else ():
            if node_id in confirmed:
                continue
            # A node that refused a value is well: it keeps its trust if nothing forbidden stays.
            if node_id not in self.refused or not self.settle_refusal(node_id, mine):
                self.nodes.left_out(node_id, self.key)
        if not confirmed:
            counters.not_stored += 1
        elif len(confirmed) < len(homes):
            counters.fewer_copies += 1
        relocated = not confirmed.issubset(homes)
        counters.relocated += relocated
        failed, refused = frozenset(self.failed), frozenset(self.refused)
        return Saved(mine, frozenset(confirmed), relocated, failed, refused)

    def settle_refusal(self, node_id: str, mine: Record) -> bool:
        """Remove what a node that refused *mine* must not show; return whether that was possible.

        An old copy may stay: a browser whose cookie has a newer version asks for that one. A copy
        from before a logout has to go.
        """
        if mine.kind is Kind.DATA:
            return True
        try:
            self.nodes.clients[node_id].delete(self.key, self.deadline)
        except NodeError as error:
            self.nodes.report(node_id, error)
            return False
        return True


def write_copies(
    nodes: ReplicaSet,
    key: str,
    rewrite: Rewrite,
    *,
    copies: dict[str, Copy],
    deadline: float,
    replicas: int | None = None,
    avoid: Collection[str] = frozenset(),
) -> Saved:
    """Store what *rewrite* makes of the session on *replicas* nodes (all its copies if ``None``).

    Nodes to *avoid* are left alone as long as there are others.

    Raises:
        RecordTooLargeError: The record does not fit.
    """
    write = _Write(nodes, key, rewrite, deadline)
    try:
        return write.run(copies, replicas or nodes.placement.replicas, avoid)
    finally:
        for writer in write.active:
            writer.abandon()


def still_valid(copies: dict[str, Copy], record: Record) -> dict[str, Copy]:
    """Return those of *copies* that a write of *record* did not have to touch."""
    return {node_id: copy for node_id, copy in copies.items() if copy.record == record}
