"""The attributes that cannot be stored: what all workers met, and what is pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.operations import snapshot as doc
from flask_msm.sessions.blacklist import MAX_AHEAD, Blacklist
from flask_msm.sessions.pins import CONFIG


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.control import Choice
    from flask_msm.process.clock import Clock
    from flask_msm.sessions.serialization import Serialization


def entries_of(
    serialization: Serialization,
    told: bytes,
    clears: Mapping[str, Choice],
    *,
    clock: Clock,
    hide_errors: bool,
) -> tuple[doc.BlacklistEntry, ...]:
    """Return all entries, last seen first, and then pins nothing was seen of.

    Args:
        serialization: Knows what this worker met, and what is pinned.
        told: What the other workers reported.
        clears: What operators cleared, by attribute; the empty name for all of them.
        clock: The source of time.
        hide_errors: Whether reasons are left out.
    """
    summed_up = Blacklist(clock, lambda: "")
    summed_up.merge(serialization.blacklist.to_json(), told)
    latest = clock.time() + MAX_AHEAD
    for name, choice in clears.items():
        if choice.at > latest:
            continue  # a clock that is ahead; each worker has cleared its own
        summed_up.clear(choice.at, name or None)
    pins = {pin.name: pin for pin in serialization.pins.all()}
    entries = []
    for entry in summed_up.all():
        pin = pins.pop(entry.attribute or "", None)
        entries.append(
            doc.BlacklistEntry(
                attribute=entry.attribute,
                type_name=entry.type_name,
                path=entry.path,
                error=entry.error,
                reason=None if hide_errors else entry.reason,
                endpoint=entry.endpoint,
                first_seen=entry.first_seen,
                last_seen=entry.last_seen,
                count=entry.count,
                workers=entry.workers,
                added_by=entry.added_by,
                pinned=pin is not None,
                from_config=pin is not None and pin.who == CONFIG,
            )
        )
    entries += [
        doc.BlacklistEntry(
            attribute=pin.name,
            added_by=pin.who,
            first_seen=pin.at or None,
            pinned=True,
            from_config=pin.who == CONFIG,
        )
        for pin in pins.values()
    ]
    return tuple(entries)
