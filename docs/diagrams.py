"""The tables and diagrams of states, made from the code: ``python docs/diagrams.py``."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.health import TRANSITIONS, NodeState, Permissions, Signal, rights
from flask_msm.cluster.mode import MODE_TRANSITIONS, Mode, ModeSignal


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


NODE = """\
### States of a node

How one worker sees one node. An operator's word is laid over it: a node that answers is shown as
*draining*, then as *drained*.
"""

RIGHTS = """\
### What may be done with a node

A node is *in sync* (*trusted*) when it has missed no write since its last completed refill.
"""

MODE = """\
### States of a worker

Where a worker keeps sessions. A cluster that lacks a node is still *distributed*.
"""

SIGNALS = {
    Signal.ANSWERED: "an operation of a request succeeded",
    Signal.SOFT_FAILURE: "a time-out, below `MSM_FAILURE_THRESHOLD`",
    Signal.LOST: "a refused or broken connection, or `MSM_FAILURE_THRESHOLD` time-outs in a row",
    Signal.SEEN: "a good probe, below `MSM_RECOVERY_THRESHOLD`",
    Signal.RECOVERED: "`MSM_RECOVERY_THRESHOLD` good probes in a row",
}


def page() -> str:
    """Return the page."""
    node_signals = {signal.value: text for signal, text in SIGNALS.items()}
    parts = [
        NODE,
        _table(("signal", "what happened"), node_signals.items()),
        _transitions(TRANSITIONS, Signal),
        _diagram(TRANSITIONS, NodeState.UP),
        RIGHTS,
        _rights(),
        MODE,
        _transitions(MODE_TRANSITIONS, ModeSignal),
        _diagram(MODE_TRANSITIONS, Mode.DISTRIBUTED),
    ]
    return "\n".join(parts)


def _transitions(rows: Mapping[Any, Mapping[Any, Enum]], signals: Iterable[Enum]) -> str:
    """Return one row for each state; what stays as it is is a dash."""
    columns = list(signals)
    return _table(
        ("state", *(signal.value for signal in columns)),
        (
            (
                f"**{state.value}**",
                *("-" if row[signal] is state else row[signal].value for signal in columns),
            )
            for state, row in rows.items()
        ),
    )


def _diagram(rows: Mapping[Any, Mapping[Any, Enum]], first: Enum) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    for state, row in rows.items():
        by_target: dict[str, list[str]] = {}
        for signal, target in row.items():
            if target is not state:
                by_target.setdefault(target.value, []).append(signal.value)
        lines += [
            f"    {state.value} --> {target}: {', '.join(names)}"
            for target, names in by_target.items()
        ]
    return "\n".join([*lines, "```", ""])


def _rights() -> str:
    found = []
    for state in NodeState:
        for trusted in (True, False):
            name = state.value
            if state is NodeState.UP:
                name += ", trusted" if trusted else ", not trusted"
            row = (name, *("yes" if right else "no" for right in rights(state, trusted=trusted)))
            if row not in found:
                found.append(row)
    titles = {"alone": "read alone", "joined": "read joined", "missing": 'may say "missing"'}
    return _table(("node", *(titles.get(name, name) for name in Permissions._fields)), found)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
