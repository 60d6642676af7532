"""Reading one item on an idle connection: all that a read of a good day needs, in two calls.

Nothing is sent again and no connection is opened here. All but an item, whole, in time and in the
usual form, is no answer: the caller asks again with ``MemcachedNode.start_gets``, which finds
out what is the matter and reports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .connection import RECEIVE_SIZE
from .exchange import GRACE
from .protocol import VALUE_LIMIT, CasToken, Item


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .pool import Permit, Pool

_TRAILER = b"\r\nEND\r\n"
#: Of the line in front of a value: the longest key, three numbers, and what is between them.
_LONGEST_LINE = 300


class Asked(NamedTuple):
    """A command that is on its way.

    Attributes:
        connection: Where the reply will come in.
        permit: The right to it.
        horizon: Number of the youngest connection when the command was sent.
        until: Monotonic time in seconds by which the reply has to be there.
    """

    connection: Connection
    permit: Permit
    horizon: int
    until: float


class QuickReader:
    """Reads from one node.

    Args:
        pool: The connections of the node.
        timeout: Time in seconds for one answer.
        monotonic: The clock that deadlines refer to.
    """

    __slots__ = ("_monotonic", "_pool", "_timeout")

    def __init__(self, pool: Pool, timeout: float, monotonic: Callable[[], float]) -> None:
        self._pool = pool
        self._timeout = timeout
        self._monotonic = monotonic

    def send(self, name: bytes, deadline: float) -> Asked | None:
        """Ask for an item; return ``None`` if that was not possible at once.

        Args:
            name: Its key as it is sent.
            deadline: Monotonic time in seconds; before it the node must have time to answer.
        """
        until = self._monotonic() + self._timeout
        if until > deadline:
            return None
        lent = self._pool.lend()
        if lent is None:
            return None
        connection, permit = lent
        command = b"gets " + name + b"\r\n"
        try:
            connection.arm(self._timeout)
            sent = connection.socket.send(command)
        except OSError:
            sent = 0
        if sent == len(command):
            # Cas ids start anew with a server, as in ``PendingReply``.
            return Asked(connection, permit, max(self._pool.youngest, connection.number), until)
        self.abandon(lent)
        return None

    def receive(self, asked: Asked, name: bytes) -> Item | None:
        """Return the item *name* that was asked for; ``None`` for any other answer, or none."""
        connection = asked.connection
        try:
            left = asked.until - self._monotonic()
            if left < self._timeout * 0.5:
                # What arrived while the reader waited for another node is read however late it is.
                connection.arm(max(left, GRACE))
            data = connection.socket.recv(RECEIVE_SIZE)
            item = self._item(asked, data, b"VALUE " + name + b" ")
        except (OSError, ValueError):
            item = None
        if item is None:
            self.abandon(asked)
            return None
        self._pool.give(connection, asked.permit)
        return item

    def abandon(self, asked: Asked | tuple[Connection, Permit]) -> None:
        """Close the connection, on which there may be a reply."""
        asked[0].close()
        asked[1].give_back()

    def _item(self, asked: Asked, data: bytes, start: bytes) -> Item | None:
        """Return the item of a reply that begins with *data*.

        Raises:
            OSError: The rest of it did not come.
            ValueError: It has another form.
        """
        if not data.startswith(start):
            return None
        line_end = data.index(b"\r\n", len(start), len(start) + _LONGEST_LINE)
        _, size, unique = data[len(start) : line_end].split(b" ")
        begin = line_end + 2
        end = begin + int(size)
        missing = end + len(_TRAILER) - len(data)
        if missing > 0:
            if missing > VALUE_LIMIT:
                return None
            pieces = [data]
            while missing > 0:
                asked.connection.arm(asked.until - self._monotonic())
                data = asked.connection.socket.recv(min(missing, 16 * RECEIVE_SIZE))
                if not data:
                    return None
                pieces.append(data)
                missing -= len(data)
            data = b"".join(pieces)
        if data[end:] != _TRAILER or not unique.isdigit():
            return None
        return Item(data[begin:end], CasToken(unique, asked.horizon))
