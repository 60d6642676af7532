"""What holds for the whole fleet: which nodes are trusted, which are drained.

Facts about a node stand under ``<fact>:<node id>`` in one shared map:

* ``known``: the node has been given this map. When it does not have it any more it lost its
  memory (restart, flush), whoever notices, and however late.
* ``missed`` and ``rebuilt``: see ``cluster/trust.py``; their stamps are what counts.
* ``drain``: an operator's word, ``draining`` or ``drained``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask_msm.cluster.trust import Standing

from .shared_map import SharedMap


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


KEY_SUFFIX = "fleet:control"

_KNOWN, _MISSED, _REBUILT, _DRAIN = "known:", "missed:", "rebuilt:", "drain:"
_FACTS = (_KNOWN, _MISSED, _REBUILT, _DRAIN)


class Control:
    """The facts of the fleet as this worker knows them.

    Args:
        shared: The map they stand in.
        worker: Returns the name of this worker, kept with what it sets.
    """

    def __init__(self, shared: SharedMap, *, worker: Callable[[], str]) -> None:
        self.shared = shared
        self._worker = worker

    def standing(self, node_id: str) -> Standing:
        """Return what the fleet says of the node."""
        return Standing(self.shared.stamp(_MISSED + node_id), self.shared.stamp(_REBUILT + node_id))

    def drains(self) -> dict[str, str]:
        """Return ``draining`` or ``drained`` by node id."""
        found = {}
        for node_id, (_, raw) in self.shared.values(_DRAIN).items():
            value = _parsed(raw).get("value")
            if value in ("draining", "drained"):
                found[node_id] = value
        return found

    def set_missed(self, node_id: str, why: str) -> None:
        """Say that the node lacks something: from now on, whatever other clocks say."""
        above = self.shared.stamp(_REBUILT + node_id)
        self.shared.put(_MISSED + node_id, self._entry(why=why), above=above)

    def set_rebuilt(self, node_id: str, began: int) -> None:
        """Say that the node has all that was written before the stamp *began*."""
        self.shared.put(_REBUILT + node_id, self._entry(), stamp=began)

    def set_drain(self, node_id: str, value: str | None, *, who: str, why: str) -> None:
        """Say that the node is ``draining``, ``drained`` or, with ``None``, in use."""
        entry = None if value is None else self._entry(value=value, who=who, why=why)
        self.shared.put(_DRAIN + node_id, entry)

    def forget(self, node_ids: Iterable[str]) -> None:
        """Remove what is known of nodes that do not exist any more."""
        gone = set(node_ids)
        for name in list(self.shared.attributes.entries):
            if name.startswith(_FACTS) and name.partition(":")[2] in gone:
                self.shared.put(name, None)

    def note_found(self, found: Mapping[str, bool]) -> set[str]:
        """Take note of which nodes had the map; return those that lost it.

        Call it when all nodes were asked and before any is written: only then does a worker that
        has just started know from the others that a node without the map once had it.

        Args:
            found: By node id, for the nodes that answered.
        """
        lost = set()
        begun = bool(self.shared.values(_KNOWN))
        for node_id, had_it in found.items():
            known = bool(self.shared.stamp(_KNOWN + node_id))
            if known and not had_it:
                self.set_missed(node_id, "lost its memory")
                lost.add(node_id)
            elif not known:
                self.shared.put(_KNOWN + node_id, self._entry())
                if begun:
                    self.set_missed(node_id, "is new")
        return lost

    def _entry(self, **facts: str) -> bytes:
        return json.dumps({"by": self._worker(), **facts}, ensure_ascii=True).encode()


def _parsed(raw: bytes) -> dict[str, object]:
    """Return what an entry says; the map is signed, but a newer version may write otherwise."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
