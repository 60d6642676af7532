"""What holds for the whole fleet: which nodes are trusted, which are drained.

Facts about a node stand under ``<fact>:<node id>`` in one shared map:

* ``known``: the node has been given this map.
* ``identity``: what was read there, see ``node_identity.py``. When it shows something else it lost
  its memory (restart, flush), or another memory answers: any worker may notice it, at any time.
* ``missed`` and ``rebuilt``: see ``cluster/trust.py``; their stamps are what counts.
* ``filled``: until this stamp the node has got what others hold, while some worker went on missing
  it: a second copy of each session, and no reason to trust it.
* ``lost``: when that was noticed; every host hands over what it has of the node's sessions.
* ``drain``: an operator's order, ``draining`` or ``drained``.

What operators chose at run time stands under ``choice:<name>``: it holds until it is taken back,
and takes the place of what is configured. The lines that tell of it, for the log of every host,
stand under ``audit:<any name>``.
"""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.record.hybrid_clock import milliseconds

from .facts import Facts, facts_in
from .shared_map import Bounds, SharedMap
from .trust import SyncStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.record.attributes import Entry


KEY_SUFFIX = "fleet:control"
#: What operators may choose: names of choices, or what the names of several begin with.
POLICY, ON_RECONNECT, PIN, CLEAR = "policy", "on_reconnect", "pin:", "clear:"
#: What is silenced, by node; the value is until when, in seconds since the epoch.
SILENCE = "silence:"
#: The choice that stops distribution, and its values.
DISTRIBUTION, STOPPED, RUNNING = "distribution", "stopped", "running"
#: Longest text that is taken from an entry, characters.
MAX_TEXT = 200
#: So many lines for the audit log are shared, of at most so many characters.
ANNOUNCED, MAX_LINE = 16, 500

_KNOWN, _MISSED, _REBUILT, _DRAIN, _LOST = "known:", "missed:", "rebuilt:", "drain:", "lost:"
_IDENTITY, _FILLED = "identity:", "filled:"
_FACTS = (_KNOWN, _IDENTITY, _MISSED, _REBUILT, _FILLED, _DRAIN, _LOST)
_CHOICE, _AUDIT = "choice:", "audit:"


def rank(name: str) -> int:
    """Return how much a name of the map is worth when a node is too small for all of them.

    First the facts of nodes, then what was chosen for the fleet, then for single attributes.
    """
    if name.startswith(_FACTS):
        return 3
    if name.startswith(_CHOICE):
        return 2 if name.count(":") == 1 else 1
    return 0


BOUNDS = Bounds(rank=rank)


class Choice(NamedTuple):
    """What an operator chose at run time, or ordered for a node.

    Attributes:
        value: What was chosen; ``None`` when it was taken back, or never was.
        stamp: When, as a stamp; 0 when it was never chosen.
        at: When, seconds since the epoch.
    """

    value: str | None = None
    stamp: int = 0
    at: float = 0.0
    who: str = ""
    why: str = ""


class Control:
    """The facts of the fleet as this worker knows them.

    Args:
        worker: Returns the name of this worker, kept with what it sets.
    """

    def __init__(self, shared: SharedMap, *, worker: Callable[[], str]) -> None:
        self.shared = shared
        self._worker = worker

    def standing(self, node_id: str) -> SyncStatus:
        """Return what the fleet knows of the node."""
        return SyncStatus(
            self.shared.stamp(_MISSED + node_id), self.shared.stamp(_REBUILT + node_id)
        )

    def identity(self, node_id: str) -> str | None:
        """Return what the fleet read on the node, ``None`` when nothing is noted."""
        _, raw = self.shared.entry(_IDENTITY + node_id)
        return facts_in(raw).text("shown")

    def drain(self, node_id: str) -> Choice:
        """Return ``draining``, ``drained`` or ``None``, as it was ordered last."""
        drain = _choice(self.shared.entry(_DRAIN + node_id))
        return drain if drain.value in ("draining", "drained") else drain._replace(value=None)

    def drains(self) -> dict[str, str]:
        """Return ``draining`` or ``drained`` by node id."""
        found = {node_id: self.drain(node_id).value for node_id in self.shared.values(_DRAIN)}
        return {node_id: value for node_id, value in found.items() if value}

    def set_missed(self, node_id: str, why: str) -> None:
        """Record that the node lacks something, above every stamp of a rebuild so far."""
        above = self.shared.stamp(_REBUILT + node_id)
        self.shared.put(_MISSED + node_id, self._entry(why=why), above=above)

    def set_rebuilt(self, node_id: str, began: int) -> None:
        """Record that the node has all that was written before the stamp *began*."""
        self.shared.put(_REBUILT + node_id, self._entry(), stamp=began)

    def filled(self, node_id: str) -> int:
        """Return until when the node got what others hold, as a stamp; 0 for never."""
        return self.shared.stamp(_FILLED + node_id)

    def set_filled(self, node_id: str, began: int) -> None:
        """Record that the node got what others held at the stamp *began*."""
        self.shared.put(_FILLED + node_id, self._entry(), stamp=began)

    def set_drain(self, node_id: str, value: str | None, *, who: str, why: str) -> None:
        """Record that the node is ``draining``, ``drained`` or, with ``None``, in use."""
        entry = None if value is None else self._entry(value=value, who=who, why=why)
        self.shared.put(_DRAIN + node_id, entry)

    def set_drained(self, node_id: str, *, ordered: int) -> bool:
        """Record that a drain is complete; return whether that was so.

        An operator may have given another order while the node was copied: that one holds. The
        stamp *ordered* is that of the order that was carried out.
        """
        entry = self._entry(value="drained", who="drain", why="all copied")
        return self.shared.replace(_DRAIN + node_id, entry, stamp=ordered)

    def choice(self, name: str) -> Choice:
        """Return what was chosen for *name* at run time."""
        return _choice(self.shared.entry(_CHOICE + name))

    def choose(self, name: str, value: str | None, *, who: str, why: str) -> int:
        """Choose *value* for *name*; ``None`` goes back to the configuration. Return its stamp."""
        facts = (
            {"who": who, "why": why} if value is None else {"value": value, "who": who, "why": why}
        )
        return self.shared.put(_CHOICE + name, self._entry(**facts))

    def remove_choice(self, name: str) -> int:
        """Remove *name* with the reason for it; return the stamp of that."""
        return self.shared.put(_CHOICE + name, None)

    def choices(self, prefix: str) -> dict[str, Choice]:
        """Return the choices whose name begins with *prefix*, which is cut off."""
        whole = _CHOICE + prefix
        return {
            name[len(whole) :]: _choice(entry)
            for name, entry in self.shared.attributes.entries.items()
            if name.startswith(whole)
        }

    def newest_order(self) -> int:
        """Return the stamp of the last choice or order of an operator; 0 for none."""
        entries = self.shared.attributes.entries.items()
        ours = (stamp for name, (stamp, _) in entries if name.startswith((_CHOICE, _DRAIN)))
        return max(ours, default=0)

    def announce(self, line: str, event: Mapping[str, str | None] | None = None) -> str:
        """Share *line* for the audit log of every host; return its name, a hexadecimal number.

        An *event* is shared with it where no worker has it: a command line made it.
        """
        number = secrets.randbits(31)
        name, facts = f"{_AUDIT}{number:08x}", dict[str, object](line=line[:MAX_LINE])
        if event:
            known = {key: text[:MAX_LINE] for key, text in event.items() if text}
            facts["event"] = {"id": number, **known}
        self.shared.put(name, json.dumps(facts).encode())
        lines = [(stamp, old) for old, (stamp, _) in self.shared.values(_AUDIT).items()]
        for _, old in sorted(lines)[:-ANNOUNCED]:
            self.shared.put(_AUDIT + old, None)
        return name.removeprefix(_AUDIT)

    def announced(self) -> dict[str, tuple[int, str]]:
        """Return the lines for the audit log and their stamps, by name."""
        return {
            name: (stamp, facts_in(raw).line("line", MAX_LINE))
            for name, (stamp, raw) in self.shared.values(_AUDIT).items()
        }

    def events(self) -> list[tuple[float, Facts]]:
        """Return the events of command lines: when they happened, and what."""
        return [
            (milliseconds(stamp) / 1000, event)
            for stamp, raw in self.shared.values(_AUDIT).values()
            if (event := facts_in(raw).section("event"))
        ]

    def lost(self) -> dict[str, int]:
        """Return by node id when it was last noticed that it had lost its memory, as a stamp."""
        return {node_id: stamp for node_id, (stamp, _) in self.shared.values(_LOST).items()}

    def empty(self) -> set[str]:
        """Return the ids of nodes that lost their memory and were not rebuilt since."""
        lost = self.lost().items()
        return {node_id for node_id, at in lost if self.standing(node_id).rebuilt <= at}

    def note_found(
        self, found: Mapping[str, bool], identities: Mapping[str, str | None]
    ) -> set[str]:
        """Take note of what nodes show; return those that lost their memory.

        Call it when all nodes were asked and before any is written: only then does a worker that
        has just started know from the others what a node has shown before. A node for which no
        identity is noted (at the first start, after an upgrade) is noted as it is; it kept its
        memory if it had the map: *found* says so for the nodes that answered.
        """
        lost = set()
        begun = bool(self.shared.values(_KNOWN))
        for node_id, had_it in found.items():
            known = bool(self.shared.stamp(_KNOWN + node_id))
            noted, shown = self.identity(node_id), identities.get(node_id)
            kept = shown == noted if noted and shown else had_it or not known
            if shown and shown != noted:
                self.shared.put(_IDENTITY + node_id, self._entry(shown=shown))
            if not kept:
                self.set_missed(node_id, "lost its memory")
                # Of the same stamp, so that the rebuild that answers the miss is above the loss.
                missed = self.standing(node_id).missed
                self.shared.put(_LOST + node_id, self._entry(), stamp=missed)
                lost.add(node_id)
            elif not known:
                self.shared.put(_KNOWN + node_id, self._entry())
                if begun:
                    self.set_missed(node_id, "is new")
        return lost

    def _entry(self, **facts: str) -> bytes:
        return json.dumps({"by": self._worker(), **facts}, ensure_ascii=True).encode()


# In every tick the same ones are read again, and commands leave hundreds.
@lru_cache(1024)
def _choice(entry: Entry) -> Choice:
    stamp, raw = entry
    facts = facts_in(raw)
    return Choice(
        facts.line("value", MAX_TEXT) or None,
        stamp,
        milliseconds(stamp) / 1000,
        facts.line("who", MAX_TEXT),
        facts.line("why", MAX_TEXT),
    )
