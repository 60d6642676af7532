"""What the cluster needs of a node: the narrow interface of one memcached.

``memcached/client.py`` implements it with real connections, ``testing.py`` in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from flask_msm.errors import NodeError
    from flask_msm.memcached.protocol import CasToken, Exchange, Item

    from .health import Permissions


class NodeClient(Protocol):
    """One memcached node. Every operation ends by *deadline* (seconds, monotonic clock).

    ``start_*`` sends a command and returns at once; failures to send come out of ``result()``.
    Keys are ASCII without blanks, TTLs are what memcached takes (see ``ttl_for``).
    """

    @property
    def id(self) -> str:
        """The node's name in the configuration, for example ``n1``."""
        ...

    @property
    def largest(self) -> int:
        """Size in bytes of the largest value that it takes."""
        ...

    def start_gets(self, key: str, deadline: float) -> Exchange[Item | None]:
        """Read one item; ``None`` when the node does not have it."""
        ...

    def start_add(self, key: str, value: bytes, ttl: int | None, deadline: float) -> Exchange[bool]:
        """Store an item that is not there; ``False`` when there is one.

        With a *ttl* of ``None`` it does not end.
        """
        ...

    def start_cas(
        self, key: str, value: bytes, ttl: int, token: CasToken, deadline: float
    ) -> Exchange[bool | None]:
        """Replace what *token* was read with.

        Returns ``True`` when stored, ``False`` when another client changed it or no connection
        from before the ``gets`` is left (read again), ``None`` when it is gone.
        """
        ...

    def delete(self, key: str, deadline: float) -> bool:
        """Remove an item; ``False`` when there was none.

        Raises:
            NodeError: The node failed.
        """
        ...

    def close(self) -> None:
        """Close idle connections; the client stays usable."""
        ...


class NodeViews(Protocol):
    """What the cluster store reads about the nodes, and what it reports about them."""

    def rights(self, node_id: str) -> Permissions:
        """Return what may be done with the node now. No I/O, no lock."""
        ...

    def failed(self, node_id: str, error: NodeError) -> None:
        """Take note that an operation on the node failed."""
        ...

    def answered(self, node_id: str) -> None:
        """Take note that an operation on the node succeeded."""
        ...

    def left_out(self, node_id: str, key: str) -> None:
        """Take note that a write went past the node, which is home to *key*."""
        ...

    def scattered(self) -> bool:
        """Return whether sessions may lie on nodes that are not their homes. No I/O, no lock."""
        ...

    def may_lack(self, node_id: str) -> bool:
        """Return whether the node may have evicted or refused values. No I/O, no lock."""
        ...


class ManagedNode(NodeClient, Protocol):
    """What probes and rebuilds need of a node beyond what requests do.

    Attributes:
        item_size_max: Largest item of the server, bytes.
        clock_ahead: By how many seconds its clock is ahead of the one that times to live are
            counted with.
    """

    item_size_max: int
    clock_ahead: float

    def get_many(self, keys: Iterable[str], deadline: float) -> dict[str, Item]:
        """Return those of *keys* that the node has."""
        ...

    def stats(self, deadline: float, *arguments: str) -> dict[str, str]:
        """Return the node's statistics; *arguments* name others than the general ones.

        Raises:
            NodeValueError: The node gives none; nothing else is wrong with it.
        """
        ...

    def metadump(self, prefix: str, deadline: float) -> list[str]:
        """Return the keys it holds that begin with *prefix*; not a snapshot.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        ...

    def expiries(self, prefix: str, keys: Collection[str], deadline: float) -> dict[str, int]:
        """Return when those of *keys* that it lists expire: seconds since the epoch, -1 for never.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        ...

    def sample(self, prefix: str, limit: int, deadline: float) -> list[str]:
        """Return at most *limit* keys that begin with *prefix*, those listed by *deadline*.

        Raises:
            NodeValueError: The node does not list its keys.
        """
        ...

    def resolve(self) -> None:
        """Look the node's name up again; not to be called by a request."""
        ...
