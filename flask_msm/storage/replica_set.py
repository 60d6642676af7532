"""The nodes as the cluster store uses them: their clients, what may be done, what they hold."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_msm.errors import CorruptRecordError, IncompleteRecordError, UnknownRecordError
from flask_msm.process.apart import apart
from flask_msm.record.keys import ref_of

from .store import ABSENT, Copy


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.cluster.placement import Placement
    from flask_msm.errors import NodeError
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope


logger = logging.getLogger("flask_msm.cluster")


@dataclass(slots=True)
class ClusterCounters:
    """What happened since the process started. Lost updates between threads are harmless."""

    corrupt: int = 0
    unknown_records: int = 0
    stale_served: int = 0
    conflicts: int = 0
    written_back: int = 0
    relocated: int = 0
    fewer_copies: int = 0
    not_stored: int = 0
    queued: int = 0


@dataclass(slots=True, kw_only=True)
class ReplicaSet:
    """What reading and writing share.

    Attributes:
        report: Called with the failure of an operation on a node.
        answered: Called with each node that answered.
        left_out: Called for a home node that did not get a write, with node id and storage key.
    """

    clients: Mapping[str, MemcachedNode]
    placement: Placement
    views: NodeTable
    report: Callable[[str, NodeError], object]
    answered: Callable[[str], object]
    left_out: Callable[[str, str], object]
    envelope: Envelope
    max_size: int
    clock: Clock
    counters: ClusterCounters = field(default_factory=ClusterCounters)

    def limit(self, key: str) -> int:
        """Return the size in bytes of the largest record that all homes of *key* take."""
        limit = self.max_size
        for node_id in self.placement.homes(key):
            limit = min(limit, self.clients[node_id].largest)
        return limit

    def opened(self, item: Item | None, key: str) -> Copy:
        """Return what a node holds.

        Raises:
            UnknownRecordError: A process with other keys or a newer version wrote it: it must
                be left alone.
        """
        if item is None:
            return ABSENT
        try:
            return Copy(self.envelope.open(item.value, key), item.token)
        except IncompleteRecordError as error:
            if error.damaged:
                self._note_corrupt(key, error)
            return Copy(None, item.token, error.part)
        except CorruptRecordError as error:
            self._note_corrupt(key, error)
            return Copy(None, item.token)
        except UnknownRecordError as error:
            self.counters.unknown_records += 1
            apart(logger.warning, "session %s: a copy is left alone (%s)", ref_of(key), error)
            raise

    def _note_corrupt(self, key: str, error: CorruptRecordError) -> None:
        self.counters.corrupt += 1
        apart(logger.warning, "session %s: a copy is corrupt (%s)", ref_of(key), error)
