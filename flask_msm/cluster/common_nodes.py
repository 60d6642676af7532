"""The nodes on which workers keep what they share: which may be asked now, and whose turn it is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope

    from .placement import Placement


@dataclass(eq=False)
class CommonNodes:
    """What reports, the digest and the history are kept with.

    Args:
        prefix: What all names on the nodes begin with.
        usable: Returns whether a node may be asked now.
        envelope: Seals what workers share.
    """

    prefix: str
    _: KW_ONLY
    nodes: Mapping[str, MemcachedNode]
    placement: Placement
    usable: Callable[[str], bool]
    envelope: Envelope
    clock: Clock

    def first(self, copies: int, key: str) -> list[str]:
        """Return the nodes that have the copies of *key*, as far as they may be asked."""
        return self.placement.first(copies, key, self.usable)

    def largest(self, most: int) -> int:
        """Return the size in bytes of the largest item that all nodes take, at most *most*."""
        return min([most, *(node.item_size_max for node in self.nodes.values())])

    def take_turn(self, key: str, homes: Sequence[str], seconds: int, deadline: float) -> bool:
        """Return whether this worker may do now what one worker does at a time.

        The first of *homes* that answers decides, for so many *seconds*. A worker that reaches
        none may always.
        """
        for node_id in homes:
            with suppress(NodeError):
                return self.nodes[node_id].start_add(key, b"1", seconds, deadline).result()
        return True

    def end_turn(self, key: str, homes: Sequence[str], deadline: float) -> None:
        """Let the next one do it: at the node that decided, as a rule the first that answers."""
        for node_id in homes:
            with suppress(NodeError):
                self.nodes[node_id].delete(key, deadline)
                return
