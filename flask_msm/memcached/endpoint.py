"""A node as its commands see it: its connections, its limits, and how one more is opened."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import wire
from .dialing import dial
from .protocol import Answer


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from .connection import Connection
    from .pool import Pool
    from .resolver import Address, Resolver, UnixSocket

_SIGNED_IN = {b"STORED": True}


@dataclass(slots=True)
class ConnectionCounters:
    """What happened on the way to one node. Lost updates between threads are harmless.

    Attributes:
        connects: Connections opened.
        reconnects: Commands sent again because the server had closed an idle connection.
        abandoned: Connections closed because a reply was not read to its end.
    """

    connects: int = 0
    reconnects: int = 0
    abandoned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A node as its commands see it. All times are seconds.

    Attributes:
        connect_timeout: Most time to connect, TLS included.
        timeout: Most time for an answer.
        retry_attempts: How often a read is sent again after a soft failure.
        retry_delay: Time between that failure and the next attempt.
        tls_context: Speak TLS; the certificate has to name *host*.
        monotonic: The clock that deadlines refer to.
    """

    node: str
    addresses: Resolver | UnixSocket
    pool: Pool
    connect_timeout: float
    timeout: float
    retry_attempts: int
    retry_delay: float
    tls_context: ssl.SSLContext | None
    host: str | None
    auth: tuple[str, str] | None
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    counters: ConnectionCounters = field(default_factory=ConnectionCounters)

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
                connection = dial(
                    address,
                    # An address that does not answer must leave the others their share.
                    now + (until - now) / left,
                    monotonic=self.monotonic,
                    tls_context=self.tls_context,
                    host=self.host,
                )
            except OSError:
                if left == 1:
                    raise
            else:
                return self._authenticated(connection, address, deadline)
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    def _authenticated(
        self, connection: Connection, address: Address, deadline: float
    ) -> Connection:
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
        self.counters.connects += 1
        return connection
