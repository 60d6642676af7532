"""The attributes of a session as a map that can be joined.

``join`` answers every conflict the same way: two parallel requests, a node that returns with old
data, changes made on both sides of an outage. It is commutative, associative and idempotent, so
it does not matter where, in which order or how often maps are joined.

Rules, for one name:

1. The higher stamp wins. A removal is an entry like any other (its value is ``None``).
2. On a tie a removal wins, else the greater bytes.
3. Weak entries are a map of their own. They show only where nothing ordinary is: there is no entry,
   or it was removed before.
4. An entry at or below ``floor`` is dead, also a weak one of such a moment: removals that old were
   forgotten to bound the record, and nothing that old may come back.
"""

from __future__ import annotations

from typing import NamedTuple

from .hybrid_clock import ordinary
from .hybrid_clock import weak as as_weak


#: stamp and encoded value; ``None`` stands for "removed".
Entry = tuple[int, "bytes | None"]
Entries = dict[str, Entry]

#: How many removals a record carries before the older half is folded into ``floor``.
MAX_REMOVALS = 256


class Attributes(NamedTuple):
    """A join-able map of names. Treat the dictionaries as immutable.

    Attributes:
        entries: Ordinary entries by name.
        weak: Weak entries by name, with negative stamps.
        floor: Highest stamp of the removals that were folded away, 0 for none.
    """

    entries: Entries
    weak: Entries
    floor: int

    def alive(self) -> dict[str, bytes]:
        """Return what an application sees: encoded values by name."""
        values = {name: entry[1] for name, entry in self.entries.items() if entry[1] is not None}
        for name in self.weak:
            stamp, value = self.weak[name]
            if value is not None and self.is_gap(name, stamp):
                values[name] = value
        return values

    def guesses(self) -> set[str]:
        """Return the names that only a weak entry is known of."""
        return {name for name, (stamp, _) in self.weak.items() if self.is_gap(name, stamp)}

    def is_gap(self, name: str, stamp: int) -> bool:
        """Return whether there was nothing under *name* at a weak *stamp*, nor is there now."""
        entry = self.entries.get(name)
        return entry is None or (entry[1] is None and entry[0] < ordinary(stamp))

    def oldest(self) -> int:
        """Return the lowest stamp of all entries as an ordinary one, 0 without any."""
        stamps = [stamp for stamp, _ in self.entries.values()]
        return min([*stamps, *(ordinary(stamp) for stamp, _ in self.weak.values())], default=0)

    def largest(self) -> str:
        """Return the name of the attribute that takes most room, empty without any."""
        values = self.alive()
        return max(values, key=lambda name: len(values[name]), default="")


NOTHING = Attributes({}, {}, 0)


def written_until(attributes: Attributes, stamp: int) -> Attributes:
    """Return *attributes* without what was written after *stamp*."""
    entries = {name: entry for name, entry in attributes.entries.items() if entry[0] <= stamp}
    weak = {name: entry for name, entry in attributes.weak.items() if ordinary(entry[0]) <= stamp}
    return attributes._replace(entries=entries, weak=weak)


def join(one: Attributes, other: Attributes) -> Attributes:
    """Return the least map that knows all that *one* and *other* know."""
    if one == other:
        return one
    floor = max(one.floor, other.floor)
    entries = _join_entries(one.entries, other.entries)
    weak = _join_entries(one.weak, other.weak) if one.weak or other.weak else one.weak
    if floor:
        entries = {name: entry for name, entry in entries.items() if entry[0] > floor}
        weak = {name: entry for name, entry in weak.items() if ordinary(entry[0]) > floor}
    return Attributes(entries, weak, floor)


def _join_entries(one: Entries, other: Entries) -> Entries:
    if not one or not other:
        return one or other
    joined = dict(one)
    for name, entry in other.items():
        mine = joined.get(name)
        if mine is None or _wins(entry, mine):
            joined[name] = entry
    return joined


def _wins(entry: Entry, over: Entry) -> bool:
    if entry[0] != over[0]:
        return entry[0] > over[0]
    if entry[1] is None or over[1] is None:
        return entry[1] is None
    return entry[1] > over[1]


def write(
    base: Attributes,
    changes: dict[str, bytes | None],
    stamp: int,
    weak_stamp: int,
    weak: set[str],
    *,
    now: int | None = None,
) -> Attributes:
    """Return *base* with *changes* made at *stamp*.

    *stamp* is above every stamp in *base*, *weak_stamp* the same moment as a weak stamp. A change
    of the names in *weak* may only fill a gap; ``None`` removes. See ``compact`` for *now*.
    """
    if not changes:
        return base
    entries, gaps = dict(base.entries), dict(base.weak)
    for name, value in changes.items():
        if name in weak:
            gaps[name] = weak_stamp, value
        else:
            entries[name] = stamp, value
            gaps.pop(name, None)
    # Without a call for its names: every change of a session comes by.
    written = tuple.__new__(Attributes, (entries, gaps, base.floor))
    return compact(written, now=now) if len(entries) > MAX_REMOVALS else written


def compact(
    attributes: Attributes, limit: int = MAX_REMOVALS, *, now: int | None = None
) -> Attributes:
    """Fold the older half of the removals into ``floor`` when there are more than *limit*.

    What lives at or below the new floor is lifted just above it, as if written then: a change so
    much newer than *limit* / 2 removals that it was not seen yet still wins.

    Removals after *now* (a stamp), of a clock that is ahead, are not folded: what others write in
    the meantime would be below the floor.
    """
    removed = sorted(stamp for stamp, value in attributes.entries.values() if value is None)
    if len(removed) <= limit:
        return attributes
    floor = removed[len(removed) // 2]
    if now is not None and floor > now:
        past = [stamp for stamp in removed if stamp <= now]
        if not past:
            return attributes
        floor = past[-1]
    entries = {
        name: (max(stamp, floor + 1), value)
        for name, (stamp, value) in attributes.entries.items()
        if value is not None or stamp > floor
    }
    weak = {
        name: (max(stamp, as_weak(floor + 1)), value)
        for name, (stamp, value) in attributes.weak.items()
        if ordinary(stamp) > floor or (value is not None and attributes.is_gap(name, stamp))
    }
    return Attributes(entries, weak, floor)
