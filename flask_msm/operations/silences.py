"""Known outages that alerts do not tell of for a time: kept as choices in the control map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask_msm.cluster.control import SILENCE
from flask_msm.errors import CommandError, quoted

from .snapshot import Silence


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flask_msm.cluster.control import Choice, Control

    from .snapshot import Snapshot


#: Longest time in seconds, and longest note in characters.
MAX_SILENCE, MAX_NOTE = 7 * 86_400.0, 120
#: The name that stands for the whole fleet: no node has it.
FLEET = ""


def silences_of(
    choices: Mapping[str, Choice], nodes: Collection[str], now: float
) -> tuple[Silence, ...]:
    """Return what is silenced at *now*, seconds since the epoch; *choices* without the prefix."""
    found = []
    for name, choice in sorted(choices.items()):
        until = _until(choice)
        if (name == FLEET or name in nodes) and now < until <= now + MAX_SILENCE:
            found.append(
                Silence(
                    node=name or None,
                    until=until,
                    note=choice.why[:MAX_NOTE],
                    set_by=choice.who or None,
                    set_at=choice.at,
                    stamp=str(choice.stamp),
                )
            )
    return tuple(found)


def set_silence(
    control: Control, node: str | None, until: float, now: float, by: dict[str, str]
) -> int:
    """Silence a node or the fleet; return the stamp. What is over is forgotten."""
    for name, choice in control.choices(SILENCE).items():
        if choice.value and _until(choice) <= now:
            control.remove_choice(SILENCE + name)
    return control.choose(SILENCE + (node or FLEET), str(int(until)), **by)


def check_silence(seconds: float, note: str) -> None:
    """Refuse what is too long, or says nothing.

    Raises:
        CommandError: It does.
    """
    if not 0 < seconds <= MAX_SILENCE:
        raise CommandError("a silence lasts longer than 0 and at most 7 days")
    if not note.strip():
        raise CommandError("a silence needs a note for the next person")
    if len(note) > MAX_NOTE:
        raise CommandError(f"a note has at most {MAX_NOTE} characters, {quoted(note[:20])}... more")


def heard(snapshot: Snapshot) -> Snapshot | None:
    """Return *snapshot* without the nodes that are silenced; ``None`` if all of it is."""
    quiet = {silence.node for silence in snapshot.silences if silence.until > snapshot.at}
    if None in quiet:
        return None
    nodes = tuple(node for node in snapshot.nodes if node.id not in quiet)
    if snapshot.nodes and not nodes:
        return None
    conditions = tuple(one for one in snapshot.conditions if one.node not in quiet)
    return replace(snapshot, nodes=nodes, conditions=conditions)


def _until(choice: Choice) -> float:
    value = choice.value or ""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 12 else 0.0
