"""What this worker counted since it started, shared with the other workers of its host."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.process.locks import ProcessLock
from flask_msm.storage.local import host_numbers


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.cluster.nodes import NodeTable
    from flask_msm.storage.failover import FailoverStore
    from flask_msm.storage.metrics import LatencyMetrics

    from .node_statistics import Numbers


def counts_of(counters: Any) -> dict[str, int]:
    """Return what a dataclass with slots has counted, by name."""
    return {name: getattr(counters, name) for name in counters.__slots__}


@dataclass(eq=False)
class SharedTotals:
    """Puts the totals of this worker together and where the workers of its host find them.

    Args:
        sources: More counts, by name of their section.
        worker: Returns the name of this worker.
    """

    meter: LatencyMetrics
    _: KW_ONLY
    store: FailoverStore
    table: NodeTable
    sources: Mapping[str, Callable[[], Any]]
    worker: Callable[[], str]

    def __post_init__(self) -> None:
        self._writing = ProcessLock()

    def own(self) -> dict[str, Any]:
        """Return what this worker counted: nothing of it ever falls."""
        total = self.meter.totals()
        counts: dict[str, int] = {}
        for name in ("sessions", "serialization", "cluster"):
            for count, value in self.sources[name]().items():
                if isinstance(value, int):
                    counts[count] = counts.get(count, 0) + value
        return {
            "worker": self.worker(),
            "loads": total.loads,
            "load_seconds": round(total.load_seconds, 6),
            "saves": total.saves,
            "save_seconds": round(total.save_seconds, 6),
            "hits": total.hits,
            "misses": total.misses,
            "unknown": total.unknown,
            "unsaved": total.unsaved,
            "kept_locally": self.store.saved_locally,
            "counts": counts,
            "failures": {
                node_id: self.table.failures(node_id)._asdict() for node_id in self.table.node_ids
            },
        }

    def share(self, numbers: Mapping[str, Numbers]) -> dict[str, Any]:
        """Bring the totals of this worker, and the *numbers* of nodes, to its host; return them.

        One thread after another, so that no older ones are written over newer ones.
        """
        with self._writing:
            nodes = {node_id: found._asdict() for node_id, found in numbers.items()}
            facts = {**self.own(), "nodes": nodes}
            shelf = self.store.local.shelf
            if shelf is not None and shelf.place is not None:
                host_numbers.write(shelf.place, facts["worker"], facts)
        return facts

    def of_host(self, numbers: Mapping[str, Numbers]) -> list[dict[str, Any]]:
        """Return the totals of all workers of this host, whichever of them is asked."""
        own = self.share(numbers)
        shelf = self.store.local.shelf
        found = host_numbers.read(shelf.place) if shelf and shelf.place else []
        if not any(facts.get("worker") == own["worker"] for facts in found):
            found.append(own)
        return found
