"""Many records from one node to another, joined, in batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import (
    CorruptRecordError,
    IncompleteRecordError,
    NodeBusyError,
    NodeValueError,
    UnknownRecordError,
)
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.envelope import needs_of
from flask_msm.record.record import Kind, Record, join_optional


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Exchange, Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope


BATCH = 100
#: Writes that are on their way at once; fewer than a pool has connections, for requests need some.
WINDOW = 4
MAX_TRIES = 8
#: Part of the time a copier works; the rest is left to requests.
DUTY = 0.8


class Tally:
    """What became of the records that were to be copied.

    Attributes:
        refused: How many the target refused; it is well all the same.
        foreign: Those only others can read, and that the target does not have.
        unread: How many could not be joined with what the target holds, by what reading both
            takes (see ``record/envelope.py``).
    """

    def __init__(self) -> None:
        self.written = self.refused = 0
        self.foreign: list[str] = []
        self.unread: Counter[frozenset[str]] = Counter()


class _Found(NamedTuple):
    """What an item turned out to be.

    Attributes:
        record: The record, or the part of it that could be read; ``None`` if it is corrupt.
        needs: What reading it takes, if only others can.
        stays: It need not be written anew.
    """

    record: Record | None
    needs: frozenset[str]
    stays: bool


NOTHING = _Found(None, frozenset(), stays=False)


@dataclass(eq=False, kw_only=True)
class RecordCopier:
    """Copies records between nodes.

    Args:
        timeout: Time in seconds one batch may wait for a node.
        pause: Called with the time in seconds to rest after a batch.
    """

    envelope: Envelope
    clock: Clock
    timeout: float
    pause: Callable[[float], object]

    def copy(
        self, keys: Sequence[str], source: MemcachedNode, target: MemcachedNode, tally: Tally
    ) -> None:
        """Join what *source* holds of *keys* into *target*.

        Raises:
            NodeError: One of the two failed; what was written until then stays.
        """
        for start in range(0, len(keys), BATCH):
            began = self.clock.monotonic()
            self._copy_batch(keys[start : start + BATCH], source, target, tally)
            self.pause((self.clock.monotonic() - began) * (1 / DUTY - 1))

    def copy_as_is(
        self,
        expiries: Mapping[str, int],
        source: MemcachedNode,
        target: MemcachedNode,
        tally: Tally,
    ) -> None:
        """Copy records that only others can read, where *target* has nothing.

        *expiries*: when each expires, by its key: seconds since the epoch, -1 for never.

        Raises:
            NodeError: One of the two failed; what was written until then stays.
        """
        keys = list(expiries)
        for start in range(0, len(keys), BATCH):
            began = self.clock.monotonic()
            found = source.get_many(keys[start : start + BATCH], self._deadline())
            for key, item in found.items():
                now, expires_at = earliest(self.clock), expiries[key]
                if 0 <= expires_at <= now:
                    continue
                ttl = None if expires_at < 0 else ttl_for(expires_at, now)
                try:
                    added = target.start_add(key, item.value, ttl, self._deadline()).result()
                except NodeValueError:
                    tally.refused += 1
                else:
                    tally.written += added
            self.pause((self.clock.monotonic() - began) * (1 / DUTY - 1))

    def _copy_batch(
        self, keys: Sequence[str], source: MemcachedNode, target: MemcachedNode, tally: Tally
    ) -> None:
        deadline = self._deadline()
        there = source.get_many(keys, deadline)
        here = target.get_many(there, deadline)
        # Records that are equal on both need no look; after a restart no record is.
        todo = [
            (key, item)
            for key, item in there.items()
            if key not in here
            or here[key].value != item.value
            or self.envelope.is_to_fold(item.value)
        ]
        readable = [
            (key, record)
            for key, item in todo
            if (record := self._readable(key, item, here.get(key), tally)) is not None
        ]
        for start in range(0, len(readable), WINDOW):
            window = [
                (key, record, self._write(key, record, here.get(key), target))
                for key, record in readable[start : start + WINDOW]
            ]
            try:
                for key, record, exchange in window:
                    if exchange is not None:
                        self._settle(key, record, exchange, target, tally)
            except BaseException:
                for _, _, exchange in window:
                    if exchange is not None:
                        exchange.abandon()
                raise

    def _settle(
        self,
        key: str,
        record: Record,
        exchange: Exchange[bool | None] | Exchange[bool],
        target: MemcachedNode,
        tally: Tally,
    ) -> None:
        """Take note of what became of one write."""
        try:
            tally.written += bool(exchange.result() or self._again(key, record, target))
        except NodeValueError:
            tally.refused += 1
            if record.kind is not Kind.DATA:
                # The copy from before must not be found in place of the logout.
                target.delete(key, self._deadline())

    def _readable(self, key: str, item: Item, there: Item | None, tally: Tally) -> Record | None:
        """Return the record in *item* if it can be read, and joined with what is *there*."""
        found = self._opened(key, item)
        needs_there = self._opened(key, there).needs if there else frozenset()
        if not found.needs and not needs_there:
            return found.record
        if there is None:
            tally.foreign.append(key)
        else:
            tally.unread[found.needs | needs_there] += 1
        return None

    def _write(
        self, key: str, record: Record, item: Item | None, target: MemcachedNode
    ) -> Exchange[bool | None] | Exchange[bool] | None:
        """Send the join of *record* and *item*; ``None`` when there is nothing to write."""
        token = item.token if item else None
        current = self._opened(key, item) if item else NOTHING
        if current.needs:
            return None  # written by others since it was looked at: the next pass finds it
        joined = join_optional(current.record, record)
        if joined is None or (joined == current.record and current.stays):
            return None
        now = earliest(self.clock)
        if joined.expires_at <= now:
            return None
        data = self.envelope.seal(joined, key)
        ttl = ttl_for(joined.expires_at, now)
        if token is None:
            return target.start_add(key, data, ttl, self._deadline())
        return target.start_cas(key, data, ttl, token, self._deadline())

    def _again(self, key: str, record: Record, target: MemcachedNode) -> bool:
        """Write a record that a request changed in the meantime."""
        for _ in range(MAX_TRIES):
            item = target.start_gets(key, self._deadline()).result()
            exchange = self._write(key, record, item, target)
            if exchange is None:
                return False
            if exchange.result():
                return True
        raise NodeBusyError(target.id, "a session changes faster than it can be copied")

    def _opened(self, key: str, item: Item) -> _Found:
        try:
            record = self.envelope.open(item.value, key)
            return _Found(record, frozenset(), not self.envelope.is_to_fold(item.value))
        except IncompleteRecordError as error:
            return NOTHING._replace(record=error.part)
        except CorruptRecordError:
            return NOTHING
        except UnknownRecordError:
            return NOTHING._replace(needs=needs_of(item.value))

    def _deadline(self) -> float:
        return self.clock.monotonic() + self.timeout
