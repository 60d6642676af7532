"""What an operator can do: how it is reviewed, how often it is taken, and the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .confirmations.attributes import (
    attributes_of,
    clear_confirmation,
    pin_confirmation,
    unpin_confirmation,
)
from .confirmations.choices import (
    policy_confirmation,
    reconnect_confirmation,
    resume_confirmation,
    stop_confirmation,
    value_of,
)
from .confirmations.confirmation import Confirmation, Form
from .confirmations.nodes import (
    drain_confirmation,
    probe_confirmation,
    reset_confirmation,
    undrain_confirmation,
)
from .confirmations.silences import (
    hours_of,
    node_of,
    silence_confirmation,
    unsilence_confirmation,
)
from .confirmations.workers import forget_confirmation
from .limits import Limits
from .policies import POLICIES, RECONNECTS


if TYPE_CHECKING:
    from flask_msm.commands import Console, Outcome
    from flask_msm.operations.snapshot import Snapshot


#: One change of a kind in five seconds, ten in a minute.
CHANGE = Limits(pause=5.0, most=10)
#: What harms nothing when it is done often.
SMALL = Limits(pause=0.0, most=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something an operator can do.

    Attributes:
        name: In the URL.
        back: Page to go to afterwards, relative to the dashboard.
        confirmation: Returns what is shown before; raises ``CommandError`` for no target.
        run: Does it: gets the console, the form, and actor, reason and based_on.
        limits: How often one operator may.
        per_target: Whether that is counted by target.
        kind: Kind of the events it makes, counted over the whole fleet if not empty.
    """

    name: str
    back: str
    confirmation: Callable[[Snapshot, Form], Confirmation]
    run: Callable[..., Outcome]
    limits: Limits = CHANGE
    per_target: bool = False
    kind: str = ""


def _unstamped(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "based_on": None}


def _run_policy(console: Console, form: Form, order: dict[str, Any]) -> Outcome:
    return console.set_policy(value_of(form, POLICIES), **order)


def _run_reconnect(console: Console, form: Form, order: dict[str, Any]) -> Outcome:
    return console.set_on_reconnect(value_of(form, RECONNECTS), **order)


def _run_clear(console: Console, form: Any, order: dict[str, Any]) -> Outcome:
    return console.clear_blacklist(attributes_of(form), **_unstamped(order))


def _run_drain(console: Console, form: Form, order: dict[str, Any]) -> Outcome:
    # Whether the id had to be typed, and was, has been looked at before.
    force = form.get("word", "").strip() == form["node"]
    return console.drain(form["node"], **order, force=force)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action(
            name="policy",
            back="policy/",
            confirmation=policy_confirmation,
            run=_run_policy,
            kind="policy_changed",
        ),
        Action(
            name="on_reconnect",
            back="policy/",
            confirmation=reconnect_confirmation,
            run=_run_reconnect,
            kind="on_reconnect_changed",
        ),
        Action(
            name="stop",
            back="",
            confirmation=stop_confirmation,
            run=lambda console, _form, order: console.stop(**order),
            kind="distribution_changed",
        ),
        Action(
            name="resume",
            back="",
            confirmation=resume_confirmation,
            run=lambda console, _form, order: console.resume(**order),
            kind="distribution_changed",
        ),
        Action(
            name="drain",
            back="nodes/",
            confirmation=drain_confirmation,
            run=_run_drain,
        ),
        Action(
            name="undrain",
            back="nodes/",
            confirmation=undrain_confirmation,
            run=lambda console, form, order: console.undrain(form["node"], **order),
        ),
        Action(
            name="probe",
            back="nodes/",
            confirmation=probe_confirmation,
            run=lambda console, form, order: console.probe(form["node"], **_unstamped(order)),
            per_target=True,
        ),
        Action(
            name="reset",
            back="nodes/",
            confirmation=reset_confirmation,
            run=lambda console, form, order: console.reset_circuit(
                form["node"], **_unstamped(order)
            ),
            per_target=True,
        ),
        Action(
            name="silence",
            back="",
            confirmation=silence_confirmation,
            run=lambda console, form, order: console.silence(
                node_of(form), hours_of(form) * 3600.0, **_unstamped(order)
            ),
        ),
        Action(
            name="unsilence",
            back="",
            confirmation=unsilence_confirmation,
            run=lambda console, form, order: console.unsilence(node_of(form), **_unstamped(order)),
        ),
        Action(
            name="clear",
            back="blacklist/",
            confirmation=clear_confirmation,
            run=_run_clear,
            limits=SMALL,
        ),
        Action(
            name="pin",
            back="blacklist/",
            confirmation=pin_confirmation,
            run=lambda console, form, order: console.pin(
                attributes_of(form)[0], **_unstamped(order)
            ),
            limits=SMALL,
        ),
        Action(
            name="unpin",
            back="blacklist/",
            confirmation=unpin_confirmation,
            run=lambda console, form, order: console.unpin(
                attributes_of(form)[0], **_unstamped(order)
            ),
            limits=SMALL,
        ),
        Action(
            name="forget",
            back="workers/",
            confirmation=forget_confirmation,
            run=lambda console, form, order: console.forget_worker(
                form["worker"], **_unstamped(order)
            ),
            limits=SMALL,
        ),
    )
}
