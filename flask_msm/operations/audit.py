"""Writes down who changed what, and why: as an event and as a line of the audit log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask_msm.errors import one_line

from .orders import LONGEST, Change, Done, Order


if TYPE_CHECKING:
    from flask_msm.cluster.events import Events


audit = logging.getLogger("flask_msm.audit")

_NO_CHANGE = Change()


def write_down(
    events: Events,
    kind: str,
    order: Order,
    text: str,
    *,
    stamp: int = 0,
    told: tuple[str, ...] = (),
    node: str | None = None,
    change: Change = _NO_CHANGE,
    result: str | None = None,
) -> Done:
    """Write an event and a line of audit; return what became of the order.

    Args:
        events: Where the event is written down.
        kind: What was done, in a word.
        order: Who did it and why.
        text: What was done, in one sentence.
        stamp: Stamp of the change, if anything of the fleet's was changed.
        told: Nodes that know it.
        node: The node it is about.
        change: What was changed.
        result: What became of it, in words.
    """
    actor, reason = one_line(order.actor, LONGEST), one_line(order.reason, LONGEST)
    because = f" ({reason})" if reason else ""
    event = events.add(
        "info",
        kind,
        f"{text}, by {actor}{because}",
        node=node,
        actor=actor,
        reason=reason,
        before=change.before,
        after=change.after,
        result=result,
    )
    audit.info(
        "%s: %s, by %s%s; told to %s",
        kind,
        text,
        actor,
        because,
        ", ".join(told) or "this host only",
    )
    return Done(stamp, told, event, text)
