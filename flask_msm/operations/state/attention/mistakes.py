"""Settings with which sessions get lost while every node answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..texts import _
from .item import Item


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.snapshot import Snapshot


def mistakes(snapshot: Snapshot) -> Iterator[Item]:
    """Say what workers found to be an error for as long as it lasts, each kind once."""
    said = {
        "foreign_fleet": (
            _("Workers with another key use the same nodes and prefix"),
            _("Users whom these workers and others serve in turn: they are signed out."),
            (
                _("Another application: give it an MSM_KEY_PREFIX of its own."),
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
            yield Item(
                level="bad",
                code=condition.kind,
                title=title,
                text=condition.text,
                since=condition.since,
                href="nodes/",
                link=_("Nodes"),
                hurt=hurt,
                steps=steps,
            )
