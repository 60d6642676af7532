"""Many records from one node to another, joined, in batches."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import (
    CorruptRecordError,
    IncompleteRecordError,
    NodeBusyError,
    NodeError,
    NodeValueError,
    UnknownRecordError,
)
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.envelope import needs_of
from flask_msm.record.record import Kind, Record, join_optional


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Exchange, Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope


BATCH = 100
#: Writes that are on their way at once; fewer than a pool has connections, for requests need some.
WINDOW = 4
MAX_TRIES = 8
#: Part of a processor's time that a copier takes while its process has nothing else to do, and
#: records at a time; the same beside requests, which wait for the interpreter while it works.
DUTY, BUSY_DUTY, BUSY_BATCH = 0.9, 0.1, 20


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
        requests: Returns another number after each session that this process read or wrote.
        processor: Returns the processor time of this thread, seconds.
    """

    envelope: Envelope
    clock: Clock
    timeout: float
    pause: Callable[[float], object]
    requests: Callable[[], int] = lambda: 0
    processor: Callable[[], float] = time.thread_time

    def __post_init__(self) -> None:
        self._seen = 0

    def copy(
        self, keys: Sequence[str], source: MemcachedNode, target: MemcachedNode, tally: Tally
    ) -> None:
        """Join what *source* holds of *keys* into *target*.

        Raises:
            NodeError: One of the two failed; what was written until then stays.
        """
        for batch in self._paced(keys):
            self._copy_batch(batch, source, target, tally)

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
        for batch in self._paced(list(expiries)):
            found = source.get_many(batch, self._deadline())
            now = earliest(self.clock)
            added = target.add_many(
                {
                    key: (item.value, None if at < 0 else ttl_for(at, now))
                    for key, item in found.items()
                    if (at := expiries[key]) < 0 or at > now
                },
                self._deadline(),
            )
            for answer in added.values():
                if isinstance(answer, NodeError):
                    tally.refused += 1
                else:
                    tally.written += answer

    def _paced(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield *keys* in batches, and rest after each: longer while requests come in."""
        start = 0
        while start < len(keys):
            requests = self.requests()
            is_busy, self._seen = requests != self._seen, requests
            size, duty = (BUSY_BATCH, BUSY_DUTY) if is_busy else (BATCH, DUTY)
            began = self.processor()
            yield keys[start : start + size]
            self.pause((self.processor() - began) * (1 / duty - 1))
            start += size

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
        self._add(
            {key: record for key, record in readable if key not in here}, there, target, tally
        )
        readable = [(key, record) for key, record in readable if key in here]
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

    def _add(
        self,
        records: Mapping[str, Record],
        there: Mapping[str, Item],
        target: MemcachedNode,
        tally: Tally,
    ) -> None:
        """Write *records*, which *target* lacks: as the bytes they are, where these may stay."""
        now = earliest(self.clock)
        items: dict[str, tuple[bytes, int | None]] = {}
        for key, record in records.items():
            if record.expires_at > now:
                stays = self.envelope.is_current(there[key].value)
                data = there[key].value if stays else self.envelope.seal(record, key)
                items[key] = data, ttl_for(record.expires_at, now)
        for key, answer in target.add_many(items, self._deadline()).items():
            if isinstance(answer, NodeError):
                self._refused(key, records[key], target, tally)
            else:
                tally.written += answer or self._again(key, records[key], target)

    def _refused(self, key: str, record: Record, target: MemcachedNode, tally: Tally) -> None:
        tally.refused += 1
        if record.kind is not Kind.DATA:
            # The copy from before must not be found in place of the logout.
            target.delete(key, self._deadline())

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
            self._refused(key, record, target, tally)

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
