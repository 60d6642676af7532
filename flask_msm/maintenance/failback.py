"""When the cluster returns: what this host kept goes back to it, or is dropped.

Two things go back. Changes that were never confirmed by a node, at every tick that finds nodes:
ended and moved sessions first, so that nothing of theirs is brought back, not even for a moment.
And, when nodes lost their memory, the mirrored sessions that no trusted node is home to any more:
the cluster forgot them.

Everything is joined, so it does not matter how many workers and hosts do this at once, how old the
data is that the nodes came back with, or at which point a worker dies.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.mode import Mode
from flask_msm.errors import RecordError, UnknownRecordError
from flask_msm.record.keys import DIGEST_LENGTH
from flask_msm.record.record import Kind
from flask_msm.storage.store import LocalStorageError, RecordRefusedError, RecordTooLargeError

from .ranges import RANGES


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flask_msm.cluster.ended_sessions import Ended
    from flask_msm.storage.failover import FailoverStore
    from flask_msm.storage.local.sync_state import Entry

    from .membership import Membership

#: So many failures in a row end a run; the next tick goes on.
MOST_FAILURES = 3
#: Under this name it is noted on the host which losses of memory have been dealt with.
HANDLED = "fleet:handled"
#: Sessions that are handed over together.
BATCH = 100
#: Of more changes than these, the workers of a host do some ranges each.
SHARED_ABOVE = len(RANGES) * BATCH
#: A run may take so long before it looks at the nodes again, seconds.
RUN_TIME = 30.0
#: Kind of the condition that sessions cannot be handed over.
KEPT = "kept_on_host"
#: Kind of the condition that nodes do not take changes in time.
LATE = "kept_late"
#: It is over when it did not happen again for so long, seconds.
QUIET = 60.0


class FailbackProgress(NamedTuple):
    """How far a hand-over is."""

    todo: int
    done: int


@dataclass(eq=False)
class Failback:
    """Brings local storage back into the cluster.

    Attributes:
        progress: Of what is going on now, ``None`` when nothing is.
        is_restoring: The cluster forgot sessions that are being given back: no answer that a
            session does not exist counts.
    """

    store: FailoverStore
    membership: Membership

    def __post_init__(self) -> None:
        self.progress: FailbackProgress | None = None
        self.is_restoring = False
        #: Also at the start: processes before this one may have left something.
        self._waits = True
        #: Losses of memory that were dealt with, those that are being dealt with, and the sessions
        #: given back so far: one run may end before all are.
        self._handled: dict[str, int] = {}
        self._giving: dict[str, int] = {}
        self._given: set[str] = set()
        #: How many changes had been late, and when that grew last, monotonic time in seconds.
        self._late = 0
        self._late_at = -QUIET

    def mark_ended(self, ended: list[Ended]) -> None:
        """End the copies this host has of sessions that ended elsewhere.

        What only one host knows is handed over by this one as well: that one may not come back.
        """
        for digest, stamp, kept in ended:
            self.store.local.bury(digest, stamp, hand_over=kept)

    def waits(self) -> bool:
        """Return whether nodes do not know yet all that was changed here in an outage."""
        if self.membership.mode.mode is not Mode.DISTRIBUTED:
            self._waits = True
        elif self._waits and not self.store.local.dirty_count():
            self._waits = False
        return self._waits

    def is_due(self) -> bool:
        """Return whether there is anything to do now."""
        self._say_late()
        self.store.local.settle()
        if self.membership.mode.mode is not Mode.DISTRIBUTED:
            return False
        forgotten = self._forgotten() is not None
        self.is_restoring = forgotten and not self.store.drops()
        dirty = bool(self.store.local.dirty_count())
        if not dirty:
            self._say_left(None)
        return forgotten or dirty

    def run(self) -> None:
        """Hand over what there is. Ends early when nodes fail; the next tick goes on."""
        if self.membership.mode.mode is not Mode.DISTRIBUTED:
            return
        until = self.membership.clock.monotonic() + RUN_TIME
        # Read before anything is handed over: a loss in the middle of it is another one.
        lost = self._forgotten()
        with self.store.local.alone_at("handover") as alone:
            if not alone:
                # Another worker of this host does it; if that dies, a later tick finds out. Of many
                # changes, which are counted before they are listed, this one does a part.
                local = self.store.local
                if not self.store.drops() and local.dirty_count() > SHARED_ABOVE:
                    self._hand_over(local.dirty_keys(), until, dirty=True)
                return
            if self.store.drops():
                done = self._drop_all(everything=lost is not None)
                self._waits &= not done
            else:
                done = self._hand_over(self.store.local.dirty_keys(), until, dirty=True)
                # What nodes do not take stays here, and is reported.
                self._waits &= not done
                if lost is not None and done:
                    if lost != self._giving:
                        self._giving, self._given = lost, set()
                    forgotten = [key for key in self._without_home() if key not in self._given]
                    done = self._hand_over(forgotten, until, dirty=False)
            if lost is not None and done:
                # Remembered here as well: a full disk keeps no notes.
                self._handled, self._giving, self._given = lost, {}, set()
                self.store.local.put_blob(HANDLED, json.dumps(lost).encode())
                self.is_restoring = False

    # -- promote -------------------------------------------------------------------------------

    def _hand_over(self, found: list[str], until: float, *, dirty: bool) -> bool:
        """Join the sessions *found* into the cluster; return whether all of them are there."""
        if not found:
            return True
        # Records are read one by one, for they are many.
        self.progress = FailbackProgress(len(found), 0)
        began, failures, done, left = self.membership.clock.monotonic(), 0, 0, 0
        last: Exception | None = None
        shared = dirty and len(found) > SHARED_ABOVE
        try:
            for batch in self._batches(self._shares(found) if shared else [found]):
                if not self._goes_on(until):
                    return False
                taken = frozenset(self.store.hand_over_many(batch, self.membership.timeout))
                if taken:
                    failures, done = 0, done + len(taken)
                    self._given.update(() if dirty else taken)
                for key in [one for one in batch if one not in taken]:
                    if failures >= MOST_FAILURES or not self._goes_on(until):
                        return False
                    try:
                        is_taken = self._hand_over_one(key, dirty=dirty)
                    except (RecordTooLargeError, RecordRefusedError, UnknownRecordError) as error:
                        # Nodes do not take it, or only others can read it. It stays on this host,
                        # and must not keep all others here as well.
                        left += 1
                        last = error
                        continue
                    failures = 0 if is_taken else failures + 1
                    done += is_taken
                    if is_taken and not dirty:
                        self._given.add(key)
                self.progress = FailbackProgress(len(found), done)
        finally:
            self.progress = None
            if dirty:
                self._say_left(last)
            # One change that was not confirmed needs no event; many do.
            if done and (len(found) > 1 or not dirty):
                seconds = self.membership.clock.monotonic() - began
                what = "kept on this host" if dirty else "that the cluster had forgotten"
                text = f"{done} of {len(found)} sessions {what} were handed over in {seconds:.1f} s"
                if shared and done + left < len(found):
                    text += ", the others by other workers"
                self.membership.events.add("info", "handed_over", text, loud=True)
        rest = sum(map(self.store.local.is_dirty, found)) if shared else len(found) - done
        return rest <= left

    def _shares(self, found: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield *found* range by range, without those that another worker of this host is at."""
        by_digit: dict[str, list[str]] = {}
        for key in found:
            by_digit.setdefault(key[-DIGEST_LENGTH], []).append(key)
        # Workers begin at different ones, and look again at those that others had.
        first = os.getpid() % len(RANGES)
        local = self.store.local
        for digit in 2 * (RANGES[first:] + RANGES[:first]):
            if digit not in by_digit:
                continue
            with local.alone_at(f"handover-{digit}") as alone:
                if alone:
                    # Another one may have been at it since it was looked.
                    yield [key for key in by_digit.pop(digit) if local.is_dirty(key)]

    def _goes_on(self, until: float) -> bool:
        """Return whether a run may go on: until then (monotonic, seconds), while nodes are used."""
        in_time = self.membership.clock.monotonic() <= until
        return in_time and self.membership.mode.mode is Mode.DISTRIBUTED

    def _batches(self, shares: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
        """Yield each of *shares* in parts, those that ended or moved first, never with others."""
        for share in shares:
            ended = [key for key in share if self._has_ended(key)]
            moved_up = set(ended)
            for keys in (ended, [key for key in share if key not in moved_up]):
                for start in range(0, len(keys), BATCH):
                    yield keys[start : start + BATCH]

    def _hand_over_one(self, key: str, *, dirty: bool) -> bool:
        deadline = self.membership.clock.monotonic() + self.membership.timeout
        return self.store.hand_over(key, deadline, fresh=not dirty)

    def _say_late(self) -> None:
        """Report that changes wait on this host because nodes did not take them in time."""
        now, count = self.membership.clock.monotonic(), self.store.late
        if count != self._late:
            self._late, self._late_at = count, now
        host = socket.gethostname()
        text = (
            f"nodes did not take changes of sessions within MSM_REQUEST_DEADLINE: {host} keeps them"
            " until they are handed over; see whether nodes are slow, or many requests change one"
            " large session at the same time"
        )
        self.membership.conditions.note(LATE, host, text if now - self._late_at < QUIET else None)

    def _say_left(self, error: Exception | None) -> None:
        """Report what nodes do not take, once while it lasts."""
        host = socket.gethostname()
        text = (
            f"sessions are kept on {host} only, nodes do not store them ({error}): see whether"
            " nodes are full (-m), take smaller items (-I), or workers differ in codec or keys"
        )
        self.membership.conditions.note(KEPT, host, text if error else None)

    def _has_ended(self, key: str) -> bool:
        entry = self._find(key)
        return entry is not None and entry.record.kind is not Kind.DATA

    def _find(self, key: str) -> Entry | None:
        try:
            return self.store.local.find(key)
        except (RecordError, LocalStorageError):
            return None

    def _without_home(self) -> list[str]:
        """Return the sessions of this host that no trusted node is home to."""
        views = self.membership.table.view()
        homes = self.store.nodes.placement.homes
        return [
            key
            for key in self.store.local.all_keys()
            if not any(views[node_id].rights.alone for node_id in homes(key))
        ]

    def _without_memory(self) -> list[str]:
        """Return the sessions of this host whose homes all lost their memory.

        That a node is not trusted, or cannot be reached for a moment, is not enough: what is found
        here is dropped.
        """
        empty, homes = self.membership.control.empty(), self.store.nodes.placement.homes
        return [key for key in self.store.local.all_keys() if empty.issuperset(homes(key))]

    def _is_final(self, entry: Entry) -> bool:
        """Return whether an end must reach the cluster, also if changes are dropped.

        A node that was not emptied may hold a copy from before. A move during the outage is
        dropped like any change of it: what it points to is dropped as well.
        """
        kind = entry.record.kind
        return kind is Kind.DESTROYED or (kind is Kind.ALIAS and not self.store.is_dropped(entry))

    def _is_over(self, key: str) -> bool:
        """Return whether a node answers: others of this host may be in an outage already.

        It is asked after the entry was read, so what is dropped is not of the next outage.
        """
        deadline = self.membership.clock.monotonic() + self.membership.timeout
        return bool(self.store.cluster.load(key, at_least=0, deadline=deadline).copies)

    def _forgotten(self) -> dict[str, int] | None:
        """Return which losses of memory this host has not dealt with, ``None`` without any."""
        lost = self.membership.control.lost()
        if not lost:
            return None
        try:
            handled = json.loads(self.store.local.get_blob(HANDLED) or b"{}")
        except ValueError:
            handled = {}
        noted = handled if isinstance(handled, dict) else {}
        dealt_with = (noted, self._handled)
        if all(stamp in [one.get(node) for one in dealt_with] for node, stamp in lost.items()):
            return None
        return lost

    # -- discard -------------------------------------------------------------------------------

    def _drop_all(self, *, everything: bool) -> bool:
        """Hand over what merely was not confirmed yet; drop what was kept during an outage.

        A logout is handed over in any case: a node may have come back with old data. Ends early
        when nodes fail or it takes too long; the next tick goes on.

        Args:
            everything: Where the cluster forgot its sessions it starts as if new: mirrors go, too.
        """
        local = self.store.local
        forgotten = set(self._without_memory()) if everything else set()
        found = sorted(forgotten.union(local.dirty_keys()))
        # Logouts first: until they are there, a node with old data shows a session that ended.
        kept = {key for key in found if self._is_kept(key, forgotten)}
        until = self.membership.clock.monotonic() + RUN_TIME
        if not self._hand_over(sorted(kept), until, dirty=True):
            return False
        dropped, is_done = 0, True
        until = self.membership.clock.monotonic() + RUN_TIME
        for key in found:
            if key in kept:
                continue
            entry = self._find(key)
            if entry is None:
                local.forget_mark(key)
                continue
            if not self._is_to_drop(key, entry, forgotten):
                is_done = False  # a logout of this very moment
                continue
            if self.membership.clock.monotonic() > until or not self._is_over(key):
                is_done = False
                break
            gone = local.drop(key, entry.record)
            dropped += gone
            is_done = is_done and gone  # what changed meanwhile is looked at again
        if self.store.mirror is not None and dropped:
            self.store.mirror.forget()
        if dropped:
            text = f"{dropped} sessions kept on this host were dropped (MSM_ON_RECONNECT)"
            self.membership.events.add("warning", "dropped", text)
        return is_done

    def _is_kept(self, key: str, forgotten: set[str]) -> bool:
        """Return whether what this host has of *key* goes into the cluster."""
        entry = self._find(key)
        return entry is not None and not self._is_to_drop(key, entry, forgotten)

    def _is_to_drop(self, key: str, entry: Entry, forgotten: set[str]) -> bool:
        return (key in forgotten or self.store.is_dropped(entry)) and not self._is_final(entry)
