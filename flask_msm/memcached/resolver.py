"""Addresses of a node, looked up outside of requests wherever that is possible."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Where to connect, in the order of ``socket.getaddrinfo``."""

    family: int
    kind: int
    protocol: int
    canonical_name: str
    address: Any


class UnixSocket:
    """The address of a unix socket, with the face of a :class:`Resolver`."""

    def __init__(self, path: str) -> None:
        self.known = (Address(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path),)

    def resolve(self) -> bool:
        """Do nothing: a path does not move."""
        return False

    def get(self, timeout: float) -> tuple[Address, ...]:  # noqa: ARG002
        """Return the one address."""
        return self.known

    def prefer(self, address: Address) -> None:
        """Do nothing: there is one only."""


class Resolver:
    """The addresses of one host, kept until :meth:`resolve` finds others.

    There is no lock: ``known`` is replaced as a whole, and two lookups at once are harmless.

    Attributes:
        known: The addresses, the one that worked last first; empty before the first lookup.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._lookup: _Lookup | None = None
        self.known: tuple[Address, ...] = ()
        try:
            self.known = self._ask(socket.AI_NUMERICHOST)
        except socket.gaierror:
            # A name. It is looked up when it is needed.
            return

    def resolve(self) -> bool:
        """Look the name up, however long it takes; return whether it has moved.

        Raises:
            socket.gaierror: It does not resolve; what was known stays.
        """
        before, found = self.known, self._ask()
        if set(found) == set(before):
            return False
        self.known = found
        return bool(before)

    def get(self, timeout: float) -> tuple[Address, ...]:
        """Return the addresses, looked up in the background if none are known.

        Raises:
            TimeoutError: The lookup takes longer than *timeout* seconds; it goes on.
            OSError: The system gives no thread for it.
            socket.gaierror: The name does not resolve.
        """
        if self.known:
            return self.known
        lookup = self._lookup
        if lookup is None or not lookup.is_alive():
            lookup = self._lookup = _Lookup(self)
            try:
                lookup.start()
            except RuntimeError as error:
                raise OSError(errno.ENOMEM, str(error)) from None
        lookup.join(max(timeout, 0.0))
        if lookup.is_alive():
            raise TimeoutError
        if lookup.error is not None:
            raise socket.gaierror(*lookup.error.args)
        return self.known

    def prefer(self, address: Address) -> None:
        """Try *address* first from now on: it worked."""
        known = self.known
        if address in known and address != known[0]:
            self.known = (address, *(entry for entry in known if entry != address))

    def _ask(self, flags: int = 0) -> tuple[Address, ...]:
        try:
            found = socket.getaddrinfo(
                self._host,
                self._port,
                type=socket.SOCK_STREAM,
                proto=socket.IPPROTO_TCP,
                flags=flags,
            )
        except UnicodeError as exc:
            # Not a name DNS could carry.
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from exc
        return tuple(Address(*entry) for entry in found)


class _Lookup(threading.Thread):
    """A lookup in the background: ``getaddrinfo`` has no time-out."""

    def __init__(self, resolver: Resolver) -> None:
        super().__init__(name="flask_msm-lookup", daemon=True)
        self._resolver = resolver
        self.error: socket.gaierror | None = None

    def run(self) -> None:
        """Look the name up once."""
        try:
            self._resolver.resolve()
        except socket.gaierror as exc:
            self.error = exc
