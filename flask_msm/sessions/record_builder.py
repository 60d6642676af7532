"""The records a request wants stored: first, changed, moved, ended.

A draft is made from what a store turned out to hold, and made again when it turns out to hold
more: own changes always get a stamp above everything seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.record.attributes import NOTHING, write
from flask_msm.record.hybrid_clock import WORKER_BITS, weak
from flask_msm.record.record import (
    PARTIAL,
    Ending,
    Kind,
    Pointer,
    Record,
    as_whole,
    join_optional,
    lagging,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock
    from flask_msm.record.hybrid_clock import HybridLogicalClock
    from flask_msm.storage.store import Rewrite


#: A record may outlive the idle time-out by this factor, so that not every request writes.
SLACK = 1.1

#: Encoded values by name, ``None`` for what was removed.
Changes = dict[str, "bytes | None"]


class RecordBuilder:
    """Makes records of sessions that live *life* seconds without a request."""

    __slots__ = ("_clock", "_stamps", "life")

    def __init__(self, stamps: HybridLogicalClock, clock: Clock, *, life: float) -> None:
        self._stamps = stamps
        self._clock = clock
        self.life = life

    def expiry(self, now: float) -> float:
        """Return when a session that is written *now* ends if it is not touched again.

        Not earlier if it ends regardless before: it stays until its cookie is too old, so that it
        can be told from a session that was lost.
        """
        return now + self.life * SLACK

    def first(self, changes: Changes) -> Record:
        """Return the first record of a session."""
        now = self._clock.time()
        stamp = self._stamps.next()
        attributes = write(NOTHING, changes, stamp, weak(stamp), set())
        return Record(Kind.DATA, now, now, self.expiry(now), stamp, attributes)

    def moved(self, known: Record | None, changes: Changes, *, after: int) -> Record:
        """Return the first record of a session that gets another id.

        Under the new id there is nothing beside *known*.
        """
        if known is None:
            return self.first(changes)
        return self.changed(as_whole(known), changes, set(), after=after)

    def changed(
        self, base: Record, changes: Changes, weak_names: set[str], *, after: int
    ) -> Record:
        """Return *base* with *changes* on top, or merely refreshed when there are none.

        The new stamp is above *after* and everything in *base*; changes of *weak_names* may only
        fill a gap.
        """
        now = self._clock.time()
        expires_at = max(base.expires_at, now + self.life * SLACK)
        renewed = max(base.renewed, now)
        if not changes:
            return base._replace(renewed=renewed, expires_at=expires_at)
        stamp = self._stamps.next(max(base.version, after))
        attributes = write(
            base.attributes,
            changes,
            stamp,
            weak(stamp) if weak_names else 0,
            weak_names,
            now=int(now * 1000) << WORKER_BITS,
        )
        return Record(Kind.DATA, base.created, renewed, expires_at, stamp, attributes)

    def rewrite(
        self,
        record: Record | None,
        changes: Changes,
        weak_names: set[str],
        *,
        after: int,
        behind: bool = False,
    ) -> Rewrite:
        """Return what puts *changes* on top of *record* and of what a store holds.

        Args:
            record: What is known of the session.
            changes: What the request changed.
            weak_names: Names whose change may only fill a gap.
            after: The new stamp is above this one.
            behind: Changes up to *after* may be on nodes that could not be asked: what is stored
                now is newer than those and still a part of the session only.
        """

        def rewrite(seen: Record | None) -> Record:
            base = seen if seen is record else join_optional(record, seen)
            if base is None:
                now = self._clock.time()
                base = Record(Kind.DATA, PARTIAL, now, 0.0, 0, NOTHING)
            if base.kind is not Kind.DATA:
                return base  # the session ended or moved: the change is dropped, or follows
            changed = self.changed(base, changes, weak_names, after=after)
            lacks = behind and changes and base.version < after
            return lagging(changed) if lacks else changed

        return rewrite

    def alias(self, record: Record, key: str, *, grace: float) -> Rewrite:
        """Return what turns the session into an alias of *key*, unless it ended or moved before.

        For *grace* seconds the old id still shows the frozen attributes.
        """
        now = self._clock.time()

        def place(seen: Record | None) -> Record:
            base = join_optional(record, seen) or record
            if base.kind is not Kind.DATA:
                return base
            version = self._stamps.next(base.version)
            until = max(base.expires_at, self.expiry(now))
            return base._replace(
                kind=Kind.ALIAS,
                renewed=max(base.renewed, now),
                expires_at=until,
                version=version,
                pointer=Pointer(version, key, now + grace),
            )

        return place

    def tombstone(
        self, record: Record | None, met: Callable[[Pointer], object], how: str, by: str
    ) -> Rewrite:
        """Return what ends the session.

        The tombstone lives as long as a copy, a mirror or a slow request could bring it back.

        *met* is called with where the session had moved to, if it had; *how* it ends and *by* whom,
        if that is not its own browser, is kept.
        """
        now = self._clock.time()
        ending = Ending.of(now, how, by)

        def bury(seen: Record | None) -> Record:
            base = join_optional(record, seen)
            if base is None:
                until, version = now + self.life * SLACK, self._stamps.next()
                return Record(Kind.DESTROYED, now, now, until, version, NOTHING, None, ending)
            if base.pointer:
                met(base.pointer)
            if base.kind is Kind.DESTROYED:
                return base
            version = self._stamps.next(base.version)
            until = max(base.expires_at, now + self.life * SLACK)
            renewed = max(base.renewed, now)
            return Record(
                Kind.DESTROYED, base.created, renewed, until, version, NOTHING, None, ending
            )

        return bury
