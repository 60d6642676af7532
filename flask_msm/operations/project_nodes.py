"""The nodes of the snapshot, each as all workers together see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flask_msm.cluster.phases import BAD, SeenNode, phase, worst_of_most

from . import snapshot as doc
from .statistics import NodeStats


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask_msm.cluster.control import Choice, Control
    from flask_msm.cluster.facts import Facts
    from flask_msm.settings.node_address import NodeAddress
    from flask_msm.settings.settings import Settings


class NodeReport(NamedTuple):
    """What one worker reported of one node; *read_at*: when it read its statistics, 0 for never."""

    opinion: doc.Opinion
    read_at: float
    fields: Facts


def read_nodes(worker: str, fields: Facts) -> dict[str, NodeReport]:
    """Return what a worker reported of the nodes, by node; one of an unknown state is left out."""
    nodes = fields.section("nodes")
    return {
        node_id: NodeReport(
            doc.Opinion(
                worker=worker,
                state=cast("doc.NodeStateName", state),
                trusted=node.boolean("trusted"),
                since=node.number("since"),
                error=node.text("error") or None,
                failures=node.integer("failures") or 0,
                retry_at=node.number("retry_at"),
                timeouts=node.integer("timeouts"),
                breaks=node.integer("breaks"),
                down_at=node.number("down_at"),
                lacking_at=node.number("lacking_at"),
            ),
            node.section("numbers").number("at") or 0.0,
            node,
        )
        for node_id in nodes.names()
        if (state := (node := nodes.section(node_id)).text("state")) in BAD
    }


def latencies(nodes: Mapping[str, NodeReport]) -> dict[str, float]:
    """Return how long a worker waits for the nodes that answer it, 95 of 100 answers, seconds."""
    return {
        node_id: found
        for node_id, one in nodes.items()
        if one.opinion.state == "up" and (found := one.fields.number("latency_p95")) is not None
    }


def build_node(
    address: NodeAddress,
    reports: Sequence[NodeReport],
    *,
    rebuild: doc.Rebuild | None,
    control: Control,
    settings: Settings,
    now: float,
    interval: float,
    slow: bool,
) -> doc.Node:
    """Return a node, from what each worker that is not silent reported of it."""
    opinions = tuple(report.opinion for report in reports)
    ordered = control.drain(address.id)
    drain = _drain(ordered)
    state = drain.value if drain else worst_of_most([o.state for o in opinions])
    failing = max(opinions, key=lambda o: o.since or 0.0 if o.error else 0.0, default=None)
    shows_error = bool(failing and failing.error) and state not in ("up", "drained")
    newest = max(reports, key=lambda report: report.read_at, default=None)
    stats = _stats(newest.fields) if newest and newest.read_at else None
    unread = state == "up" and stats is None and bool(opinions)
    sights = [SeenNode(o.state, o.trusted, o.since, o.down_at, o.lacking_at) for o in opinions]
    found = phase(sights, drained=drain is not None, now=now, interval=interval)
    return doc.Node(
        id=address.id,
        address=None
        if settings.admin_hide_addresses
        else address.path or f"{address.host}:{address.port}",
        state=cast("doc.NodeStateName | None", state),
        trusted=all(o.trusted for o in opinions) if opinions else None,
        since=min((o.since for o in opinions if o.state == state and o.since), default=None),
        phase=found.name if found else None,
        phase_since=found.since if found else None,
        opinions=opinions,
        error=failing.error if failing and shows_error else None,
        error_at=failing.since if failing and shows_error else None,
        failures=max((o.failures for o in opinions), default=0),
        retry_at=min((o.retry_at for o in opinions if o.retry_at), default=None),
        stats=stats,
        stats_error="the node gives no statistics" if unread else None,
        rebuild=rebuild,
        drain=drain,
        stamp=str(ordered.stamp),
        failover_only=address.id in settings.failover_nodes,
        slow=slow,
    )


def _drain(drain: Choice) -> doc.Drain | None:
    if drain.value is None:
        return None
    value = cast("Any", drain.value)
    return doc.Drain(
        value=value, set_by=drain.who or None, set_at=drain.at, reason=drain.why or None
    )


def _stats(fields: Facts) -> NodeStats:
    numbers = fields.section("numbers")
    return NodeStats(
        at=numbers.number("at") or 0.0,
        version=numbers.text("version"),
        uptime=numbers.number("uptime"),
        items=numbers.integer("items"),
        bytes=numbers.integer("bytes"),
        limit_bytes=numbers.integer("limit_bytes"),
        hits=numbers.integer("hits"),
        misses=numbers.integer("misses"),
        hit_ratio=fields.number("hit_ratio"),
        evictions=numbers.integer("evictions"),
        evictions_per_minute=fields.number("evictions_per_minute"),
        evicted_unfetched=numbers.integer("evicted_unfetched"),
        expired_unfetched=numbers.integer("expired_unfetched"),
        connections=numbers.integer("connections"),
        max_connections=numbers.integer("max_connections"),
        refused_connections=numbers.integer("refused_connections"),
        latency=numbers.number("latency"),
        latency_p50=fields.number("latency_p50"),
        latency_p95=fields.number("latency_p95"),
        latency_p99=fields.number("latency_p99"),
        latencies=tuple(fields.series("latencies")),
    )


def build_rebuild(worker: str, fields: Facts) -> doc.Rebuild:
    """Return how far the rebuild is that a worker reported."""
    return doc.Rebuild(
        worker=worker,
        looked_at=fields.integer("looked_at") or 0,
        copied=fields.integer("copied") or 0,
        began=fields.number("began_at"),
    )
