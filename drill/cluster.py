"""Some memcached processes, and a proxy in front of each for each site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from harness.memcached import Memcached
from harness.processes import HOST
from harness.proxy import Fault, Proxy

from .tls import make_certificate


#: Nodes that sites use unless an act changes that.
NODES = ("n1", "n2", "n3")
#: Options of memcached. It may take 64 MB: far more than the drill stores, for it must not evict.
OPTIONS = ("-m", "64")


class Cluster:
    """The nodes, and the proxies through which sites reach them; a context manager.

    Args:
        folder: Where everything is kept.
        places: Names of those who reach the nodes, each through proxies of its own.
        options: Options of each memcached.
        more: Nodes that are not used at first.
        tls: They speak TLS.

    Attributes:
        nodes: The nodes by id.
        used: Ids of the nodes that are used.
        certificate: What they show; ``None`` if they do not speak TLS.
    """

    def __init__(
        self,
        folder: Path,
        places: Iterable[str],
        options: Sequence[str] = OPTIONS,
        *,
        more: Sequence[str] = (),
        tls: bool = False,
    ) -> None:
        self.used: tuple[str, ...] = NODES
        self.certificate = folder / "nodes.pem" if tls else None
        if self.certificate:
            make_certificate(self.certificate)
        self.nodes = {
            node_id: Memcached(
                *options,
                # A socket without TLS, for memcached speaks TLS at a port only.
                path=None if tls else folder / f"{node_id}.sock",
                certificate=self.certificate,
            )
            for node_id in (*NODES, *more)
        }
        self._places = tuple(places)
        self._proxies: dict[tuple[str, str], Proxy] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node_id, node in self.nodes.items():
                started.enter_context(node)
                for place in self._places:
                    self._proxies[place, node_id] = proxy = Proxy(node.address)
                    started.callback(proxy.close)
            self._stack = started.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def addresses(self, place: str) -> str:
        """Return ``MSM_NODES`` for a place."""
        return " ".join(f"{one}:{HOST}:{self._proxies[place, one].port}" for one in self.used)

    def set_fault(
        self, fault: Fault, nodes: Sequence[str] = NODES, place: str | None = None
    ) -> None:
        """Apply *fault* to the traffic to some nodes, from one place or from all."""
        for (name, node_id), proxy in self._proxies.items():
            if node_id in nodes and place in (None, name):
                proxy.set_fault(fault)

    def kill(self, nodes: Sequence[str] = NODES) -> None:
        """Kill nodes; connections are refused from then on, as by any machine without them."""
        for node_id in nodes:
            self.nodes[node_id].kill()
        self.set_fault(Fault.REFUSES, nodes)

    def restart(self, nodes: Sequence[str] = NODES) -> None:
        """Start nodes that were killed; they are empty."""
        for node_id in nodes:
            self.nodes[node_id].start()
        self.set_fault(Fault.NONE, nodes)

    def rename(self, order: Sequence[str]) -> None:
        """Give each memcached another id; ``lead`` and ``lead_all`` set who uses it from when on.

        Args:
            order: For each of the ids, in their order, the one that its memcached had so far.
        """
        self.nodes = {new: self.nodes[old] for new, old in zip(NODES, order, strict=True)}

    def lead(self, place: str) -> None:
        """Have each id lead to its memcached, for those in one place."""
        for (name, node_id), proxy in self._proxies.items():
            if name == place:
                proxy.point_to(self.nodes[node_id].address)
        self.set_fault(Fault.NONE, NODES, place)

    def lead_all(self) -> None:
        """Have each id lead to its memcached, for all places at once."""
        for place in self._places:
            self.lead(place)

    def pause(self, nodes: Sequence[str] = NODES) -> None:
        """Stop nodes (SIGSTOP)."""
        for node_id in nodes:
            self.nodes[node_id].pause()

    def resume(self, nodes: Sequence[str] = NODES) -> None:
        """Let stopped nodes go on."""
        for node_id in nodes:
            self.nodes[node_id].resume()

    def evictions(self) -> dict[str, int]:
        """Return by node how many items it has thrown out to make room."""
        return {node_id: int(node.stats()["evictions"]) for node_id, node in self.nodes.items()}

    def spoil(self) -> int:
        """Put garbage in the place of every record in every node; return how many."""
        found = {node: node.all_keys() for node in self.nodes.values()}
        for key in {key for keys in found.values() for key in keys}:
            # Both copies of a record right after each other, before one can mend the other.
            for node in found:
                with suppress(OSError):
                    node.ask(f"replace {key} 0 0 7\r\ngarbage")
        return sum(map(len, found.values()))
