"""Commands of a good day on an idle connection: one call to send, one to receive.

Nothing is sent again and no connection is opened here. All but the usual reply, whole and in time,
is no answer: the caller asks again with ``MemcachedNode.start_gets`` and ``start_cas``, which find
out what is the matter and report it.
"""

from __future__ import annotations

import os
import queue
import re
from typing import TYPE_CHECKING

from .connection import RECEIVE_SIZE, TOLERANCE
from .exchange import GRACE
from .protocol import VALUE_LIMIT, CasToken, Item


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .pool import Permit, Pool

STORED = b"STORED\r\n"
#: What a server replies when nothing is wrong with it or the command.
_LINE = re.compile(rb"(?:STORED|NOT_STORED|EXISTS|NOT_FOUND|HD|NS|EX|NF|EN)(?: [!-~ ]{1,400})?\r\n")
_TRAILER = b"\r\nEND\r\n"
#: Of the line in front of a value: the longest key, three numbers, and what is between them.
_LONGEST_LINE = 300
#: A larger value may not fit into what the system takes at once, bytes.
LARGEST = 65_536

#: A command that is on its way: the connection on which the reply will come in, the right to it,
#: the number of the youngest connection when it was sent, and the monotonic time in seconds by
#: which the reply has to be there. A plain tuple: one is made for each command.
Asked = tuple["Connection", "Permit", int, float]

#: Makes named tuples without the call of a Python function that their class needs.
new = tuple.__new__


class QuickCommands:
    """Commands to one node.

    Args:
        pool: The connections of the node.
        timeout: Time in seconds for one answer.
        monotonic: The clock that deadlines refer to.

    Attributes:
        pool: The connections of the node.
    """

    __slots__ = ("_least", "_monotonic", "_most", "_timeout", "pool")

    def __init__(self, pool: Pool, timeout: float, monotonic: Callable[[], float]) -> None:
        self.pool = pool
        self._timeout = timeout
        self._monotonic = monotonic
        #: What the time-out of a socket may be without being set anew, as in ``Connection.arm``.
        self._least, self._most = timeout * 0.5, timeout + TOLERANCE

    def send(self, command: bytes, deadline: float, opened_by: int | None = None) -> Asked | None:
        """Send *command*; return ``None`` if that was not possible at once.

        Args:
            command: A command, or several that are answered together.
            deadline: Monotonic time in seconds; before it the node must have time to answer.
            opened_by: The connection must have been open when this one was the youngest: cas ids
                start anew with a server, as in ``CasExchange``.
        """
        pool = self.pool
        until = self._monotonic() + self._timeout
        if until > deadline or pool.process != os.getpid():
            return None
        try:
            permit = pool.places.free.get_nowait()
        except queue.Empty:
            return None
        try:
            connection = pool.unused.pop()
        except IndexError:
            permit.give_back()
            return None
        number = connection.number
        asked = connection, permit, max(pool.youngest, number), until
        if opened_by is not None and number > opened_by:
            pool.give(connection, permit)
            return None
        sent = 0
        if number > pool.retired:
            try:
                if not self._least <= connection.armed <= self._most:
                    connection.arm(self._timeout)
                sent = connection.socket.send(command)
            except OSError:
                sent = 0
        if sent == len(command):
            return asked
        self.abandon(asked)
        return None

    def receive_item(self, asked: Asked, start: bytes) -> Item | None:
        """Return an item; ``None`` for any other answer, or none.

        Args:
            asked: What asked for it.
            start: What the reply begins with, up to the blank behind the key of the item.
        """
        item = None
        connection, permit, horizon, until = asked
        try:
            left = until - self._monotonic()
            if left < self._least:
                # What arrived while another node was waited for is read however late it is.
                connection.arm(max(left, GRACE))
            data = connection.socket.recv(RECEIVE_SIZE)
            if len(data) < len(start) and data and start.startswith(data):
                # Before memcached 1.6 each of several commands is answered by itself.
                connection.arm(until - self._monotonic())
                data += connection.socket.recv(RECEIVE_SIZE)
            if data.startswith(start):
                begin = data.index(b"\r\n", len(start), len(start) + _LONGEST_LINE) + 2
                _, size, unique = data[len(start) : begin - 2].split(b" ")
                end = begin + int(size)
                if end + len(_TRAILER) > len(data):
                    data = self._completed(asked, data, end + len(_TRAILER))
                if data[end:] == _TRAILER and unique.isdigit():
                    item = new(Item, (data[begin:end], new(CasToken, (unique, horizon))))
        except (OSError, ValueError):
            item = None
        pool = self.pool
        if item is None:
            self.abandon(asked)
        elif connection.process == pool.process:
            pool.unused.append(connection)
            pool.places.free.put(permit)
        else:
            pool.give(connection, permit)
        return item

    def receive_line(self, asked: Asked) -> bytes:
        """Return a reply of one line, its end included; nothing for any other answer, or none."""
        connection, permit, _, until = asked
        try:
            left = until - self._monotonic()
            if left < self._least:
                # What arrived while another node was waited for is read however late it is.
                connection.arm(max(left, GRACE))
            line = connection.socket.recv(RECEIVE_SIZE)
        except OSError:
            line = b""
        pool = self.pool
        if _LINE.fullmatch(line) is None:
            self.abandon(asked)
            return b""
        if connection.process == pool.process:
            pool.unused.append(connection)
            pool.places.free.put(permit)
        else:
            pool.give(connection, permit)
        return line

    def receive_appended(self, asked: Asked) -> CasToken | None:
        """Return what replaces an item that was appended to; ``None`` if it was another one."""
        line = self.receive_line(asked)
        return new(CasToken, (line[4:-2], asked[2])) if line.startswith(b"HD c") else None

    def abandon(self, asked: Asked) -> None:
        """Close the connection, on which there may be a reply."""
        asked[0].close()
        asked[1].give_back()

    def _completed(self, asked: Asked, data: bytes, size: int) -> bytes:
        """Return a reply of *size* bytes that begins with *data*.

        Raises:
            OSError: The rest of it did not come.
            ValueError: It cannot be as long as that.
        """
        missing = size - len(data)
        if missing > VALUE_LIMIT:
            raise ValueError
        pieces = [data]
        while missing > 0:
            asked[0].arm(asked[3] - self._monotonic())
            data = asked[0].socket.recv(min(missing, 16 * RECEIVE_SIZE))
            if not data:
                raise ValueError
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)
