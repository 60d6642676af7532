"""Where this shop runs: what the launcher hands to its workers in the environment."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


NODES = "EXAMPLE_NODES"
LOCAL_DIR = "EXAMPLE_LOCAL_DIR"
CONTROL_DIR = "EXAMPLE_CONTROL_DIR"
ADMIN_HASH = "EXAMPLE_ADMIN_HASH"
#: Who may use the dashboard.
OPERATOR = "ops"
SECRET_KEY = "EXAMPLE_SECRET_KEY"  # noqa: S105  # the name of a variable, not a secret


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """One memcached of the shop's configuration.

    Attributes:
        id: Its name, for example ``n1``.
        address: ``host:port``.
    """

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Place:
    """What differs from run to run.

    Attributes:
        nodes: The memcached nodes; none means that sessions are kept locally.
        secret_key: Signs cookies and records; all workers of a run have the same.
        local_dir: Folder of local storage, ``None`` for the usual one.
        control: Folder in which the launcher keeps the nodes' process ids and looks for wishes;
            ``None`` when it did not start this shop.
        admin_hash: Hash of the password of the dashboard, ``None`` to keep it closed.
    """

    nodes: tuple[NodeAddress, ...]
    secret_key: str
    local_dir: str | None
    control: str | None
    admin_hash: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables; without any, workers keep sessions on their host."""
        nodes = []
        for entry in environ.get(NODES, "").split():
            node_id, _, address = entry.partition(":")
            nodes.append(NodeAddress(node_id, address))
        return cls(
            tuple(nodes),
            environ.get(SECRET_KEY) or secrets.token_urlsafe(32),
            environ.get(LOCAL_DIR) or None,
            environ.get(CONTROL_DIR) or None,
            environ.get(ADMIN_HASH) or None,
        )
