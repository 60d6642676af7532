"""What workers counted since they started, as ``api/v1/metrics`` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flask_msm.cluster.facts import Facts
from flask_msm.storage.metrics import BOUNDS

from .snapshot import COUNTED
from .statistics import Histogram


if TYPE_CHECKING:
    from collections.abc import Iterable


#: Whose totals: those of all workers of the host, of the one that is asked, of the whole fleet.
Whose = Literal["host", "self", "fleet"]
#: What a node counts since its own start, and what of it is a state.
NODE_COUNTS = ("hits", "misses", "evictions", "refused_connections")
NODE_STATES = ("items", "bytes", "limit_bytes", "connections", "latency", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTotals:
    """What one worker counted.

    Attributes:
        load_seconds: Time in seconds that all reads took together; *save_seconds* all writes.
        unknown: Reads that no store answered.
        unsaved: Writes that none took.
        counts: What happened, by one of ``COUNTED``.
        failures: Time-outs and breaks by id of the node.
        nodes: What it read of each node last, by its id.
    """

    worker: str
    loads: Histogram
    load_seconds: float
    saves: Histogram
    save_seconds: float
    hits: int
    misses: int
    unknown: int
    unsaved: int
    kept_locally: int
    counts: Mapping[str, int]
    failures: Mapping[str, tuple[int, int]]
    nodes: Mapping[str, Mapping[str, float]]


def parsed(worker: str, facts: object) -> WorkerTotals:
    """Return the totals that *worker* wrote down or reported: what is odd counts as 0."""
    fields = Facts(facts)
    counts, failures, nodes = (fields.section(name) for name in ("counts", "failures", "nodes"))
    of_node = {node: failures.section(node) for node in failures.names()}
    read = {node: nodes.section(node) for node in nodes.names()}
    return WorkerTotals(
        worker=worker,
        loads=_histogram(fields, "loads"),
        load_seconds=fields.number("load_seconds") or 0.0,
        saves=_histogram(fields, "saves"),
        save_seconds=fields.number("save_seconds") or 0.0,
        hits=fields.integer("hits") or 0,
        misses=fields.integer("misses") or 0,
        unknown=fields.integer("unknown") or 0,
        unsaved=fields.integer("unsaved") or 0,
        kept_locally=fields.integer("kept_locally") or 0,
        counts={name: counts.integer(name) or 0 for name in COUNTED},
        failures={
            node: (one.integer("timeouts") or 0, one.integer("breaks") or 0)
            for node, one in of_node.items()
        },
        nodes={
            node: {
                name: value
                for name in (*NODE_COUNTS, *NODE_STATES)
                if (value := one.number(name)) is not None
            }
            for node, one in read.items()
        },
    )


def newest_of_nodes(totals: Iterable[WorkerTotals]) -> dict[str, Mapping[str, float]]:
    """Return what was read of each node last, by whichever worker."""
    found: dict[str, Mapping[str, float]] = {}
    for one in totals:
        for node, numbers in one.nodes.items():
            if numbers.get("at", 0.0) > found.get(node, {}).get("at", -1.0):
                found[node] = numbers
    return found


def _histogram(fields: Facts, name: str) -> Histogram:
    counts = [int(value or 0) for value in fields.series(name)][: len(BOUNDS) + 1]
    return Histogram(bounds=BOUNDS, counts=(*counts, *[0] * (len(BOUNDS) + 1 - len(counts))))
