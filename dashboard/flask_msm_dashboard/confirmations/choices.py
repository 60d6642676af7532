"""Before something is chosen for the whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError
from flask_msm.operations.state import facts
from flask_msm.operations.state.texts import _

from ..policies import POLICIES, RECONNECTS, consequence, policy_name
from .confirmation import Confirmation, Form, reach


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


def value_of(form: Form, allowed: tuple[str, ...]) -> str | None:
    """Return the choice of a form; ``None`` for what is configured."""
    value = form.get("value", "")
    if value == "configured":
        return None
    if value not in allowed:
        raise CommandError(_("Choose one of: {names}.", names=", ".join(allowed)))
    return str(value)


def _title(before: str, after: str) -> str:
    old, new = policy_name(before), policy_name(after)
    # What was configured can be chosen as well: then a deploy does not change it.
    return (
        _("Keep {name}?", name=new)
        if old == new
        else _("Change from {old} to {new}?", old=old, new=new)
    )


def _submit(before: str, after: str) -> str:
    name = policy_name(after)
    return _("Keep {name}", name=name) if before == after else _("Change to {new}", new=name)


def policy_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from a choice of policy."""
    value, choice = value_of(form, POLICIES), snapshot.policy
    to = value or choice.configured
    points = [consequence(to)]
    if to == "stop":
        points = [
            _(
                "Nothing stops now. The first attribute that cannot be serialized stops"
                " distribution for all workers until an operator resumes."
            )
        ]
    if value is None:
        points.append(_("This goes back to what the configuration of each worker says."))
    return Confirmation(
        title=_title(choice.value, to),
        points=[*points, reach(snapshot)],
        submit=_submit(choice.value, to),
        word="stop" if to == "stop" else None,
        danger=to == "stop",
        stamp=choice.stamp,
        hidden=(("value", value or "configured"),),
    )


def reconnect_confirmation(snapshot: Snapshot, form: Form) -> Confirmation:
    """Return what follows from a choice for reconnects."""
    value, choice = value_of(form, RECONNECTS), snapshot.on_reconnect
    to = value or choice.configured
    point = (
        _("When a node is back, what was changed locally is joined into the cluster.")
        if to == "promote"
        else _(
            "When a node is back, what was changed locally is dropped. Users lose what they did"
            " during the outage."
        )
    )
    return Confirmation(
        title=_title(choice.value, to),
        points=[point, reach(snapshot)],
        submit=_submit(choice.value, to),
        word="discard" if to == "discard" else None,
        danger=to == "discard",
        stamp=choice.stamp,
        hidden=(("value", value or "configured"),),
    )


def stop_confirmation(snapshot: Snapshot, _form: Form) -> Confirmation:
    """Return what follows from stopping distribution."""
    return Confirmation(
        title=_("Stop distribution?"),
        points=[
            _(
                "At once, all workers stop reading and writing sessions in memcached, until"
                " an operator starts distribution again. Use it only to protect the nodes."
            ),
            _(
                "Each worker keeps sessions {where}. Users may look signed out when another one"
                " answers them.",
                where=facts.kept_where(snapshot),
            ),
            reach(snapshot),
        ],
        submit=_("Stop distribution"),
        word="stop",
        danger=True,
        stamp=snapshot.distribution.stamp,
    )


def resume_confirmation(snapshot: Snapshot, _form: Form) -> Confirmation:
    """Return what follows from starting distribution again."""
    joined = (
        _("What was changed locally meanwhile is joined into the cluster.")
        if snapshot.on_reconnect.value == "promote"
        else _("What was changed locally meanwhile is dropped (on-reconnect is discard).")
    )
    return Confirmation(
        title=_("Resume distribution?"),
        points=[
            _("All workers read and write sessions in memcached again, as far as nodes answer."),
            joined,
            reach(snapshot),
        ],
        submit=_("Resume distribution"),
        stamp=snapshot.distribution.stamp,
    )
