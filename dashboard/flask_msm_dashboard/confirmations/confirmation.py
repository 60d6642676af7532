"""What is shown before something is done, and whom it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.operations.state import facts
from flask_msm.operations.state.texts import _


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
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
    """Return in words which workers a change reaches, shown before it is made."""
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
