"""What a shared map holds, and how it is joined, folded and cut. Pure.

Entries are those of a session (``record/attributes.py``), with another meaning of ``floor``: *a
name that is not in the map counts as removed at the floor*. So removals can be forgotten while
what lives keeps its stamp, however old it is, and a node that still holds what was removed does
not bring it back.

For each name the higher stamp wins, whether the name is in the map or counts as removed at the
floor; of two floors the higher one holds. Each is a maximum, so ``join`` is commutative,
associative and idempotent. Folding removals raises the floor, and a name that only another worker
knows, set before the floor, is lost: so only removals are folded that are older than any news.

What exceeds the bounds of a map is cut by a fixed order, so workers with the same map cut the same,
in whichever order they learned it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from flask_msm.record.attributes import Attributes


if TYPE_CHECKING:
    from flask_msm.record.attributes import Entry


#: What a sealed map takes beside its entries, and each entry beside its name and value, bytes.
BASE, AROUND = 128, 20

Rank = Callable[[str], int]


def join(one: Attributes, other: Attributes) -> Attributes:
    """Return the least map that knows all that *one* and *other* know; *one* itself if it does."""
    if one == other:
        return one
    floor = max(one.floor, other.floor)
    not_in_one, not_in_other, removed = (one.floor, None), (other.floor, None), (floor, None)
    entries = {}
    for name in {**one.entries, **other.entries}:
        mine = one.entries.get(name, not_in_one)
        theirs = other.entries.get(name, not_in_other)
        # Nearly all entries are the same, or one is newer: they are compared without a call.
        if mine[0] == theirs[0] and mine != theirs:
            entry = _later(mine, theirs)
        else:
            entry = mine if mine[0] >= theirs[0] else theirs
        if entry != removed:
            entries[name] = entry
    return one if entries == one.entries and floor == one.floor else Attributes(entries, {}, floor)


def put(attributes: Attributes, name: str, entry: Entry) -> Attributes:
    """Return the join of *attributes* with one entry; faster than ``join``."""
    there = attributes.entries.get(name, (attributes.floor, None))
    if _later(there, entry) == there:
        return attributes
    entries = {**attributes.entries, name: entry}
    if entry == (attributes.floor, None):
        del entries[name]
    return attributes._replace(entries=entries)


def _later(one: Entry, other: Entry) -> Entry:
    """Return which of two entries of a name counts: on a tie a removal, else the greater bytes."""
    if one[0] != other[0]:
        return one if one[0] > other[0] else other
    if one[1] is None or other[1] is None:
        return one if one[1] is None else other
    return max(one, other)


def fold(attributes: Attributes, most: int, before: int) -> Attributes:
    """Return *attributes* without the older half of the removals if there are more than *most*.

    Only removals before the stamp *before* are forgotten, even if there are too many.
    """
    removed = [stamp for stamp, value in attributes.entries.values() if value is None]
    if len(removed) <= most:
        return attributes
    removed.sort()
    old = [stamp for stamp in removed[: len(removed) - most // 2] if stamp < before]
    return _forget(attributes, old[-1]) if old else attributes


def newest(attributes: Attributes, count: int) -> Attributes:
    """Return *attributes* with the *count* newest names only."""
    entries = attributes.entries
    if len(entries) <= count:
        return attributes
    names = sorted(entries, key=lambda name: (entries[name][0], name))
    names = names[len(names) - count :]
    return attributes._replace(entries={name: entries[name] for name in names})


def fitted(
    attributes: Attributes,
    limit: int,
    rank: Rank,
    size: Callable[[Attributes], int],
    before: int,
) -> tuple[Attributes, int]:
    """Return *attributes*, cut to *limit* bytes when sealed, and how many names that live were cut.

    Old removals (before the stamp *before*) go first, then what has the lowest rank, and in both
    the oldest. A young removal counts like a name that lives, and raises no floor: what another
    worker has set and not written to a node yet would be lost. An older entry that it removed is
    worth no more, so it is cut as well.
    """
    if at_most(attributes) <= limit or size(attributes) <= limit:
        return attributes, 0
    entries = attributes.entries
    old = {name for name, (stamp, value) in entries.items() if value is None and stamp < before}
    order = sorted(
        entries,
        key=lambda name: (name not in old, name not in old and rank(name), entries[name][0], name),
    )
    too_few, enough = 0, len(order)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if size(_without(attributes, order, middle, old)) <= limit:
            enough = middle
        else:
            too_few = middle
    cut = sum(entries[name][1] is not None for name in order[:enough])
    return _without(attributes, order, enough, old), cut


def at_most(attributes: Attributes) -> int:
    """Return what a map takes at most when it is sealed, bytes, without looking closely."""
    size = BASE
    for name, (_, value) in attributes.entries.items():
        size += len(name.encode("utf-8", "surrogatepass")) + len(value or b"") + AROUND
    return size


def _without(
    attributes: Attributes, order: list[str], count: int, old: Collection[str]
) -> Attributes:
    """Return *attributes* without the first *count* names of *order*, and in that order.

    The floor stands for removals that are *old*.
    """
    entries = attributes.entries
    removed = [entries[name][0] for name in order[:count] if name in old]
    kept = Attributes({name: entries[name] for name in order[count:]}, {}, attributes.floor)
    return _forget(kept, max(removed, default=0))


def _forget(attributes: Attributes, floor: int) -> Attributes:
    """Return *attributes* without the removals up to *floor*."""
    if floor <= attributes.floor:
        return attributes
    entries = {
        name: entry
        for name, entry in attributes.entries.items()
        if entry[1] is not None or entry[0] > floor
    }
    return Attributes(entries, {}, floor)
