"""The nodes of a test: what an application is configured with, and what is done to them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .node import MemoryNode, Node, ProcessNode


if TYPE_CHECKING:
    from collections.abc import Callable


#: Time in seconds a node may take: long for a busy machine, short for a test of one that hangs.
TIMEOUT = 0.3
#: Time in seconds until a node that is down may be probed again when a test asks for it.
BACKOFF = 0.01
#: Time in seconds between two probes in the background.
INTERVAL = 0.1


class Nodes(Mapping[str, Node]):
    """Some nodes on this machine, called ``n1``, ``n2`` and so on; a context manager.

    ``nodes["n1"]`` is one of them. What is done to nodes is done to those that are named, or to
    all: ``nodes.kill("n1")``, ``nodes.kill()``.

    Args:
        count: How many.
        real: Whether each is a memcached process instead of memory of the test.
        arguments: More of the command line of memcached.
    """

    def __init__(self, count: int = 3, *arguments: str, real: bool = False) -> None:
        if arguments and not real:
            raise ValueError("arguments are for memcached processes: Nodes(..., real=True)")
        ids = [f"n{number}" for number in range(1, count + 1)]
        self._nodes: dict[str, Node] = {
            node_id: ProcessNode(node_id, *arguments) if real else MemoryNode(node_id)
            for node_id in ids
        }
        self._closing = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            # An application that was not closed may still write behind its last response.
            folder = tempfile.TemporaryDirectory(
                prefix="flask_msm-test-", ignore_cleanup_errors=True
            )
            self._folder = Path(closing.enter_context(folder))
            for node in self._nodes.values():
                closing.enter_context(node)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.close()

    def __getitem__(self, node_id: str) -> Node:
        try:
            return self._nodes[node_id]
        except KeyError:
            message = f"there is no node {node_id!r}; there are {', '.join(self._nodes)}"
            raise KeyError(message) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def config(self, *, host: str = "here", probes: bool = False, **more: object) -> dict[str, Any]:
        """Return what an application is configured with to keep its sessions in these nodes.

        Args:
            host: Name of the host it pretends to run on. Applications on one host share local
                storage, as workers do.
            probes: Whether there are probes in the background, and so rebuilds; without them
                nothing happens between requests until a test calls ``probe()``.
            more: Further settings, or others than these.
        """
        if self._folder is None:
            raise RuntimeError("the nodes are not started: use `with Nodes() as nodes`")
        folder = self._folder / host
        folder.mkdir(mode=0o700, exist_ok=True)
        return {
            "MSM_NODES": [node.address for node in self.values()],
            # As in production; with TESTING an application has neither unless they are set.
            "MSM_LOCAL_CACHE": "filesystem",
            "MSM_MIRROR": True,
            "MSM_LOCAL_DIR": str(folder),
            "MSM_PROBE_INTERVAL": INTERVAL if probes else 0,
            "MSM_PROBE_MAX_BACKOFF": INTERVAL if probes else BACKOFF,
            "MSM_RECOVERY_THRESHOLD": 1,
            "MSM_FAILURE_THRESHOLD": 1,
            "MSM_CONNECT_TIMEOUT": TIMEOUT,
            "MSM_TIMEOUT": TIMEOUT,
            **more,
        }

    def kill(self, *node_ids: str) -> None:
        """End nodes: connections are refused, and what they held is gone."""
        self._each(node_ids, Node.kill)

    def refuse(self, *node_ids: str) -> None:
        """Let nodes refuse connections, as if the network was cut; what they hold stays."""
        self._each(node_ids, Node.refuse)

    def hang(self, *node_ids: str) -> None:
        """Let nodes take everything and answer nothing."""
        self._each(node_ids, Node.hang)

    def answer_garbage(self, *node_ids: str) -> None:
        """Let nodes answer every command with something that is no answer to it."""
        self._each(node_ids, Node.answer_garbage)

    def heal(self, *node_ids: str) -> None:
        """End all faults of nodes; those that were killed are empty."""
        self._each(node_ids, Node.heal)

    def restart(self, *node_ids: str) -> None:
        """End nodes and let them come back, empty."""
        self._each(node_ids, Node.restart)

    def _each(self, node_ids: tuple[str, ...], act: Callable[[Node], None]) -> None:
        # All names are looked up before anything is done.
        for node in [self[node_id] for node_id in node_ids or self]:
            act(node)
