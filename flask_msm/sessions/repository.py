"""Sessions in any store: load, save, end, move, follow.

The one seam at which an unexpected error of a store turns into "not known": a fault in a store must
not become a 500 by accident.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.lost_sessions import Reason
from flask_msm.errors import SessionTooLargeError
from flask_msm.process.apart import apart
from flask_msm.process.clock import over_before
from flask_msm.record.keys import ref_of
from flask_msm.record.record import Kind, Pointer, Record, join
from flask_msm.storage.metrics import SAMPLE, LatencyMetrics
from flask_msm.storage.store import FRESH, Loaded, Outcome, RecordTooLargeError, Rewrite, Saved

from .record_builder import RecordBuilder


if TYPE_CHECKING:
    from flask_msm.cluster.lost_sessions import LostSessions
    from flask_msm.process.clock import Clock
    from flask_msm.record.codec.msgpack import Codec
    from flask_msm.record.hybrid_clock import HybridLogicalClock
    from flask_msm.storage.store import SessionStore

    from .serialization import Serialization


logger = logging.getLogger("flask_msm")

#: Time in seconds a write always has, even if reading used up what the request may spend: a change
#: that no node was asked to keep would be acknowledged and lost, with nodes that answer.
COMMIT_TIME = 0.1
#: Longest chain of aliases that is followed.
MAX_HOPS = 4
#: How a session ends that its own browser gives up.
SIGNED_OUT = "signed out"
_NOT_STORED = "a session could not be stored: nothing takes it"

#: Called with what happened (``created``, ``destroyed``, ``relocated``) and the session's ref.
Notify = Callable[[str, str], None]


@dataclass(slots=True)
class Counters:
    """What happened since the process started. Lost updates between threads are harmless."""

    detached: int = 0
    dropped_after_logout: int = 0
    dropped_frozen: int = 0
    followed: int = 0
    refreshed: int = 0
    unexpected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings a session's life follows.

    Times are in seconds; *on_unknown* is ``detached`` or ``error``; *raise_unexpected* is for
    tests.
    """

    key_prefix: str
    request_deadline: float
    absolute_timeout: float | None
    regenerate_grace: float
    on_unknown: str
    strict_types: bool
    raise_unexpected: Callable[[], bool]


class Budget:
    """The time in seconds that one request may still spend on stores.

    Attributes:
        left: So much is left.
    """

    def __init__(self, left: float) -> None:
        self.left = left

    @property
    def endpoint(self) -> str | None:
        """The endpoint of the request, for errors."""
        return None


class Moved(NamedTuple):
    """How the move of a session ended.

    Attributes:
        lost: Another request had moved the session elsewhere: both go on, apart from each other.
        over: The session had ended: what was written under the new id was ended, too.
        taken_along: What the session became when changes of parallel requests were added to it;
            ``None`` without any.
    """

    lost: bool = False
    over: bool = False
    taken_along: Saved | None = None


class Repository:
    """What sessions of one application need of their store."""

    def __init__(
        self,
        store: SessionStore,
        *,
        codec: Codec,
        stamps: HybridLogicalClock,
        clock: Clock,
        rules: Rules,
        notify: Notify,
        serialization: Serialization,
        losses: LostSessions,
    ) -> None:
        self.store = store
        self.losses = losses
        self.codec = codec
        self.clock = clock
        #: Returns the time, in seconds since the epoch, before which lives are over.
        self.over_before = over_before(clock)
        self.rules = rules
        self.counters = Counters()
        self.meter = LatencyMetrics(clock)
        self._stamps = stamps
        self._builder: RecordBuilder | None = None
        self.notify = notify
        self.serialization = serialization
        self._reported: set[str] = set()

    def builder(self, life: float) -> RecordBuilder:
        """Return what makes records for sessions that live *life* seconds without a request."""
        known = self._builder
        if known is None or known.life != life:
            known = RecordBuilder(self._stamps, self.clock, life=life)
            self._builder = known
        return known

    def load(self, key: str, budget: Budget, *, at_least: int) -> Loaded:
        """Return what the store knows of a session; "unknown" for a store that fails."""
        began = self.clock.monotonic()
        try:
            deadline = began + budget.left if budget.left > 0.0 else began
            loaded = self.store.load(key, at_least=at_least, deadline=deadline)
        except Exception as error:  # noqa: BLE001  (the seam, see above)
            self._unexpected(error)
            loaded = Loaded(Outcome.UNKNOWN, None, {})
        outcome = loaded.outcome
        found = None if outcome is Outcome.UNKNOWN else outcome is Outcome.FOUND
        budget.left -= self.meter.loaded(began, found)
        if key[-1] == SAMPLE:
            self.meter.asked.add(key)
        return loaded

    def lost(self, key: str, record: Record | None) -> None:
        """Count a cookie whose session does not live: *record* is what is left of it."""
        if record is None:
            self.losses.missing(key)
        else:
            self.losses.note(Reason.EXPIRED if record.kind is Kind.DATA else Reason.ENDED, key)

    def save(
        self,
        key: str,
        budget: Budget,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
    ) -> Saved | None:
        """Store what *rewrite* makes of the session; ``None`` when nothing could be stored.

        Raises:
            SessionTooLargeError: It does not fit; what was stored stays.
        """
        began = self.clock.monotonic()
        deadline = began + max(budget.left, COMMIT_TIME)
        saved = None
        try:
            saved = self.store.save(key, rewrite, known=known, deadline=deadline)
        except RecordTooLargeError as error:
            budget.left -= self.clock.monotonic() - began
            raise SessionTooLargeError(
                size=error.size,
                limit=error.limit,
                largest=error.largest,
                endpoint=budget.endpoint,
            ) from None
        except Exception as error:  # noqa: BLE001  (the seam, see above)
            self._unexpected(error)
        stored = saved is not None and bool(saved.holders)
        budget.left -= self.meter.saved(began, stored=stored)
        if saved is None:
            return None
        if not stored:
            if _NOT_STORED not in self._reported:
                self._reported.add(_NOT_STORED)
                logger.warning(
                    "%s (session %s; logged once while it lasts)", _NOT_STORED, ref_of(key)
                )
            return None
        self._reported.discard(_NOT_STORED)
        if saved.relocated:
            self.notify("relocated", ref_of(key))
        return saved

    def create(self, key: str, budget: Budget, record: Record) -> Saved | None:
        """Store the first record of a session whose id was just made up."""
        return self.save(key, budget, _joined(record), known=FRESH)

    def end(
        self,
        key: str,
        budget: Budget,
        builder: RecordBuilder,
        record: Record | None = None,
        *,
        known: Loaded | None = None,
        hops: int = MAX_HOPS,
        how: str = SIGNED_OUT,
        by: str = "",
    ) -> None:
        """Put a tombstone in place of the session, and of the one it moved to.

        It keeps *how* the session ended, and *by* whom if that was not its own browser.
        """
        moved_to: set[str] = set()

        def on_alias(pointer: Pointer) -> None:
            moved_to.add(pointer.key)

        if self.save(key, budget, builder.tombstone(record, on_alias, how, by), known=known):
            self.notify("destroyed", ref_of(key))
            whom = f" by {by}" if by else ""
            self.losses.log.write("session %s ended: %s", ref_of(key), f"{how}{whom}")
        for target in moved_to if hops else ():
            self.end(target, budget, builder, hops=hops - 1, how=how, by=by)

    def move(
        self,
        key: str,
        budget: Budget,
        builder: RecordBuilder,
        record: Record,
        *,
        known: Loaded | None,
        to: str,
        avoid: frozenset[str] = frozenset(),
    ) -> Moved:
        """Commit that a session moved: put an alias to the storage key *to* in its place.

        It was written to *to* already; nodes to *avoid* failed then.

        Returns:
            How it ended. When the session had ended before, by its old id or by the one it had
            moved to, the one at *to* is ended again: a logout is final.
        """
        grace = self.rules.regenerate_grace
        known = known or Loaded(Outcome.UNKNOWN, None, {})
        known = known._replace(failed=known.failed | avoid)
        saved = self.save(key, budget, builder.alias(record, to, grace=grace), known=known)
        if saved is None:
            return Moved()
        final = saved.record
        if final.kind is not Kind.ALIAS or final.pointer is None or final.pointer.key != to:
            _, loaded = self._behind(key, budget, final)
            if loaded.record is None or loaded.record.kind is not Kind.DESTROYED:
                return Moved(lost=True)
            self.end(to, budget, builder)
            return Moved(over=True)
        self.losses.log.write("session %s ended: it got a new id, %s", ref_of(key), ref_of(to))
        if final.attributes == record.attributes:
            return Moved()
        # Parallel requests wrote between this request's load and the move: take it along.
        late = final._replace(kind=Kind.DATA, pointer=None)
        unseen = Loaded(Outcome.UNKNOWN, None, {}, failed=known.failed | saved.failed)
        return Moved(taken_along=self.save(to, budget, _joined(late), known=unseen))

    def follow(self, key: str, budget: Budget, alias: Record, rewrite: Rewrite) -> None:
        """Apply a change to the session that *alias*, found at *key*, points to, if it lives."""
        target, loaded = self._behind(key, budget, alias)
        kind = loaded.record.kind if loaded.record else None
        if loaded.outcome is Outcome.MISSING or kind is Kind.DESTROYED:
            self.counters.dropped_after_logout += 1
        elif kind is not Kind.ALIAS:
            # Also when no store knows: a session that ended stays so, also after this write.
            self.save(target, budget, rewrite, known=loaded)
            self.counters.followed += 1

    def _behind(self, key: str, budget: Budget, alias: Record) -> tuple[str, Loaded]:
        """Return where the session that moved is now, and what is known of it there."""
        loaded = Loaded(Outcome.FOUND, alias, {})
        for _ in range(MAX_HOPS):
            record = loaded.record
            if record is None or record.kind is not Kind.ALIAS or record.pointer is None:
                break
            key = record.pointer.key
            # Nothing may be left unwritten, however late it is.
            budget.left = max(budget.left, COMMIT_TIME)
            loaded = self.load(key, budget, at_least=0)
        return key, loaded

    def _unexpected(self, error: Exception) -> None:
        if self.rules.raise_unexpected():
            raise error
        self.counters.unexpected += 1
        kind = f"unexpected {type(error).__qualname__}"
        if kind not in self._reported:
            self._reported.add(kind)
            text = "the session store failed unexpectedly; logged once"
            apart(logger.error, text, exc_info=error)


def _joined(record: Record) -> Rewrite:
    return lambda seen: join(record, seen) if seen else record
