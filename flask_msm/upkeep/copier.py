"""Many records from one node to another, joined, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CorruptRecordError, NodeBusyError, RecordError
from flask_msm.record.record import Record, join_optional, ttl_for


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.clock import Clock
    from flask_msm.cluster.ports import CasToken, Exchange, Item, ManagedNode
    from flask_msm.record.envelope import Envelope
    from flask_msm.record.keys import Keyring


BATCH = 100
#: Writes that are on their way at once; fewer than a pool has connections, for requests need some.
WINDOW = 4
MAX_TRIES = 8
#: Part of the time a copier works; the rest is left to requests.
DUTY = 0.8


class Copier:
    """Copies records between nodes.

    Args:
        envelope: Opens and seals records.
        keys: Returns the keyring.
        clock: Tells the time.
        timeout: Time in seconds one batch may wait for a node.
        pause: Called with the time in seconds to rest after a batch.
    """

    def __init__(
        self,
        *,
        envelope: Envelope,
        keys: Callable[[], Keyring],
        clock: Clock,
        timeout: float,
        pause: Callable[[float], object],
    ) -> None:
        self._envelope = envelope
        self._keys = keys
        self._clock = clock
        self._timeout = timeout
        self._pause = pause

    def copy(self, keys: Sequence[str], source: ManagedNode, target: ManagedNode) -> int:
        """Join what *source* holds of *keys* into *target*; return how many were written.

        Raises:
            NodeError: One of the two failed; what was written until then stays.
        """
        written = 0
        for start in range(0, len(keys), BATCH):
            began = self._clock.monotonic()
            written += self._copy_batch(keys[start : start + BATCH], source, target)
            self._pause((self._clock.monotonic() - began) * (1 / DUTY - 1))
        return written

    def _copy_batch(self, keys: Sequence[str], source: ManagedNode, target: ManagedNode) -> int:
        deadline = self._deadline()
        there = source.get_many(keys, deadline)
        here = target.get_many(there, deadline)
        # What both hold to the letter needs no look; after a restart nothing does.
        todo = [
            (key, item)
            for key, item in there.items()
            if key not in here or here[key].value != item.value
        ]
        written = 0
        for start in range(0, len(todo), WINDOW):
            window = [
                (key, record, self._write(key, record, here.get(key), target))
                for key, item in todo[start : start + WINDOW]
                if (record := self._opened(key, item)) is not None
            ]
            try:
                for key, record, exchange in window:
                    if exchange is None:
                        continue
                    written += bool(exchange.result() or self._again(key, record, target))
            except BaseException:
                for _, _, exchange in window:
                    if exchange is not None:
                        exchange.abandon()
                raise
        return written

    def _write(
        self, key: str, record: Record, item: Item | None, target: ManagedNode
    ) -> Exchange[bool | None] | Exchange[bool] | None:
        """Send the join of *record* and *item*; ``None`` when there is nothing to write."""
        current, token = self._current(key, item)
        if item is not None and token is None:
            return None  # something that must be left alone
        joined = join_optional(current, record)
        if joined is None or joined == current:
            return None
        now = self._clock.time()
        if joined.expires_at <= now:
            return None
        data = self._envelope.seal(joined, key, self._keys())
        ttl = ttl_for(joined.expires_at, now)
        if token is None:
            return target.start_add(key, data, ttl, self._deadline())
        return target.start_cas(key, data, ttl, token, self._deadline())

    def _again(self, key: str, record: Record, target: ManagedNode) -> bool:
        """Write a record that a request changed in the meantime."""
        for _ in range(MAX_TRIES):
            item = target.start_gets(key, self._deadline()).result()
            exchange = self._write(key, record, item, target)
            if exchange is None:
                return False
            if exchange.result():
                return True
        raise NodeBusyError(target.id, "a session changes faster than it can be copied")

    def _opened(self, key: str, item: Item) -> Record | None:
        try:
            return self._envelope.open(item.value, key, self._keys())
        except RecordError:
            return None

    def _current(self, key: str, item: Item | None) -> tuple[Record | None, CasToken | None]:
        """Return what the target holds and how to replace it."""
        if item is None:
            return None, None
        try:
            return self._envelope.open(item.value, key, self._keys()), item.token
        except CorruptRecordError:
            return None, item.token
        except RecordError:
            return None, None

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._timeout
