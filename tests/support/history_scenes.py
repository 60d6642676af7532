"""A console whose last day had something to show."""

from __future__ import annotations

from support.fake_console import FakeConsole
from support.fleet_scenes import node_down


STEP = 300
KNOWN = {"workers": 8, "of": 8}


def eventful(scene=node_down):
    """Return a console whose last day had an outage, changes, losses and a gap."""
    console = FakeConsole(scene())
    now, losses = console.view().at, console.snapshot.lost
    lost = {60: 4, 1: losses.lost if losses and losses.too_many else 0}
    for steps in range(1, 280):
        if 100 < steps < 110:
            continue
        slot = int(now // STEP - steps) * STEP
        classes = [0, 30, 40, steps % 7, steps % 3, steps % 2] + [0] * 8
        counts = {"classes": classes, "hits": 1000, "misses": steps % 9, "kept": 0}
        console.book.add_point("day", slot, 8, {**counts, **KNOWN, "lost": lost.get(steps, 0)})
    for node in console.snapshot.nodes:
        console.book.add(now - 90_000, "state", node.id, {"node": node.id, "state": "up"})
    down = now - 60 * STEP
    for at, state in ((down, "down"), (down + 1024, "filling"), (down + 1100, "up")):
        console.book.add(at, "state", "n1", {"node": "n1", "state": state})
    gone = [(down, "n1")]
    gone += [(one.since, one.id) for one in console.snapshot.nodes if one.state == "down"]
    for at, node in gone:
        text = f"{node} is down, was up (NodeUnreachableError: connection refused)"
        seen = {"kind": "node_down", "level": "error", "node": node, "text": text}
        console.book.add(at, "event", text, seen)
    for hours, text in ((20, "n2 is being drained"), (5, "policy: raise -> blacklist")):
        change = {"kind": "k", "text": text, "who": "ops", "why": "ticket 812"}
        console.book.add(now - hours * 3600, "change", text, change)
    return console
