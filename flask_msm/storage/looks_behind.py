"""Looks at second copies behind responses: those that reads of a good day leave out."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError, UnknownRecordError


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.memcached.protocol import Item
    from flask_msm.process.background import Background

    from .replica_set import ReplicaSet


#: Time in seconds in which keys are collected. To ask one node for many costs a twentieth of
#: asking for each in its request, which has to wake a node that is asked for nothing else.
COLLECTED = 1.0
#: Most keys that wait: as many as are read in a second or two by one worker.
WAITING = 2000
#: Keys that are asked for at once: some 100 kB of sessions of the usual size.
BATCH = 100
#: Time in seconds in which a batch has to be answered by one node.
PATIENCE = 1.0


class LooksBehind:
    """Compares the copies of sessions that were read, and brings together those that differ.

    Args:
        nodes: Where sessions are kept.
        rejoin: Brings all copies of a key together by a deadline (monotonic time in seconds).
        background: Does it.
    """

    def __init__(
        self,
        nodes: ReplicaSet,
        rejoin: Callable[[str, float], object],
        background: Background,
    ) -> None:
        self._nodes = nodes
        self._rejoin = rejoin
        self._background = background
        self._waiting: dict[str, None] = {}
        #: Process that has queued the job which will look at what waits; a fork has to queue anew.
        self._queued_by = 0

    def add(self, key: str) -> bool:
        """Look at *key* soon; return ``False`` if too much waits, then its read has to.

        Threads may lose each other's keys: that costs one look.
        """
        if len(self._waiting) >= WAITING:
            return False
        self._waiting[key] = None
        pid = os.getpid()
        if self._queued_by != pid:
            self._queued_by = pid
            if not self._background.put(self._look, after=COLLECTED):
                self._queued_by = 0
                return False
        return True

    def _look(self, deadline: float) -> None:
        self._queued_by = 0
        waiting, self._waiting = self._waiting, {}
        # A copy: a thread that took it before may add to it yet.
        keys = iter(list(waiting))
        while batch := list(islice(keys, BATCH)):
            # What is left then is looked at when it is read again.
            if self._nodes.clock.monotonic() >= deadline:
                return
            for key in self._different(batch):
                self._rejoin(key, deadline)

    def _different(self, keys: Sequence[str]) -> list[str]:
        """Return those of *keys* whose homes count alone and do not hold the same."""
        homes: dict[str, tuple[str, ...]] = {}
        wanted: dict[str, list[str]] = {}
        for key in keys:
            node_ids = self._nodes.placement.homes(key)
            if all(self._nodes.views.rights(node_id).alone for node_id in node_ids):
                homes[key] = node_ids
                for node_id in node_ids:
                    wanted.setdefault(node_id, []).append(key)
        held: dict[str, dict[str, Item]] = {}
        for node_id, names in wanted.items():
            until = self._nodes.clock.monotonic() + PATIENCE
            try:
                held[node_id] = self._nodes.clients[node_id].get_many(names, until)
            except NodeError as error:
                self._nodes.report(node_id, error)
        return [
            key
            for key, node_ids in homes.items()
            if held.keys() >= set(node_ids)
            and self._differ(key, [held[node_id].get(key) for node_id in node_ids])
        ]

    def _differ(self, key: str, items: Sequence[Item | None]) -> bool:
        values = [None if item is None else item.value for item in items]
        if all(value == values[0] for value in values):
            return False
        with suppress(UnknownRecordError):
            # The same record may be other bytes: encrypted anew by a rebuild, for example.
            records = [self._nodes.opened(item, key).record for item in items]
            return None in records or any(record != records[0] for record in records)
        return False
