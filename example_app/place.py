"""Where this shop runs: what the launcher tells its workers through the environment."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


NODES = "EXAMPLE_NODES"
NODE_PIDS = "EXAMPLE_NODE_PIDS"
LOCAL_DIR = "EXAMPLE_LOCAL_DIR"
SECRET_KEY = "EXAMPLE_SECRET_KEY"  # noqa: S105  # the name of a variable, not a secret


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """One memcached the shop was told about.

    Attributes:
        id: Its name, for example ``n1``.
        address: ``host:port``.
        pid: Its process on this machine, when the launcher started it.
    """

    id: str
    address: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """What differs from run to run.

    Attributes:
        nodes: The memcached nodes; none means that sessions are kept locally.
        secret_key: Signs cookies and records; all workers of a run have the same.
        local_dir: Folder of local storage, ``None`` for the usual one.
    """

    nodes: tuple[NodeAddress, ...]
    secret_key: str
    local_dir: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables; without any, workers keep sessions on their host."""
        pids = dict(entry.split(":") for entry in environ.get(NODE_PIDS, "").split())
        nodes = []
        for entry in environ.get(NODES, "").split():
            node_id, _, address = entry.partition(":")
            pid = pids.get(node_id)
            nodes.append(NodeAddress(node_id, address, int(pid) if pid else None))
        secret_key = environ.get(SECRET_KEY) or secrets.token_urlsafe(32)
        return cls(tuple(nodes), secret_key, environ.get(LOCAL_DIR) or None)
