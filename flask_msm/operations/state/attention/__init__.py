"""What an operator should look at, worst first, each with the place to go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fleet import disagreements, partial, stopped
from .item import Item
from .lost import lost_sessions
from .mistakes import mistakes, warnings
from .nodes import nodes_down, odd_nodes, rebuild_text
from .storage import broken_storage, kept_here
from .workers import odd_workers


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


__all__ = ["Item", "attention", "mistakes", "rebuild_text"]

_ORDER = {"bad": 0, "off": 1, "warn": 2, "info": 3}


def attention(snapshot: Snapshot) -> list[Item]:
    """Return everything worth a look, worst first."""
    items = [
        *lost_sessions(snapshot),
        *mistakes(snapshot),
        *stopped(snapshot),
        *nodes_down(snapshot),
        *broken_storage(snapshot),
        *kept_here(snapshot),
        *odd_nodes(snapshot),
        *warnings(snapshot),
        *odd_workers(snapshot),
        *disagreements(snapshot),
        *partial(snapshot),
    ]
    return sorted(items, key=lambda item: _ORDER[item.level])
