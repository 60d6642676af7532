"""Opens a connection to one address of a memcached node.

pymemcache does it: TCP, unix sockets, keepalive. This is the only module that imports pymemcache
and touches ``Client._connect``.
"""

from __future__ import annotations

import platform
import socket
from typing import TYPE_CHECKING, Any

from pymemcache.client.base import Client, KeepaliveOpts

from .connection import Connection


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from .resolver import Address


# Idle connections to a host that is gone are noticed after about a minute.
KEEPALIVE = KeepaliveOpts(idle=30, intvl=10, cnt=3) if platform.system() == "Linux" else None


def dial(
    address: Address,
    until: float,
    *,
    monotonic: Callable[[], float],
    tls_context: ssl.SSLContext | None,
    host: str | None,
) -> Connection:
    """Connect to *address* by the time *until*, and shake hands if this is TLS.

    pymemcache's own TLS is not used: its time-out would run twice, and it would want the
    certificate to name the address instead of *host*.

    The certificate has to name *host*; *until* is a time of the clock *monotonic*, seconds.

    Raises:
        OSError: There is no connection, for example because it is too late.
    """
    sockets = _Sockets(address, monotonic)
    try:
        _Dialer(address, until - monotonic(), sockets).dial()
        connection = sockets.made[0]
        if tls_context is not None:
            connection.socket = tls_context.wrap_socket(
                connection.socket, server_hostname=host, do_handshake_on_connect=False
            )
            connection.arm(until - monotonic())
            connection.socket.do_handshake()
    except BaseException:
        for connection in sockets.made:
            connection.close()
        raise
    return connection


class _Sockets:
    """The socket module as pymemcache sees it: one address, and nothing it makes is lost."""

    def __init__(self, address: Address, monotonic: Callable[[], float]) -> None:
        self._address = address
        self._monotonic = monotonic
        self.made: list[Connection] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def getaddrinfo(self, *_: Any) -> list[Address]:
        """Return the address, which was looked up before."""
        return [self._address]

    def socket(self, *arguments: int) -> socket.socket:
        """Make a socket."""
        connection = Connection(self._monotonic)
        self.made.append(connection)
        connection.socket = socket.socket(*arguments)
        return connection.socket


class _Dialer(Client):  # type: ignore[misc]  # pymemcache has no types
    """A client that is used to connect once."""

    def __init__(self, address: Address, seconds: float, sockets: _Sockets) -> None:
        if seconds <= 0:
            raise TimeoutError
        local = address.family == socket.AF_UNIX
        super().__init__(
            address.address if local else tuple(address.address[:2]),
            # Its own, unused here, is a reference cycle for every connection.
            serde=object(),
            connect_timeout=seconds,
            no_delay=True,
            socket_module=sockets,
            socket_keepalive=None if local else KEEPALIVE,
        )

    def dial(self) -> None:
        """Connect."""
        self._connect()
