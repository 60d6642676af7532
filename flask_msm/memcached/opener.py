"""Opens connections to one node, each by a point in time."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import wire
from .protocol import Answer


if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .pool import Pool
    from .resolver import Address, Resolver, UnixSocket

_SIGNED_IN = {b"STORED": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """What it takes to open a connection.

    Attributes:
        addresses: Where the node is.
        dial: Connects to one address by a point in time.
        pool: Where connections are counted.
        connect_timeout: Seconds it may take to connect, TLS included.
        timeout: Seconds the node may take to answer to a password.
        auth: User and password.
        monotonic: The clock that deadlines refer to.
    """

    addresses: Resolver | UnixSocket
    dial: Callable[[Address, float], Connection]
    pool: Pool
    connect_timeout: float
    timeout: float
    auth: tuple[str, str] | None
    monotonic: Callable[[], float]

    def connect(self, deadline: float) -> Connection:
        """Open a connection to the first address that answers.

        Raises:
            OSError: None did; this is what became of the last one.
            WireError: The password was refused.
        """
        now = self.monotonic()
        until = min(deadline, now + self.connect_timeout)
        addresses = self.addresses.get(until - now)
        for address, left in zip(addresses, range(len(addresses), 0, -1), strict=True):
            now = self.monotonic()
            try:
                # An address that does not answer must leave the others their share.
                connection = self.dial(address, now + (until - now) / left)
            except OSError:
                if left == 1:
                    raise
            else:
                return self._introduced(connection, address, deadline)
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    def _introduced(self, connection: Connection, address: Address, deadline: float) -> Connection:
        try:
            if self.auth is not None:
                now = self.monotonic()
                until = min(deadline, now + self.timeout)
                connection.send(wire.authenticate(*self.auth), until, now)
                connection.receive(Answer(_SIGNED_IN), until, self.monotonic())
            self.addresses.prefer(address)
            # Counted when it is open and not before: a cas relies on it.
            self.pool.adopt(connection)
        except BaseException:
            connection.close()
            raise
        return connection
