"""What the list of workers holds, put together once for each list.

Workers of a fleet announce nearly the same: so they are grouped by what matters of that, and a
question about all of them is one about a few groups.
"""

from __future__ import annotations

import json
from bisect import bisect
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from .facts import Facts, facts_in


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.record.attributes import Attributes


class Announced(NamedTuple):
    """What a group of workers announces alike.

    Attributes:
        layout: Nodes and number of copies, as JSON.
        reads: What they can read.
        sees: What they read on the nodes, ``None`` if they do not say.
        keeps: They have changes of an outage that nodes do not know.
    """

    layout: str
    reads: frozenset[str]
    sees: str | None
    keeps: bool


class Entry(NamedTuple):
    """What a worker announced, and the stamp of that.

    Attributes:
        beats: Its beats show whether it lives; else that its entry is renewed.
        earlier: It is of a version that knows nothing of beats.
        gone: When another worker found that it does not live, seconds since the epoch, or 0.0.
    """

    name: str
    stamp: int
    raw: bytes
    facts: Facts
    announced: Announced
    beats: bool
    earlier: bool
    gone: float


class Roster:
    """The workers in a list.

    Args:
        attributes: The list.
        before: What was made of the one before.

    Attributes:
        entries: All of them, by name.
        groups: Those that are not gone, by what they announce.
        renewed: Those that live as long as their entries are renewed.
        ring: Names of those that live as long as they beat, in the order in which they watch.
        gone: Those that were found to be gone.
    """

    def __init__(self, attributes: Attributes, before: Mapping[str, Entry]) -> None:
        self.attributes = attributes
        self.entries: dict[str, Entry] = {}
        self.groups: dict[Announced, list[Entry]] = {}
        self.renewed: list[Entry] = []
        self.gone: list[Entry] = []
        places: list[tuple[bytes, str]] = []
        for name, (stamp, raw) in attributes.entries.items():
            if raw is None:
                continue
            entry = before.get(name)
            if entry is None or entry.stamp != stamp or entry.raw != raw:
                entry = _entry(name, stamp, raw)
            self.entries[name] = entry
            if entry.gone:
                self.gone.append(entry)
                continue
            self.groups.setdefault(entry.announced, []).append(entry)
            if entry.beats:
                places.append(_place(name))
            else:
                self.renewed.append(entry)
        self._places = sorted(places)

    def after(self, name: str, count: int) -> list[Entry]:
        """Return the *count* workers that come behind *name* in the ring."""
        places = self._places
        begin = bisect(places, _place(name))
        others = [
            places[(begin + step) % len(places)][1] for step in range(min(count, len(places)))
        ]
        return [self.entries[other] for other in others if other != name]

    def before(self, name: str) -> str | None:
        """Return the worker that comes before *name* in the ring."""
        begin = bisect(self._places, _place(name))
        return self._places[begin - 1][1] if self._places else None


def _entry(name: str, stamp: int, raw: bytes) -> Entry:
    facts = facts_in(raw)
    announced = Announced(
        json.dumps(facts.value("layout")),
        frozenset(facts.texts("reads")),
        facts.text("sees", None),
        facts.boolean("keeps"),
    )
    beats = facts.value("beats")
    return Entry(
        name, stamp, raw, facts, announced, beats is True, beats is None, facts.time("gone")
    )


@lru_cache(8192)
def _place(name: str) -> tuple[bytes, str]:
    """Return where a worker stands: workers of one host, which end together, are far apart."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), name
