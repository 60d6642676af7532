"""What several sections ask of a snapshot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from .formatting import cut
from .texts import _, listed, plural


if TYPE_CHECKING:
    from flask_msm.operations.losses import Copies
    from flask_msm.operations.snapshot import Event, LocalStorage, Node, Snapshot, Worker
    from flask_msm.operations.statistics import Histogram


#: An error at the end of a sentence: its class, and its text.
_ERROR = re.compile(r"\b([A-Za-z_]\w*(?:Error|Exception|Timeout)): .*?(\)?)\Z", re.DOTALL)
MODES = ("distributed", "local", "stopped")
ANSWERING = frozenset({"up", "suspect"})


def counted(snapshot: Snapshot) -> Copies | None:
    """Return the copies as they were counted after the last change of a node, if they were."""
    copies = snapshot.copies
    changed = [at for node in snapshot.nodes for at in (node.since, node.phase_since) if at]
    return copies if copies is not None and copies.at >= max(changed, default=0.0) else None


def redacted(snapshot: Snapshot, *, addresses: bool, errors: bool) -> Snapshot:
    """Return *snapshot* without what the settings hide.

    Args:
        snapshot: What was seen.
        addresses: Whether addresses of nodes are left out.
        errors: Whether texts of errors are left out; their classes stay.
    """
    if not (addresses or errors):
        return snapshot
    nodes = []
    for node in snapshot.nodes:
        if addresses:
            # Errors of connections name the address, too.
            node = replace(node, address=None)  # noqa: PLW2901
        if errors or addresses:
            opinions = tuple(
                opinion._replace(error=error_class(opinion.error)) for opinion in node.opinions
            )
            node = replace(  # noqa: PLW2901
                node, error=error_class(node.error), opinions=opinions
            )
        nodes.append(node)
    blacklist = snapshot.blacklist
    if errors:
        blacklist = tuple(replace(entry, reason=None) for entry in blacklist)
        snapshot = replace(
            snapshot,
            local=_working(snapshot.local),
            workers=tuple(
                replace(worker, local=_working(worker.local)) for worker in snapshot.workers
            ),
        )
    events = tuple(
        replace(
            event,
            text=_without_error(event),
            detail=None if event.level != "info" and event.actor is None else event.detail,
        )
        for event in snapshot.events
    )
    return replace(snapshot, nodes=tuple(nodes), blacklist=blacklist, events=events)


def _without_error(event: Event) -> str:
    """Return the text of *event* with the class of an error and without its text."""
    text, who, reason = event.text.rpartition(f", by {event.actor}")
    if not who:
        text, reason = event.text, ""
    return without_error(text) + who + reason


def without_error(text: str) -> str:
    """Return *text* with the class of an error and without what that error says."""
    return _ERROR.sub(r"\1\2", text)


def _working(local: LocalStorage | None) -> LocalStorage | None:
    """Return *local* without the words of an error; that there is one stays."""
    return replace(local, error=_("an error")) if local is not None and local.error else local


def error_class(error: str | None) -> str | None:
    """Return the class at the beginning of *error*."""
    return None if error is None else error.split(":", 1)[0].split(" ", 1)[0]


def error_text(error: str | None) -> str:
    """Return *error* for people: the first line, its class only if there is nothing else."""
    if not error:
        return _("No answer")
    _name, found, text = error.partition(": ")
    return cut(text if found and text else error) or error


def living(snapshot: Snapshot) -> list[Worker]:
    """Return the workers that are not gone."""
    return [worker for worker in snapshot.workers if not worker.gone]


def reporting(snapshot: Snapshot) -> list[Worker]:
    """Return the workers that were heard of lately: neither silent nor gone."""
    return [worker for worker in living(snapshot) if not worker.stale]


def modes(snapshot: Snapshot) -> dict[str, int]:
    """Return how many workers are in each mode."""
    counts: Counter[str | None] = Counter(worker.mode for worker in living(snapshot))
    return {mode: counts[mode] for mode in MODES}


def answering(snapshot: Snapshot) -> list[Node]:
    """Return the nodes that answer and are in use."""
    return [node for node in snapshot.nodes if node.state in ANSWERING]


def down(snapshot: Snapshot) -> list[Node]:
    """Return the nodes that do not answer."""
    return [node for node in snapshot.nodes if node.state == "down"]


def seen_by(node: Node, snapshot: Snapshot) -> str:
    """Return in words which share of the workers sees the node down."""
    total = len(node.opinions)
    lost = sum(opinion.state == "down" for opinion in node.opinions)
    if total <= 1:
        return _("seen by this worker") if len(snapshot.workers) <= 1 else _("seen by one worker")
    if lost == total:
        return _("seen by all {n} workers", n=total)
    return _("seen by {k} of {n} workers", k=lost, n=total)


def is_evicting(node: Node) -> bool:
    """Return whether the node throws out what it should keep."""
    return bool(node.state in ANSWERING and node.stats and node.stats.evictions_per_minute)


def is_slow(node: Node) -> bool:
    """Return whether the node answers, and slowly, as most workers see it."""
    return node.slow and node.state in ANSWERING


def is_rebuilding(node: Node) -> bool:
    """Return whether the node answers but lacks sessions, or did until a moment ago."""
    if node.phase is not None:
        return node.phase == "filling"
    return node.state == "recovering" or (node.state in ANSWERING and node.trusted is False)


def word_of(node: Node) -> str:
    """Return what a node is, in the words of pages, command line and events."""
    if node.drain is not None and node.drain.value == "draining":
        return _("being drained")
    words = {
        "up": _("up"),
        "filling": _("being filled"),
        "down": _("down"),
        "drained": _("drained"),
        "unreached": _("not reached by some workers"),
    }
    return words.get(node.phase or "", _("not seen yet"))


def circuit_of(node: Node) -> str:
    """Return the state of the circuit: a word of this page for how a node is treated."""
    if node.state == "down":
        return _("open")
    return _("half-open") if node.state == "recovering" else _("closed")


def is_new(snapshot: Snapshot) -> bool:
    """Return whether no session was ever seen: nothing counted, and workers younger than that."""
    traffic = snapshot.traffic
    if traffic is not None and operations(snapshot):
        return False
    started = [worker.started for worker in snapshot.workers if worker.started is not None]
    return bool(started) and snapshot.at - min(started) < snapshot.window


def operations(snapshot: Snapshot) -> float:
    """Return how many reads and writes there were in the window."""
    traffic = snapshot.traffic
    if traffic is None:
        return 0.0
    return sum(value for value in traffic.operations_series if value is not None)


def elapsed(snapshot: Snapshot) -> float:
    """Return for how much of the window anything was counted, seconds."""
    started = [worker.started for worker in snapshot.workers if worker.started is not None]
    age = snapshot.at - min(started) if started else snapshot.window
    return max(snapshot.step, min(snapshot.window, age))


def quantile(histograms: Iterable[Histogram | None], share: float) -> float | None:
    """Return the time in seconds most operations did not exceed; never too good a number."""
    known = [histogram for histogram in histograms if histogram is not None and histogram.bounds]
    if not known:
        return None
    bounds = known[0].bounds
    counts = [
        sum(column)
        for column in zip(*(h.counts for h in known if h.bounds == bounds), strict=False)
    ]
    total = sum(counts)
    if not total:
        return None
    seen = 0
    for bound, count in zip((*bounds, bounds[-1]), counts, strict=False):
        seen += count
        if seen >= share * total:
            return bound
    return bounds[-1]


def kept_where(snapshot: Snapshot) -> str:
    """Return in words where a worker keeps sessions while there is no cluster."""
    if snapshot.local is not None and snapshot.local.kind == "simple":
        return _("in its own memory")
    return _("on its host only")


def other_copies(snapshot: Snapshot, gone: list[Node]) -> str:
    """Return in words what becomes of the sessions of nodes that are *gone*."""
    names = listed([node.id for node in gone])
    if snapshot.replicas > len(gone):
        return _("Sessions of {names} are served by their other copy.", names=names)
    if snapshot.replicas == 1:
        return _(
            "Sessions of {names} had no other copy: they come from local storage, where a host"
            " has them.",
            names=names,
        )
    return _(
        "Sessions with every copy on {names} come from local storage, where a host has them.",
        names=names,
    )


def few_copies(snapshot: Snapshot, node_id: str) -> str | None:
    """Return in words what is wrong with taking a node out of use; ``None`` if nothing is.

    Fewer nodes would be left than there shall be copies; one that is down takes none either.
    """
    left = sum(
        node.drain is None and node.state != "down" and node.id != node_id
        for node in snapshot.nodes
    )
    copies = min(snapshot.replicas, len(snapshot.nodes))
    if left >= copies:
        return None
    return plural(
        left,
        "Without {id} {n} node is left for {copies} copies of each session",
        "Without {id} {n} nodes are left for {copies} copies of each session",
        id=node_id,
        copies=copies,
    )


def workers_text(number: int) -> str:
    """Return a number of workers in words."""
    return plural(number, "{n} worker", "{n} workers")
