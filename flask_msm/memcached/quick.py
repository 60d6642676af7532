"""The two commands of a good day on an idle connection, each in a call to send and one to receive.

Nothing is sent again and no connection is opened here. All but the usual reply, whole and in time,
is no answer: the caller asks again with ``MemcachedNode.start_gets`` and ``start_cas``, which find
out what is the matter and report it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import wire
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
#: A larger value may not fit into what the system takes at once, bytes.
LARGEST = 65_536


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


class QuickCommands:
    """Commands to one node.

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

    def send_gets(self, name: bytes, deadline: float) -> Asked | None:
        """Ask for an item; return ``None`` if that was not possible at once.

        Args:
            name: Its key as it is sent.
            deadline: Monotonic time in seconds; before it the node must have time to answer.
        """
        return self._send(b"gets " + name + b"\r\n", deadline, None)

    def send_cas(
        self, name: bytes, value: bytes, ttl: int, token: CasToken, deadline: float
    ) -> Asked | None:
        """Replace what *token* was read with; return ``None`` if that was not sent.

        Args:
            name: The key of the item as it is sent.
            value: Its new value, at most ``LARGEST`` bytes.
            ttl: Its time to live as memcached takes it.
            token: Of the item that is to be replaced.
            deadline: Monotonic time in seconds; before it the node must have time to answer.
        """
        command = wire.cas(name, value, ttl, token.unique)
        return self._send(command, deadline, token.horizon)

    def _send(self, command: bytes, deadline: float, opened_by: int | None) -> Asked | None:
        until = self._monotonic() + self._timeout
        if until > deadline:
            return None
        lent = self._pool.lend()
        if lent is None:
            return None
        connection, permit = lent
        # Cas ids start anew with a server, as in ``CasExchange``.
        if opened_by is not None and connection.number > opened_by:
            self._pool.give(connection, permit)
            return None
        try:
            connection.arm(self._timeout)
            sent = connection.socket.send(command)
        except OSError:
            sent = 0
        if sent == len(command):
            return Asked(connection, permit, max(self._pool.youngest, connection.number), until)
        self.abandon(lent)
        return None

    def receive_item(self, asked: Asked, name: bytes) -> Item | None:
        """Return the item *name* that was asked for; ``None`` for any other answer, or none."""
        try:
            item = self._item(asked, self._received(asked), b"VALUE " + name + b" ")
        except (OSError, ValueError):
            item = None
        if item is None:
            self.abandon(asked)
            return None
        self._pool.give(asked.connection, asked.permit)
        return item

    def receive_stored(self, asked: Asked) -> bool:
        """Return whether the item was replaced; ``False`` also if that is not known."""
        try:
            stored = self._received(asked) == b"STORED\r\n"
        except OSError:
            stored = False
        if stored:
            self._pool.give(asked.connection, asked.permit)
        else:
            self.abandon(asked)
        return stored

    def abandon(self, asked: Asked | tuple[Connection, Permit]) -> None:
        """Close the connection, on which there may be a reply."""
        asked[0].close()
        asked[1].give_back()

    def _received(self, asked: Asked) -> bytes:
        left = asked.until - self._monotonic()
        if left < self._timeout * 0.5:
            # What arrived while another node was waited for is read however late it is.
            asked.connection.arm(max(left, GRACE))
        return asked.connection.socket.recv(RECEIVE_SIZE)

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
