"""Looks again at cookies that found no session, in each tick.

A refused cookie counts as lost only if a node has its session, signed with a key that is not known
here: strangers can send cookies, but do not know the ids of sessions. All that wait are looked at
while there is time: a node has none of those that are forged, so a thousand take it a millisecond,
and those of users do not wait behind them. A session of which no store knew counts as lost until
it is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.lost_sessions import Reason
from flask_msm.cluster.mode import Mode
from flask_msm.errors import NodeError
from flask_msm.record.record import PARTIAL, Kind
from flask_msm.storage.store import Outcome


if TYPE_CHECKING:
    from flask_msm.cluster.lost_sessions import LostSessions
    from flask_msm.process.clock import Clock
    from flask_msm.storage.failover import FailoverStore


#: Most cookies that nodes are asked for at a time, and most of sessions that are read in one tick.
MOST = 64


@dataclass(eq=False, kw_only=True)
class LostWatch:
    """Looks again for the sessions of cookies, for one worker.

    Args:
        timeout: Time in seconds one node may take, and all cookies of each kind.
    """

    losses: LostSessions
    store: FailoverStore
    clock: Clock
    timeout: float

    def look(self) -> None:
        """Look at what is to be looked at again."""
        refused, until = list(self.losses.open[Reason.REFUSED].items()), self._by()
        while refused and self.clock.monotonic() < until:
            self._look_at_refused(refused[:MOST])
            del refused[:MOST]
        if self.losses.open[Reason.NOT_KNOWN] and self.store.mode.mode is Mode.DISTRIBUTED:
            self._ask_again()

    def _by(self) -> float:
        return self.clock.monotonic() + self.timeout

    def _look_at_refused(self, waiting: list[tuple[str, str]]) -> None:
        """Find those whose sessions are signed with a key that is not known here."""
        nodes = self.store.nodes
        keys = [key for _, key in waiting]
        answered: set[str] = set()
        foreign: set[str] = set()
        for node_id, node in nodes.clients.items():
            asked = [key for key in keys if node_id in nodes.placement.homes(key)]
            if not asked or not nodes.views.rights(node_id).joined:
                continue
            try:
                items = node.get_many(asked, self._by())
            except NodeError:
                continue
            answered.update(asked)
            foreign.update(
                key for key, item in items.items() if nodes.envelope.is_of_unknown_key(item.value)
            )
        for digest, key in waiting:
            if key in answered:
                self.losses.looked_at(digest, key, foreign=key in foreign)

    def _ask_again(self) -> None:
        """Find out about those of which no store knew."""
        waiting = self.losses.open[Reason.NOT_KNOWN]
        deadline = self._by()
        for digest, key in list(waiting.items())[:MOST]:
            if self.clock.monotonic() >= deadline:
                break
            loaded = self.store.load(key, at_least=0, deadline=deadline)
            record = loaded.record
            if loaded.outcome is Outcome.UNKNOWN or (
                record is not None and record.created == PARTIAL and not loaded.certain
            ):
                # Others have their turn first.
                waiting[digest] = waiting.pop(digest, key)
            elif record is None or record.created == PARTIAL:
                self.losses.missing(key)
            elif record.kind is Kind.DATA:
                self.losses.settle(Reason.NOT_KNOWN, digest)
            else:
                self.losses.note(Reason.ENDED, key)
