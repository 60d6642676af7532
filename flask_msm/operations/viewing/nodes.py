"""The nodes, each as all workers together see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask_msm.operations import snapshot as doc


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.application import Cluster
    from flask_msm.operations.report_reader import FleetView, NodeView, WorkerView
    from flask_msm.settings.settings import Settings


#: How bad each state is.
_BAD = {"down": 5, "suspect": 4, "recovering": 3, "draining": 2, "drained": 1, "up": 0}


def node_of(
    node: NodeView,
    view: FleetView,
    said: Mapping[str, Mapping[str, doc.Opinion]],
    cluster: Cluster,
    *,
    addresses: Mapping[str, str | None],
    settings: Settings,
) -> doc.Node:
    """Return a node.

    Args:
        node: The node, as the picture of the fleet has it.
        view: The picture.
        said: How each worker sees each node, by its name and the node's.
        cluster: Knows what operators chose for the node.
        addresses: What is shown as its address, by its id.
        settings: The application's.
    """
    opinions = tuple(opinion for worker in view.live if (opinion := said[worker.name].get(node.id)))
    drain = _drain(node.id, cluster)
    state = drain.value if drain else _worst_of_most([o.state for o in opinions])
    failing = max(opinions, key=lambda o: o.since or 0.0 if o.error else 0.0, default=None)
    retries = [o.retry_at for o in opinions if o.retry_at]
    stats = _stats(node) if node.observer else None
    unread = state == "up" and stats is None and bool(opinions)
    shown_error = state not in ("up", "drained")
    return doc.Node(
        id=node.id,
        address=addresses[node.id],
        state=cast("doc.NodeStateName | None", state),
        trusted=node.trusted if opinions else None,
        since=min((o.since for o in opinions if o.state == state and o.since), default=None),
        opinions=opinions,
        error=failing.error if failing and shown_error else None,
        error_at=failing.since if failing and failing.error and shown_error else None,
        failures=max((o.failures for o in opinions), default=0),
        retry_at=min(retries, default=None),
        stats=stats,
        stats_error="the node gives no statistics" if unread else None,
        rebuild=_rebuild(node.id, view),
        drain=drain,
        stamp=str(cluster.control.shared.stamp(f"drain:{node.id}")),
        failover_only=node.id in settings.failover_nodes,
    )


def addresses_of(settings: Settings) -> dict[str, str | None]:
    """Return the address to show of each node, by its id; ``None`` when that is hidden."""
    return {
        address.id: None
        if settings.admin_hide_addresses
        else address.path or f"{address.host}:{address.port}"
        for address in settings.nodes
    }


def opinions_of(worker: WorkerView) -> dict[str, doc.Opinion]:
    """Return how a worker sees the nodes, by node; a state that is not known is none."""
    said = worker.facts.inner("nodes")
    return {
        node_id: doc.Opinion(
            worker=worker.name,
            state=cast("doc.NodeStateName", state),
            trusted=facts.truth("trusted"),
            since=facts.number("since"),
            error=facts.text("error") or None,
            failures=facts.whole("failures") or 0,
            retry_at=facts.number("retry_at"),
            timeouts=facts.whole("timeouts"),
            breaks=facts.whole("breaks"),
        )
        for node_id in said.names()
        if (state := (facts := said.inner(node_id)).text("state")) in _BAD
    }


def _drain(node_id: str, cluster: Cluster) -> doc.Drain | None:
    value, who, why, at = cluster.control.drain_of(node_id)
    if value is None:
        return None
    drained = cast("Any", value)
    return doc.Drain(value=drained, set_by=who or None, set_at=at, reason=why or None)


def _worst_of_most(states: list[doc.NodeStateName]) -> str | None:
    if not states:
        return None
    return max(set(states), key=lambda state: (states.count(state), _BAD[state]))


def _stats(node: NodeView) -> doc.NodeStats:
    numbers = node.facts.inner("numbers")
    return doc.NodeStats(
        at=numbers.number("at") or 0.0,
        version=numbers.text("version"),
        uptime=numbers.number("uptime"),
        items=numbers.whole("items"),
        bytes=numbers.whole("bytes"),
        limit_bytes=numbers.whole("limit_bytes"),
        hits=numbers.whole("hits"),
        misses=numbers.whole("misses"),
        hit_ratio=node.facts.number("hit_ratio"),
        evictions=numbers.whole("evictions"),
        evictions_per_minute=node.facts.number("evictions_per_minute"),
        evicted_unfetched=numbers.whole("evicted_unfetched"),
        expired_unfetched=numbers.whole("expired_unfetched"),
        connections=numbers.whole("connections"),
        max_connections=numbers.whole("max_connections"),
        refused_connections=numbers.whole("refused_connections"),
        latency=numbers.number("latency"),
        latency_p50=node.facts.number("latency_p50"),
        latency_p95=node.facts.number("latency_p95"),
        latency_p99=node.facts.number("latency_p99"),
        latencies=tuple(node.facts.series("latencies")),
    )


def _rebuild(node_id: str, view: FleetView) -> doc.Rebuild | None:
    for worker in view.live:
        facts = worker.facts.inner("rebuild")
        if facts.text("node") == node_id:
            return doc.Rebuild(
                worker=worker.name,
                looked_at=facts.whole("looked_at") or 0,
                copied=facts.whole("copied") or 0,
                began=facts.number("began_at"),
            )
    return None
