"""Many records from one node to another, joined, in batches."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
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

from .patience import BUSY, patiently


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Exchange, Item, Values
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope, Head


#: Records that are looked at together; of large ones fewer, to keep a reply near so many bytes.
BATCH, REPLY = 100, 1_048_576
#: Writes that are on their way at once; fewer than a pool has connections, for requests need some.
WINDOW = 4
MAX_TRIES = 8
#: Part of the time that a copier may spend at work, by its processor time: while its process has
#: nothing else to do, and beside requests, which wait for the interpreter meanwhile.
DUTY, BUSY_DUTY = 0.9, 0.1
#: It is beside requests for so many seconds after one: some come between two rests, others do not.
CALM_AFTER = 1.0


class Tally:
    """What became of the records that were to be copied.

    Attributes:
        refused: How many the target refused; it is well all the same.
        looked_at: How many keys were.
        foreign: Those only others can read, and that the target lacks, by source and target.
        unread: How many could not be joined with what the target holds, by what reading both
            takes (see ``record/envelope.py``).
    """

    def __init__(self) -> None:
        self.written = self.refused = self.looked_at = 0
        self.foreign: dict[tuple[str, str], list[str]] = {}
        self.unread: Counter[frozenset[str]] = Counter()


class Batch(NamedTuple):
    """Records that *source* may have, by their storage keys, and what becomes of them."""

    source: MemcachedNode
    target: MemcachedNode
    keys: Sequence[str]
    tally: Tally


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


class _Asked(NamedTuple):
    """Values that were asked for on both nodes, before those of the batch before are looked at."""

    batch: Batch
    there: Exchange[Values]
    here: Exchange[Values]

    def abandon(self) -> None:
        self.there.abandon()
        self.here.abandon()


@dataclass(eq=False, kw_only=True)
class RecordCopier:
    """Copies records between nodes.

    Args:
        timeout: Time in seconds one batch may wait for a node.
        pause: Called with the time in seconds to rest after a batch.
        requests: Returns another number after each session that this process read or wrote.
        processor: Returns the processor time of this thread, seconds.
        connections: How many it may use to each node, and leave one to requests.
    """

    envelope: Envelope
    clock: Clock
    timeout: float
    pause: Callable[[float], object]
    requests: Callable[[], int] = lambda: 0
    processor: Callable[[], float] = time.thread_time
    connections: int = 8

    def __post_init__(self) -> None:
        self._seen = 0
        self._calm_at = -math.inf
        self._began = self._spent = 0.0
        self._size = BATCH
        #: So many batches are asked for ahead of time; none if that took the last connection.
        self._ahead = 0
        self._window = max(1, min(WINDOW, self.connections - 2))

    def copy(self, batches: Iterable[Batch]) -> None:
        """Join what sources hold into targets.

        Raises:
            NodeError: A node failed; what was written until then stays.
        """
        self._ahead = 1 if self.connections > 2 else 0
        asked: deque[_Asked] = deque()
        try:
            for batch in self._paced(batches):
                asked.append(self._ask(batch))
                while len(asked) > self._ahead:
                    self._copy_first(asked)
            while asked:
                self._copy_first(asked)
        except BaseException:
            for one in asked:
                one.abandon()
            raise

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
        for batch in self._paced([Batch(source, target, list(expiries), tally)]):
            found = source.start_get_values(batch.keys, self._deadline()).result().by_key()
            now = earliest(self.clock)
            added = target.add_many(
                {
                    key: (data, None if at < 0 else ttl_for(at, now))
                    for key, data in found.items()
                    if (at := expiries[key]) < 0 or at > now
                },
                self._deadline(),
            )
            for answer in added.values():
                if isinstance(answer, NodeError):
                    tally.refused += 1
                else:
                    tally.written += answer

    def _paced(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield *batches*, none too large, and rest after each."""
        for batch in batches:
            start = 0
            while start < len(batch.keys):
                part = batch._replace(keys=batch.keys[start : start + self._size])
                start += len(part.keys)
                yield part
                self.rest()

    def rest(self) -> None:
        """Rest for as long as the work since the last time asks for: longer beside requests.

        A wait for a node, or for the interpreter, is a rest as well.
        """
        requests, now = self.requests(), self.clock.monotonic()
        if requests != self._seen:
            self._seen, self._calm_at = requests, now + CALM_AFTER
        duty = DUTY if now >= self._calm_at else BUSY_DUTY
        spent = self.processor() - self._spent
        taken = max(now - self._began, spent)
        if spent / duty > taken:
            self.pause(spent / duty - taken)
        self._began, self._spent = self.clock.monotonic(), self.processor()

    def _ask(self, batch: Batch) -> _Asked:
        there = batch.source.start_get_values(batch.keys, self._deadline())
        try:
            here = batch.target.start_get_values(batch.keys, self._deadline())
        except BaseException:
            there.abandon()
            raise
        return _Asked(batch, there, here)

    def _copy_first(self, asked: deque[_Asked]) -> None:
        """Copy the first batch; while a node is busy, ask for it again."""
        first = asked.popleft()
        try:
            self._copy_batch(first)
        except BUSY:
            # A batch that was asked for ahead may have the only connection: it goes first.
            self._ahead = 0
            while asked:
                self._copy_first(asked)
            patiently(lambda: self._copy_batch(self._ask(first.batch)), self.pause)

    def _copy_batch(self, asked: _Asked) -> None:
        batch = asked.batch
        try:
            there, here = asked.there.result(), asked.here.result()
        except BaseException:
            asked.abandon()
            raise
        batch.tally.looked_at += len(batch.keys)
        # About as many of the next ones as keep the reply small.
        each = len(there.reply) // (len(there.places) or 1)
        self._size = max(1, min(BATCH, REPLY // (each or 1)))
        if there.reply == here.reply and not self._may_fold(there):
            return
        held = here.by_key()
        lacking: dict[str, bytes] = {}
        differing: dict[str, bytes] = {}
        for key, data in there.by_key().items():
            found = held.get(key)
            if found is None:
                lacking[key] = data
            elif found != data or self.envelope.is_to_fold(data):
                differing[key] = data
        self._add(lacking, batch)
        self._join(differing, batch)

    def _may_fold(self, values: Values) -> bool:
        """Return whether one of the *values* may be in a format that is not to be written."""
        fold, reply = self.envelope.is_to_fold, values.reply
        return any(fold(reply[start : start + 3]) for start, _ in values.places.values())

    def _add(self, values: Mapping[str, bytes], batch: Batch) -> None:
        """Write what the target lacks: as the bytes it is, where these may stay."""
        target, tally = batch.target, batch.tally
        now, head_of = earliest(self.clock), self.envelope.head
        items: dict[str, tuple[bytes, int | None]] = {}
        for key, data in values.items():
            head: Head | Record | None = head_of(data, key)
            value = data
            if head is None:
                record = self._readable(key, data, None, batch)
                if record is None:
                    continue
                head, value = record, self.envelope.seal(record, key)
            if head.expires_at > now:
                items[key] = value, ttl_for(head.expires_at, now)
        for key, answer in target.add_many(items, self._deadline()).items():
            if answer is True:
                tally.written += 1
            elif (record := self._opened(key, values[key]).record) is None:
                continue
            elif isinstance(answer, NodeError):
                self._refused(key, record, target, tally)
            else:
                tally.written += self._again(key, record, target)

    def _join(self, values: Mapping[str, bytes], batch: Batch) -> None:
        """Join *values* into others that the target holds."""
        target, tally = batch.target, batch.tally
        if not values:
            return
        here = target.get_many(values, self._deadline())
        readable = [
            (key, record)
            for key, data in values.items()
            if (record := self._readable(key, data, here.get(key), batch)) is not None
        ]
        for start in range(0, len(readable), self._window):
            window = [
                (key, record, self._write(key, record, here.get(key), target))
                for key, record in readable[start : start + self._window]
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

    def _readable(self, key: str, data: bytes, there: Item | None, batch: Batch) -> Record | None:
        """Return the record in *data* if it can be read, and joined with what is *there*."""
        found = self._opened(key, data)
        needs_there = self._opened(key, there.value).needs if there else frozenset()
        if not found.needs and not needs_there:
            return found.record
        if there is None:
            way = batch.source.id, batch.target.id
            batch.tally.foreign.setdefault(way, []).append(key)
        else:
            batch.tally.unread[found.needs | needs_there] += 1
        return None

    def _write(
        self, key: str, record: Record, item: Item | None, target: MemcachedNode
    ) -> Exchange[bool | None] | Exchange[bool] | None:
        """Send the join of *record* and *item*; ``None`` when there is nothing to write."""
        token = item.token if item else None
        current = self._opened(key, item.value) if item else NOTHING
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

    def _opened(self, key: str, data: bytes) -> _Found:
        try:
            record = self.envelope.open(data, key)
            return _Found(record, frozenset(), not self.envelope.is_to_fold(data))
        except IncompleteRecordError as error:
            return NOTHING._replace(record=error.part)
        except CorruptRecordError:
            return NOTHING
        except UnknownRecordError:
            return NOTHING._replace(needs=needs_of(data))

    def _deadline(self) -> float:
        return self.clock.monotonic() + self.timeout
