"""What copies hold: records, changes behind them, and how both are read."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple


DATA, ALIAS, DEAD = 0, 1, 2
#: A change that cannot be read: damaged, or only others have its key.
DAMAGED, STRANGE = "damaged", "strange"

#: Name, stamp, whether it was removed.
Entry = tuple[str, int, int]


class Record(NamedTuple):
    """A session; ``renewed`` stands for its times and for how long its item lives."""

    kind: int
    version: int
    renewed: int
    entries: tuple[Entry, ...]


class Change(NamedTuple):
    """What was appended; ``renewed`` is above 0 in a protocol with a bug only."""

    after: int
    version: int
    entries: tuple[Entry, ...]
    renewed: int = 0
    unreadable: str = ""


class Item(NamedTuple):
    """What one node holds; without a base that is corrupt. Equal items have equal tokens."""

    epoch: int
    base: Record | None
    changes: tuple[Change, ...] = ()


class Seen(NamedTuple):
    """What a reader makes of an item."""

    record: Record | None
    complete: bool
    strange: bool = False


@cache
def join(one: Record | None, other: Record | None) -> Any:
    """Return what knows all that both know; ``None`` if neither is a record."""
    if one is None or other is None or one == other:
        return one or other
    kind = max(one.kind, other.kind)
    best: dict[str, tuple[int, int]] = {}
    for name, stamp, removed in one.entries + other.entries if kind < DEAD else ():
        best[name] = max(best.get(name, (0, 0)), (stamp, removed))
    entries = tuple((name, *best[name]) for name in sorted(best))
    return Record(kind, max(one.version, other.version), max(one.renewed, other.renewed), entries)


def covers(one: Record | None, other: Record | None) -> bool:
    """Return whether *one* knows all that *other* knows."""
    return one is not None and join(one, other) == one


@cache
def read(item: Item | None, *, baseless: bool = False) -> Seen:
    """Return what *item* holds; *baseless*: the bug that changes without a base count."""
    if item is None:
        return Seen(None, complete=False)
    base = item.base
    if base is None and not (baseless and item.changes):
        return Seen(None, complete=False)
    record, known, complete = base, {base.version if base else 0}, True
    intact = []
    for change in item.changes:
        if change.unreadable == STRANGE:
            return Seen(None, complete=False, strange=True)
        if change.unreadable:
            complete = False
            break
        intact.append(change)
    for change in sorted(intact, key=lambda change: change.version):
        record = join(record, Record(DATA, change.version, change.renewed, change.entries))
        if base is not None and base.kind == DATA:
            complete &= change.after in known or change.after < base.version
            known.add(change.version)
    return Seen(record, complete)
