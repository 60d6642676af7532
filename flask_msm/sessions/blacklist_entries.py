"""One entry of the blacklist: what is known of an attribute of one type that cannot be stored.

Entries are carried as JSON between workers. It is signed, and every field is checked all the same:
a newer version may write otherwise, a clock may be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any


#: Most workers an entry counts for; what more of them saw is left out of the sum.
MAX_WORKERS = 64
#: Longest text anywhere in an entry, in characters.
_MAX_TEXT = 400
#: Above every real count; JSON keeps such numbers as they are.
_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An attribute that could not be stored. Names only, never a value nor its ``repr``.

    Texts are bounded; all but the name of the attribute can be shown as they are.

    Attributes:
        attribute: Its name, shortened if it was long, as it is: escape it before it is shown.
            ``None`` when the name was not a string.
        type_name: Qualified name of the type.
        path: Where in the session it was found last.
        error: Name of the class of the error.
        reason: Why, in words.
        endpoint: Endpoint of the request that met it last.
        added_by: Who added it: the name of the policy.
        first_seen: Seconds since the epoch.
        last_seen: Seconds since the epoch.
        counts: How often, by worker.
    """

    attribute: str | None
    type_name: str
    path: str
    error: str
    reason: str
    endpoint: str | None
    added_by: str
    first_seen: float
    last_seen: float
    counts: Mapping[str, int]

    @property
    def key(self) -> tuple[str | None, str]:
        """What identifies it: attribute and type."""
        return self.attribute, self.type_name

    @property
    def count(self) -> int:
        """How often it was seen, by all workers."""
        return sum(self.counts.values())

    @property
    def workers(self) -> tuple[str, ...]:
        """Names of the workers that saw it."""
        return tuple(sorted(self.counts))

    def shortened(self, limit: int, worker: str) -> Entry:
        """Return the entry with at most *limit* counts: that of *worker*, and the greatest."""
        return replace(self, counts=_greatest(self.counts, limit, first=worker))


def join(*entries: Entry) -> Entry:
    """Return the entry that knows all that *entries*, of the same key, know."""
    if len(entries) == 1:
        return entries[0]
    counts: dict[str, int] = {}
    for entry in entries:
        for worker, count in entry.counts.items():
            counts[worker] = max(count, counts.get(worker, 0))
    counts = _greatest(counts, MAX_WORKERS)
    first = min(entries, key=lambda entry: (entry.first_seen, entry.added_by))
    return replace(
        max(entries, key=_order),
        added_by=first.added_by,
        first_seen=first.first_seen,
        counts=counts,
    )


def _greatest(counts: Mapping[str, int], limit: int, *, first: str = "") -> dict[str, int]:
    """Return at most *limit* of *counts*, that of the worker *first* among them."""
    if len(counts) <= limit:
        return dict(counts)
    order = sorted(counts, key=lambda worker: (worker == first, counts[worker], worker))
    return {worker: counts[worker] for worker in order[-limit:]}


def dump(entries: Iterable[Entry]) -> bytes:
    """Return *entries* as JSON."""
    return json.dumps([_facts(entry) for entry in entries], separators=(",", ":")).encode()


def parse(data: bytes | str, *, limit: int, latest: float) -> list[Entry]:
    """Return the entries in *data*, leaving out what is not one.

    No entry was seen later than *latest*, seconds since the epoch.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, list):
        return []
    entries = (_entry(facts, latest) for facts in found[:limit] if isinstance(facts, dict))
    return [entry for entry in entries if entry is not None]


def _order(entry: Entry) -> tuple[object, ...]:
    where = entry.endpoint is not None, entry.endpoint or ""
    return entry.last_seen, entry.path, entry.error, entry.reason, where


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "attribute": entry.attribute,
        "type": entry.type_name,
        "path": entry.path,
        "error": entry.error,
        "reason": entry.reason,
        "endpoint": entry.endpoint,
        "by": entry.added_by,
        "first": entry.first_seen,
        "last": entry.last_seen,
        "counts": dict(entry.counts),
    }


def _entry(facts: dict[str, Any], latest: float) -> Entry | None:
    counts = facts.get("counts")
    try:
        return Entry(
            attribute=_text(facts, "attribute", optional=True),
            type_name=_text(facts, "type") or "",
            path=_text(facts, "path") or "",
            error=_text(facts, "error") or "",
            reason=_text(facts, "reason") or "",
            endpoint=_text(facts, "endpoint", optional=True),
            added_by=_text(facts, "by") or "",
            first_seen=_time(facts, "first", latest),
            last_seen=_time(facts, "last", latest),
            counts=_counts(counts),
        )
    except ValueError:
        return None


def _text(facts: dict[str, Any], name: str, *, optional: bool = False) -> str | None:
    text = facts.get(name)
    if text is None and optional:
        return None
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise ValueError(name)
    return text


def _time(facts: dict[str, Any], name: str, latest: float) -> float:
    at = facts.get(name)
    if isinstance(at, bool) or not isinstance(at, int | float) or not at >= 0:
        raise ValueError(name)
    return float(min(at, latest))


def _counts(counts: object) -> dict[str, int]:
    if not isinstance(counts, dict) or not 0 < len(counts) <= MAX_WORKERS:
        raise ValueError("counts")
    for worker, count in counts.items():
        if len(worker) > _MAX_TEXT or type(count) is not int or not 0 < count < _MAX_COUNT:
            raise ValueError("counts")
    return counts
