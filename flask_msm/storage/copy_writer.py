"""Writing one record to one node by joining: one command, then its reply, until the node has it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from flask_msm.record.record import Record, join_optional

from .store import Copy


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Exchange


class WriterState(Enum):
    """What a writer knows about its node."""

    BLIND = "must be read first"
    KNOWN = "may be replaced"
    WRITTEN = "holds what was written; to replace it, it must be read again"


class CopyWriter:
    """Brings one node's copy to a record.

    Attributes:
        node: The node.
        record: What it holds as far as is known, ``None`` for nothing usable.
        part: What could be read of a copy that is not whole.
        read: The last reply contained what the node holds.
        gone: The copy disappeared under the last ``cas``.
        standing: What is known about the node.
    """

    __slots__ = (
        "_exchange",
        "_key",
        "_sent",
        "_token",
        "gone",
        "node",
        "part",
        "read",
        "record",
        "standing",
    )

    def __init__(self, node: MemcachedNode, key: str, known: Copy | None) -> None:
        self.node = node
        self.record = known.record if known else None
        self.part: Record | None = None
        self.read = self.gone = False
        self._key = key
        self._token = known.token if known else None
        self.standing = WriterState.KNOWN if known else WriterState.BLIND
        self._exchange: Exchange[Any] | None = None
        self._sent: Record | None = None

    def holds(self, record: Record, base: Record | None) -> bool:
        """Return whether the node is known to hold *record*, made from *base*, or more."""
        if self.standing is WriterState.BLIND or self.record is None:
            return False
        if self.record is record:
            return True
        if self.record is base:
            return record == base
        return join_optional(self.record, record) == self.record

    def start(
        self,
        record: Record,
        base: Record | None,
        seal: Callable[[Record], tuple[bytes, int]],
        deadline: float,
        *,
        may_put: bool,
    ) -> bool:
        """Send what brings the node closer to *record*; return whether anything was sent."""
        if self.holds(record, base):
            return False
        if self.standing is not WriterState.KNOWN:
            self.standing = WriterState.BLIND
            self._exchange = self.node.start_gets(self._key, deadline)
            return True
        if not may_put:
            return False
        # What was made from this very copy contains it already.
        if self.record is base:
            self._sent = record
        else:
            joined = join_optional(self.record, record)
            self._sent = record if joined == record else joined
        assert self._sent is not None  # noqa: S101  (record is not None)
        data, ttl = seal(self._sent)
        if self._token is None:
            self._exchange = self.node.start_add(self._key, data, ttl, deadline)
        else:
            self._exchange = self.node.start_cas(self._key, data, ttl, self._token, deadline)
        return True

    def finish(self, opened: Callable[[Any], Copy]) -> None:
        """Read the reply and take note of what the node holds now.

        Afterwards ``record`` is what was read, what was written, or the old knowledge when a
        ``cas`` was refused; ``read`` is true in the first case only.

        Raises:
            NodeError: The node failed.
            UnknownRecordError: The node holds something that must be left alone.
        """
        exchange, self._exchange = self._exchange, None
        assert exchange is not None  # noqa: S101  (start() returned that something was sent)
        reply = exchange.result()
        self.read = self.standing is WriterState.BLIND
        if self.read:
            self.record, self._token, self.part = opened(reply)
            self.standing = WriterState.KNOWN
        elif reply is True:
            self.record, self._token, self.standing = self._sent, None, WriterState.WRITTEN
        elif reply is False:
            self.standing = WriterState.BLIND
        else:
            self.record, self._token, self.gone = None, None, True
            return
        self.gone = False

    def abandon(self) -> None:
        """Give up a reply that will not be read."""
        if self._exchange is not None:
            self._exchange.abandon()
            self._exchange = None
