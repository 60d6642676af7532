"""Before alerts do not tell of a known outage, and before they do again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError
from flask_msm.operations.state.texts import _

from .confirmation import Confirmation, Form
from .nodes import find_node


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


#: How long alerts may be silenced here, hours; the command line takes any time.
HOURS = (1, 8, 24)


def node_of(form: Form) -> str | None:
    """Return the node a form names; ``None`` for the whole fleet."""
    return form.get("node") or None


def hours_of(form: Form) -> int:
    """Return for how many hours a form asks."""
    for hours in HOURS:
        if form.get("hours") == str(hours):
            return hours
    raise CommandError(_("Choose for how long."))


def silence_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from silencing a node or the fleet."""
    hours, what = hours_of(form), _target(snapshot, form)
    return Confirmation(
        title=_("Silence alerts of {what} for {n} h?", what=what, n=hours),
        points=[
            _("MSM_ON_ALERT is not called for it until then. What happens beside it is told."),
            _("Pages and the command line go on showing it, with your name and the reason."),
        ],
        submit=_("Silence for {n} h", n=hours),
        hidden=(("node", node_of(form) or ""), ("hours", str(hours))),
    )


def unsilence_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from ending a silence."""
    return Confirmation(
        title=_("Send alerts of {what} again?", what=_target(snapshot, form)),
        points=[_("What is still wrong with it is told at once.")],
        submit=_("Send alerts again"),
        hidden=(("node", node_of(form) or ""),),
    )


def _target(snapshot: Snapshot, form: Form) -> str:
    return find_node(snapshot, form).id if node_of(form) else _("the fleet")
