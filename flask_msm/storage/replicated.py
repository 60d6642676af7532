"""Sessions in several memcached nodes: which are asked, what is joined, where copies go.

Reading: the first home node whose answer counts alone is enough, if its copy is at least as new as
the browser's token. Otherwise up to one node more than there are copies are read and joined, and
the join is written back before it is returned. Writing is in ``replicated_write.py``.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError, UnknownRecordError
from flask_msm.record.record import Kind, Record, join, join_optional

from .replicated_write import still_valid, write_copies
from .store import ABSENT, FRESH, Copy, Loaded, Outcome, RecordTooLargeError, Rewrite, Saved


if TYPE_CHECKING:
    from flask_msm.memcached.protocol import Exchange, Item
    from flask_msm.process.background import Background

    from .replica_set import ReplicaSet
    from .second_looks import SecondLooks


logger = logging.getLogger("flask_msm.cluster")

#: As ``at_least``: no copy is new enough, so all are read and joined.
ANY_COPY = 1 << 63


class _Read:
    """What one load has learned so far.

    That a session is *missing* takes the answer of every home; or of those that can be asked, if
    they have evicted and refused nothing.
    """

    def __init__(self, nodes: ReplicaSet, key: str, at_least: int) -> None:
        self.nodes = nodes
        self.key = key
        self.at_least = at_least
        self.homes = nodes.placement.homes(key)
        #: How many copies were looked at, and may be at most.
        self.looks, self.most = 0, nodes.placement.replicas + 1
        self.seen: Record | None = None
        self.copies: dict[str, Copy] = {}
        self.failed: set[str] = set()
        self.said_no: set[str] = set()
        self.certain = self.enough = self.unsure = self.both = False

    def receive(self, node_id: str, exchange: Exchange[Item | None]) -> None:
        """Take in what a node answers."""
        # As they are before this reply is read: what it shows of the node counts for the next one.
        rights = self.nodes.views.rights(node_id)
        try:
            item = exchange.result()
            self.nodes.answered(node_id)
            copy = self.nodes.opened(item, self.key)
        except NodeError as error:
            self.nodes.report(node_id, error)
            self.failed.add(node_id)
            return
        except UnknownRecordError:
            self.unsure = True
            return
        self.copies[node_id] = copy
        self.looks += 1
        record = copy.record
        self.seen = join_optional(self.seen, copy.known)
        # A copy that is there and cannot be read is not "not there".
        self.unsure |= record is None and copy is not ABSENT
        if node_id not in self.homes:
            return
        if record is not None:
            self.certain |= rights.missing
            self.enough |= rights.alone and record.version >= self.at_least
        elif copy is ABSENT and rights.missing:
            self.said_no.add(node_id)
            self.certain |= not self.nodes.views.may_lack(node_id)

    def receive_all(self, asked: dict[str, Exchange[Item | None]]) -> None:
        """Take in what nodes answer that were asked side by side."""
        try:
            while asked:
                node_id = next(iter(asked))
                self.receive(node_id, asked.pop(node_id))
        finally:
            for exchange in asked.values():
                exchange.abandon()

    def agreed(self) -> bool:
        """Return whether all copies are equal."""
        return all(copy is ABSENT or copy.record == self.seen for copy in self.copies.values())

    def loaded(self) -> Loaded:
        """Return the answer."""
        failed = frozenset(self.failed)
        if self.seen is not None:
            whole = any(copy.record for copy in self.copies.values())
            certain = self.certain and whole
            return Loaded(Outcome.FOUND, self.seen, self.copies, certain, failed)
        all_said = len(self.said_no) == len(self.homes)
        some_said = bool(self.said_no) and not any(map(self.nodes.views.may_lack, self.said_no))
        gone = (all_said or some_said) and not self.unsure
        return Loaded(
            Outcome.MISSING if gone else Outcome.UNKNOWN,
            None,
            self.copies,
            failed=failed,
            said_no=frozenset(self.said_no),
        )


class ClusterStore:
    """Implements ``SessionStore`` over memcached nodes.

    Args:
        nodes: Where sessions are kept.
        background: Writes all copies but the first behind the response; ``None`` to write every
            copy before it.
        second_looks: Decides which reads ask both homes; ``None`` for none.
        behind: Makes a copy again that a node has lost, behind the response.
    """

    def __init__(
        self,
        nodes: ReplicaSet,
        *,
        background: Background | None = None,
        second_looks: SecondLooks | None = None,
        behind: Background | None = None,
    ) -> None:
        self.nodes = nodes
        self._background = background
        self._second_looks = second_looks
        self._behind = behind

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*: one round trip when all is well."""
        read = _Read(self.nodes, key, at_least)
        ranking = self.nodes.placement.rank(key)
        if at_least < ANY_COPY and self._second_looks is not None and self._second_looks.due(key):
            asked = self._sent_to_homes(read, deadline)
            ranking = ranking[len(asked) :]  # which begins with the homes
            read.both = bool(asked)
            read.receive_all(asked)
        for node_id in ranking:
            if read.enough or read.looks >= read.most:
                break
            if self.nodes.views.rights(node_id).joined:
                read.receive(node_id, self.nodes.clients[node_id].start_gets(key, deadline))
        if read.seen is None and self.nodes.views.scattered():
            read.receive_all(self._sent_to_others(read, deadline))
        loaded = read.loaded()
        record = loaded.record
        if record is None:
            return loaded
        if record.version < at_least < ANY_COPY:
            self.nodes.counters.stale_served += 1
        if read.both and read.enough and read.agreed():
            self._make_again(key, loaded)
            return loaded
        return loaded if read.looks == 1 else self._written_back(key, loaded, deadline)

    def _sent_to_homes(self, read: _Read, deadline: float) -> dict[str, Exchange[Item | None]]:
        """Ask all homes side by side, if none of them is in doubt."""
        if not all(self.nodes.views.rights(node_id).alone for node_id in read.homes):
            return {}
        return {
            node_id: self.nodes.clients[node_id].start_gets(read.key, deadline)
            for node_id in read.homes
        }

    def _sent_to_others(self, read: _Read, deadline: float) -> dict[str, Exchange[Item | None]]:
        """Ask all nodes that were not asked yet, side by side."""
        return {
            node_id: node.start_gets(read.key, deadline)
            for node_id, node in self.nodes.clients.items()
            if node_id not in read.copies
            and node_id not in read.failed
            and self.nodes.views.rights(node_id).joined
        }

    def _make_again(self, key: str, loaded: Loaded) -> None:
        """Bring back a copy that a home has lost; the first one is enough for this request."""
        record = loaded.record
        lost = any(copy is ABSENT for copy in loaded.copies.values())
        if lost and record is not None and self._behind is not None:
            # With a full queue a later read does it.
            self._behind.put(partial(self._finish, key, record))

    def save(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
        deadline: float,
    ) -> Saved:
        """Store what *rewrite* makes of the record, on as many nodes as there shall be copies."""
        if known is FRESH:
            copies = dict.fromkeys(self.nodes.clients, ABSENT)
        else:
            copies = dict(known.copies) if known else {}
        write = partial(
            write_copies,
            self.nodes,
            key,
            rewrite,
            copies=copies,
            deadline=deadline,
            avoid=known.failed if known else frozenset(),
        )
        if self._background is None or self.nodes.placement.replicas == 1:
            return write()
        saved = write(replicas=1)
        if not saved.copies:
            return saved
        if saved.record.kind is not Kind.DATA:
            # A logout must not be overtaken by anything: all copies before the response.
            return self._finish(key, saved.record, deadline)
        # A full queue means that this request pays for its copies itself.
        if not self._background.put(partial(self._finish, key, saved.record)):
            return self._finish(key, saved.record, deadline)
        self.nodes.counters.queued += 1
        return saved

    def rejoin(self, key: str, deadline: float) -> frozenset[str]:
        """Bring all copies of *key* together; return the nodes that hold the result.

        A session that does not exist needs no copies: all nodes count as holding it.
        """
        loaded = self.load(key, at_least=ANY_COPY, deadline=deadline)
        record = loaded.record
        if record is None:
            missing = loaded.outcome is Outcome.MISSING
            return frozenset(self.nodes.clients) if missing else frozenset()
        return write_copies(
            self.nodes,
            key,
            lambda seen: join(record, seen) if seen else record,
            copies=dict(loaded.copies),
            deadline=deadline,
        ).holders

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return the ids of the nodes that answer and hold *key* now. All are asked at once."""
        found = []
        clients = self.nodes.clients
        asked = {node_id: node.start_gets(key, deadline) for node_id, node in clients.items()}
        for node_id, exchange in asked.items():
            try:
                if exchange.result():
                    found.append(node_id)
            except NodeError as error:
                self.nodes.report(node_id, error)
        return tuple(found)

    def _written_back(self, key: str, loaded: Loaded, deadline: float) -> Loaded:
        """Bring all copies to what was joined, for the next reader may see one of them only."""
        record = loaded.record
        assert record is not None  # noqa: S101  (the outcome is FOUND)

        def joined(seen: Record | None) -> Record:
            return join(record, seen) if seen else record

        try:
            saved = write_copies(
                self.nodes,
                key,
                joined,
                copies=dict(loaded.copies),
                deadline=deadline,
                avoid=loaded.failed,
            )
        except RecordTooLargeError:
            # Each copy fits, their join does not: it is served, and refused when it is saved.
            return loaded
        self.nodes.counters.written_back += 1
        copies = still_valid(loaded.copies, saved.record)
        return loaded._replace(record=saved.record, copies=copies)

    def _finish(self, key: str, record: Record, deadline: float) -> Saved:
        return write_copies(
            self.nodes,
            key,
            lambda seen: join(record, seen) if seen else record,
            copies={},
            deadline=deadline,
        )
