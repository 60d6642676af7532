"""What an operator is told before something is done, and what has to be filled in for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.errors import CommandError

from .formatting import cut, number, percent
from .policies import POLICIES, RECONNECTS, consequence, policy_name
from .presenters import facts
from .texts import _, listed, plural


if TYPE_CHECKING:
    from flask_msm.snapshot import Node, Snapshot


#: Most attributes of one request.
_MOST_ATTRIBUTES = 200
#: From this share of all items on, taking a node out needs its id typed.
_LARGE_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What is shown before something is done.

    Attributes:
        title: What will be done, as a question.
        points: What follows from it.
        submit: Words on the button.
        word: What has to be typed, if anything.
        danger: Whether the button is red.
        reason: Whether a reason is asked for.
        stamp: What the operator saw; ``None`` when the command does not look at it.
        hidden: More fields of the form.
    """

    title: str
    points: list[str]
    submit: str
    word: str | None = None
    danger: bool = False
    reason: bool = True
    stamp: str | None = None
    hidden: tuple[tuple[str, str], ...] = ()


Form = Mapping[str, Any]


def reach(snapshot: Snapshot) -> str:
    """Return in words who a change reaches, said before it is made."""
    observer = snapshot.observer
    where = observer.app
    workers = facts.workers_text(len(facts.living(snapshot)))
    env = observer.environment or _("an environment without a name")
    if snapshot.nodes and not facts.answering(snapshot):
        return _(
            "No node answers: only workers of host {host} hear of it now ({workers} of {app} in"
            " {env}). The others hear of it when a node is back.",
            host=observer.host,
            workers=workers,
            app=where,
            env=env,
        )
    if observer.complete:
        return _(
            "{workers} of {app} in {env} take it over within seconds.",
            workers=workers,
            app=where,
            env=env,
        )
    return _(
        "All workers of {app} in {env} take it over within seconds, {workers} can be seen.",
        workers=workers,
        app=where,
        env=env,
    )


def value_of(form: Form, allowed: tuple[str, ...]) -> str | None:
    """Return the choice of a form; ``None`` for what is configured."""
    value = form.get("value", "")
    if value == "configured":
        return None
    if value not in allowed:
        raise CommandError(_("Choose one of: {names}.", names=", ".join(allowed)))
    return str(value)


def find_node(snapshot: Snapshot, form: Form) -> Node:
    """Return the node a form names."""
    for node in snapshot.nodes:
        if node.id == form.get("node"):
            return node
    raise CommandError(_("There is no such node."))


def attributes_of(form: Any) -> list[str]:
    """Return the names of attributes a form carries, exactly as they are.

    They travel as JSON: browsers change line ends and drop characters in plain fields.
    """
    texts = form.getlist("attribute")
    if not texts or len(texts) > _MOST_ATTRIBUTES:
        raise CommandError(_("Choose at least one attribute."))
    try:
        names = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        names = [None]
    if not all(isinstance(name, str) for name in names):
        raise CommandError(_("That is no name of an attribute."))
    return names


def policy_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from a choice of policy."""
    value, choice = value_of(form, POLICIES), snapshot.policy
    to = value or choice.configured
    points = [consequence(to)]
    if to == "stop":
        points = [
            _(
                "Nothing stops now. The first attribute that cannot be serialized stops"
                " distribution for all workers until somebody resumes."
            )
        ]
    if value is None:
        points.append(_("This goes back to what the configuration of each worker says."))
    return Review(
        title=_("Change from {old} to {new}?", old=policy_name(choice.value), new=policy_name(to)),
        points=[*points, reach(snapshot)],
        submit=_("Change to {new}", new=policy_name(to)),
        word="stop" if to == "stop" else None,
        danger=to == "stop",
        stamp=choice.stamp,
        hidden=(("value", value or "configured"),),
    )


def reconnect_review(snapshot: Snapshot, form: Form) -> Review:
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
    return Review(
        title=_("Change from {old} to {new}?", old=policy_name(choice.value), new=policy_name(to)),
        points=[point, reach(snapshot)],
        submit=_("Change to {new}", new=policy_name(to)),
        word="discard" if to == "discard" else None,
        danger=to == "discard",
        stamp=choice.stamp,
        hidden=(("value", value or "configured"),),
    )


def stop_review(snapshot: Snapshot, _form: Form) -> Review:
    """Return what follows from stopping distribution."""
    return Review(
        title=_("Stop distribution?"),
        points=[
            _(
                "At once, all workers stop reading and writing sessions in memcached, until"
                " somebody starts distribution again. Use it only to protect the nodes."
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


def resume_review(snapshot: Snapshot, _form: Form) -> Review:
    """Return what follows from starting distribution again."""
    joined = (
        _("What was changed locally meanwhile is joined into the cluster.")
        if snapshot.on_reconnect.value == "promote"
        else _("What was changed locally meanwhile is dropped (on-reconnect is discard).")
    )
    return Review(
        title=_("Start distribution again?"),
        points=[
            _("All workers read and write sessions in memcached again, as far as nodes answer."),
            joined,
            reach(snapshot),
        ],
        submit=_("Start distribution"),
        stamp=snapshot.distribution.stamp,
    )


def drain_review(snapshot: Snapshot, form: Form) -> Review:
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
    return Review(
        title=_("Take {id} out of use?", id=node.id),
        points=[*points, _("No user is signed out."), reach(snapshot)],
        submit=_("Drain {id}", id=node.id),
        word=node.id if large else None,
        danger=large,
        stamp=node.stamp,
        hidden=(("node", node.id),),
    )


def _share(snapshot: Snapshot, node: Node) -> float | None:
    items = [n.stats.items if n.stats else None for n in snapshot.nodes]
    known = [n for n in items if n is not None]
    if node.stats is None or node.stats.items is None or not sum(known):
        return None
    return node.stats.items / sum(known)


def undrain_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from taking a node into use again."""
    node = find_node(snapshot, form)
    return Review(
        title=_("Take {id} into use again?", id=node.id),
        points=[
            _(
                "{id} is written again at once. It is filled from the other copies, and then"
                " trusted like the others.",
                id=node.id,
            ),
            reach(snapshot),
        ],
        submit=_("Restore {id}", id=node.id),
        stamp=node.stamp,
        hidden=(("node", node.id),),
    )


def probe_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from asking a node."""
    node = find_node(snapshot, form)
    return Review(
        title=_("Probe {id} now?", id=node.id),
        points=[_("This worker asks it once whether it answers. Nothing else changes.")],
        submit=_("Probe {id}", id=node.id),
        reason=False,
        hidden=(("node", node.id),),
    )


def reset_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from forgetting the failures of a node."""
    node = find_node(snapshot, form)
    return Review(
        title=_("Reset the circuit of {id}?", id=node.id),
        points=[
            _("This worker forgets {id}'s failures and asks it now.", id=node.id),
            _("If it does not answer, requests wait for it again until it counts as down."),
        ],
        submit=_("Reset and probe {id}", id=node.id),
        hidden=(("node", node.id),),
    )


def clear_review(_snapshot: Snapshot, form: Any) -> Review:
    """Return what follows from removing attributes from the blacklist."""
    names = attributes_of(form)
    quoted = listed([cut(name, 60) or "" for name in names], most=8)
    return Review(
        title=plural(
            len(names),
            "Remove {n} attribute from the blacklist?",
            "Remove {n} attributes from the blacklist?",
        ),
        points=[
            quoted,
            _(
                "What was counted is forgotten. An attribute that still cannot be serialized comes"
                " back with its next failure. Pins stay."
            ),
        ],
        submit=_("Remove from the blacklist"),
        reason=False,
        hidden=tuple(("attribute", json.dumps(name)) for name in names),
    )


def pin_review(snapshot: Snapshot, form: Any) -> Review:
    """Return what follows from pinning an attribute."""
    name = attributes_of(form)[0]
    return Review(
        title=_("Pin {name}?", name=cut(name, 60)),
        points=[
            _("It is stored as None from now on, without trying, also where it could be stored."),
            reach(snapshot),
        ],
        submit=_("Pin it"),
        danger=True,
        hidden=(("attribute", json.dumps(name)),),
    )


def unpin_review(snapshot: Snapshot, form: Any) -> Review:
    """Return what follows from unpinning an attribute."""
    name = attributes_of(form)[0]
    return Review(
        title=_("Unpin {name}?", name=cut(name, 60)),
        points=[_("It is stored again, where it can be."), reach(snapshot)],
        submit=_("Unpin it"),
        reason=False,
        hidden=(("attribute", json.dumps(name)),),
    )


def forget_review(snapshot: Snapshot, form: Form) -> Review:
    """Return what follows from forgetting a worker."""
    for worker in snapshot.workers:
        if worker.id == form.get("worker"):
            return Review(
                title=_("Forget {name}?", name=worker.id),
                points=[_("It is not shown any more. If it still lives, it comes back.")],
                submit=_("Forget it"),
                reason=False,
                hidden=(("worker", worker.id),),
            )
    raise CommandError(_("There is no such worker."))
