"""The page that shows where the visitor's session lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import Blueprint, current_app, render_template, session

from example_app.breaking import pid_of
from example_app.extensions import msm
from example_app.place import NodeAddress, Place


if TYPE_CHECKING:
    from flask_msm import SessionInfo


blueprint = Blueprint("whereabouts", __name__)


@dataclass(frozen=True, slots=True)
class NodeCard:
    """One memcached, seen from this session.

    Attributes:
        pid: Its process, when the launcher started it and it has not ended.
        rank: Which home of the session it is, from 1; ``None`` when it is none.
        holds: Whether it has a copy now.
        has_ended: Whether its process is known to be gone.
    """

    node: NodeAddress
    pid: int | None
    rank: int | None
    holds: bool
    has_ended: bool


@blueprint.get("/session")
def show() -> str:
    """Show what is known about this session, and by whom it is kept."""
    info = msm.describe(session)
    place = cast("Place", current_app.extensions["example_place"])
    return render_template(
        "session.html",
        info=info,
        cards=[_card(place, node, info) for node in place.nodes],
        attributes=sorted((name, type(value).__name__) for name, value in session.items()),
    )


def _card(place: Place, node: NodeAddress, info: SessionInfo) -> NodeCard:
    is_home = node.id in info.home_nodes
    rank = info.home_nodes.index(node.id) + 1 if is_home else None
    pid = pid_of(place, node.id)
    has_ended = place.control is not None and pid is None
    return NodeCard(node, pid, rank, node.id in info.holders, has_ended)
