"""Before something is done with a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError
from flask_msm.operations.state import facts
from flask_msm.operations.state.formatting import number, percent
from flask_msm.operations.state.texts import _, listed

from .confirmation import Confirmation, Form, reach


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Node, Snapshot


#: From this share of all items on, taking a node out needs its id typed.
_LARGE_SHARE = 0.5


def find_node(snapshot: Snapshot, form: Form) -> Node:
    """Return the node a form names."""
    for node in snapshot.nodes:
        if node.id == form.get("node"):
            return node
    raise CommandError(_("There is no such node."))


def drain_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from taking a node out of use."""
    node = find_node(snapshot, form)
    others = [n.id for n in snapshot.nodes if n.id != node.id and n.drain is None]
    if not others:
        raise CommandError(_("{id} is the last node in use.", id=node.id))
    share = _share(snapshot, node)
    points = [
        _(
            "{id} is read and no longer written. Its sessions are copied to {others}, then it is"
            " drained and can be stopped.",
            id=node.id,
            others=listed(others),
        )
    ]
    if share is not None and node.stats is not None:
        points.append(
            _(
                "It holds {n} items, {share} % of all.",
                n=number(node.stats.items),
                share=percent(share, 0),
            )
        )
    large = share is not None and share > _LARGE_SHARE
    few = facts.few_copies(snapshot, node.id)
    if few is not None:
        points.append(_("{text}.", text=few))
    return Confirmation(
        title=_("Drain {id}?", id=node.id),
        points=[*points, _("No user is signed out."), reach(snapshot)],
        submit=_("Drain {id}", id=node.id),
        word=node.id if large or few else None,
        danger=large or few is not None,
        stamp=node.stamp,
        hidden=(("node", node.id),),
    )


def _share(snapshot: Snapshot, node: Node) -> float | None:
    items = [n.stats.items if n.stats else None for n in snapshot.nodes]
    known = [n for n in items if n is not None]
    if node.stats is None or node.stats.items is None or not sum(known):
        return None
    return node.stats.items / sum(known)


def undrain_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from taking a node into use again."""
    node = find_node(snapshot, form)
    return Confirmation(
        title=_("Undrain {id}?", id=node.id),
        points=[
            _(
                "{id} is written again at once. It is filled from the other copies, and is up when"
                " it has all of them.",
                id=node.id,
            ),
            reach(snapshot),
        ],
        submit=_("Undrain {id}", id=node.id),
        stamp=node.stamp,
        hidden=(("node", node.id),),
    )


def probe_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from asking a node."""
    node = find_node(snapshot, form)
    return Confirmation(
        title=_("Probe {id} now?", id=node.id),
        points=[_("This worker asks it once whether it answers. Nothing else changes.")],
        submit=_("Probe {id}", id=node.id),
        reason=False,
        hidden=(("node", node.id),),
    )


def reset_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from forgetting the failures of a node."""
    node = find_node(snapshot, form)
    return Confirmation(
        title=_("Forget the failures of {id}?", id=node.id),
        points=[
            _("This worker forgets {id}'s failures and asks it now.", id=node.id),
            _("If it does not answer, requests wait for it again until it counts as down."),
        ],
        submit=_("Forget and probe {id}", id=node.id),
        hidden=(("node", node.id),),
    )
