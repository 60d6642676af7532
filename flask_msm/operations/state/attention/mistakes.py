"""What workers found to be wrong for a while: errors with which sessions get lost, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..texts import _
from .item import Item


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.cluster.conditions import Condition
    from flask_msm.operations.snapshot import Snapshot


def mistakes(snapshot: Snapshot) -> Iterator[Item]:
    """Say what workers found to be an error for as long as it lasts, each kind once."""
    said = {
        "foreign_fleet": (
            _("Workers with another key use the same nodes and prefix"),
            _("Users whom these workers and others serve in turn: they are signed out."),
            (
                _("Another application: give it an MSM_KEY_PREFIX of its own."),
                _("Each worker makes a SECRET_KEY for itself: give all of them one."),
                _("A key was changed: deploy all workers, with the former one as a fallback."),
            ),
        ),
        "one_memory": (
            _("Two nodes are one memcached"),
            _("No user now. But one node less may fail than MSM_NODES has it."),
            (_("Give each id in MSM_NODES an address of its own."),),
        ),
    }
    for condition in snapshot.conditions:
        words = said.pop(condition.kind, None) if condition.error else None
        if words is not None:
            title, hurt, steps = words
            yield _item(condition, "bad", title, hurt, steps, on_nodes=True)


def warnings(snapshot: Snapshot) -> Iterator[Item]:
    """Say what else workers found to be wrong, each with its node or host."""
    unhurt = _("No user now.")
    said = {
        "node_evicts": (
            _("A node is too small"),
            _("Users whose last copy is thrown out are signed out early."),
            _("Give memcached more memory (-m), or add a node."),
        ),
        "node_full": (
            _("A node takes no more sessions"),
            unhurt,
            _("Give memcached more memory (-m), add a node, or start it without -M."),
        ),
        "node_connections": (
            _("A node is short of connections"),
            _("Requests wait for one. Every session is served."),
            _("Start memcached with more of them (-c), or lower MSM_POOL_SIZE."),
        ),
        "map_cut": (
            _("A list that workers share is cut"),
            unhurt,
            _("Start memcached with a larger -I."),
        ),
        "map_refused": (
            _("A node refuses a list that workers share"),
            unhurt,
            _("Give memcached more memory (-m), or a larger -I."),
        ),
        "host_clock": (_("The clock of a host is wrong"), unhurt, _("Set it right.")),
        "node_clock": (_("The clock of a node is wrong"), unhurt, _("Set it right.")),
        "kept_on_host": (
            _("A host keeps sessions that no node takes"),
            _("No user now. The changes survive a deploy, not the loss of their host."),
            _("See whether nodes are full (-m) or take smaller items (-I)."),
        ),
        "kept_late": (
            _("Nodes take changes too late"),
            unhurt,
            _("See whether nodes are slow, or many requests change one large session."),
        ),
    }
    evicting = {node.id for node in snapshot.nodes if facts.is_evicting(node)}
    for condition in snapshot.conditions:
        # Of a node that evicts at this moment there is a better item.
        if condition.kind in said and not (
            condition.kind == "node_evicts" and condition.node in evicting
        ):
            title, hurt, step = said[condition.kind]
            on_nodes = bool(condition.node)
            yield _item(condition, "warn", title, hurt, (step,), on_nodes=on_nodes)


def _item(
    condition: Condition,
    level: str,
    title: str,
    hurt: str,
    steps: tuple[str, ...],
    *,
    on_nodes: bool,
) -> Item:
    return Item(
        level=level,
        code=condition.kind,
        title=title,
        text=condition.text,
        since=condition.since,
        href="nodes/" if on_nodes else "workers/",
        link=_("Nodes") if on_nodes else _("Workers"),
        hurt=hurt,
        steps=steps,
    )
