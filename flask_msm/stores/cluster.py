"""Sessions in several memcached nodes: who is asked, what is joined, where copies go.

Reading: the first home node whose word alone counts is enough, if its copy is at least as new as
the browser's token. Otherwise up to one node more than there are copies are read and joined, and
the join is written back before anybody sees it. Writing is in ``copies.py``.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from flask_msm.errors import (
    NodeError,
    UnknownRecordError,
)
from flask_msm.record.record import Kind, Record, join, join_optional

from .copies import still_valid, write_copies
from .ports import ABSENT, FRESH, Copy, Loaded, Outcome, RecordTooLargeError, Rewrite, Saved


if TYPE_CHECKING:
    from flask_msm.record.keys import Keyring

    from .background import Background
    from .nodes import Nodes


logger = logging.getLogger("flask_msm.cluster")

#: As ``at_least``: no copy is new enough, so all are read and joined.
ANY_COPY = 1 << 63


class ClusterStore:
    """Implements ``SessionStore`` over memcached nodes.

    Args:
        nodes: Where sessions are kept.
        background: Writes all copies but the first behind the response; ``None`` to write every
            copy before it.
    """

    def __init__(self, nodes: Nodes, *, background: Background | None = None) -> None:
        self.nodes = nodes
        self._background = background

    def load(self, key: str, keys: Keyring, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*: one round trip when all is well."""
        homes = self.nodes.placement.homes(key)
        seen: Record | None = None
        copies: dict[str, Copy] = {}
        failed: set[str] = set()
        certain = said_no = unsure = False
        for node_id in self.nodes.placement.rank(key):
            rights = self.nodes.views.rights(node_id)
            if not rights.joined:
                continue
            try:
                item = self.nodes.clients[node_id].start_gets(key, deadline).result()
                self.nodes.views.answered(node_id)
                copies[node_id] = copy = self.nodes.opened(item, key, keys)
            except NodeError as error:
                self.nodes.report(node_id, error)
                failed.add(node_id)
                continue
            except UnknownRecordError:
                unsure = True
                continue
            seen = join_optional(seen, copy.record)
            certain = certain or (rights.missing and node_id in homes)
            home = node_id in homes
            if copy.record and rights.alone and home and copy.record.version >= at_least:
                break
            said_no = said_no or (rights.missing and home and copy is ABSENT)
            # A copy that is there and cannot be read is not "not there".
            unsure = unsure or (copy.record is None and copy is not ABSENT)
            if len(copies) > len(homes):
                break
        if seen is None:
            outcome = Outcome.MISSING if said_no and not unsure else Outcome.UNKNOWN
            return Loaded(outcome, None, copies, failed=frozenset(failed))
        if seen.version < at_least < ANY_COPY:
            self.nodes.counters.stale_served += 1
        loaded = Loaded(Outcome.FOUND, seen, copies, certain, frozenset(failed))
        return loaded if len(copies) == 1 else self._written_back(key, keys, loaded, deadline)

    def save(
        self,
        key: str,
        keys: Keyring,
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
            keys,
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
            return self._finish(key, keys, saved.record, deadline)
        # A full queue means that this request pays for its copies itself.
        if not self._background.put(partial(self._finish, key, keys, saved.record)):
            return self._finish(key, keys, saved.record, deadline)
        self.nodes.counters.queued += 1
        return saved

    def rejoin(self, key: str, keys: Keyring, deadline: float) -> frozenset[str]:
        """Bring all copies of *key* together; return the nodes that hold the result.

        A session that nobody has needs no copies: all nodes count as holding it.
        """
        loaded = self.load(key, keys, at_least=ANY_COPY, deadline=deadline)
        record = loaded.record
        if record is None:
            missing = loaded.outcome is Outcome.MISSING
            return frozenset(self.nodes.clients) if missing else frozenset()
        return write_copies(
            self.nodes,
            key,
            keys,
            lambda seen: join(record, seen) if seen else record,
            copies=dict(loaded.copies),
            deadline=deadline,
        ).holders

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return the ids of the nodes that answer and hold *key* now."""
        found = []
        for node_id, node in self.nodes.clients.items():
            try:
                if node.start_gets(key, deadline).result():
                    found.append(node_id)
            except NodeError as error:
                self.nodes.report(node_id, error)
        return tuple(found)

    def _written_back(self, key: str, keys: Keyring, loaded: Loaded, deadline: float) -> Loaded:
        """Bring all copies to what was joined, for the next reader may see one of them only."""
        record = loaded.record
        assert record is not None  # noqa: S101  (the outcome is FOUND)

        def joined(seen: Record | None) -> Record:
            return join(record, seen) if seen else record

        try:
            saved = write_copies(
                self.nodes,
                key,
                keys,
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

    def _finish(self, key: str, keys: Keyring, record: Record, deadline: float) -> Saved:
        return write_copies(
            self.nodes,
            key,
            keys,
            lambda seen: join(record, seen) if seen else record,
            copies={},
            deadline=deadline,
        )
