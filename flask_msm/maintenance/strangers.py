"""Another fleet on the same nodes, under the same keys.

Two applications of one ``MSM_KEY_PREFIX`` with different secrets cannot read what the other shares:
neither learns what the other finds, so neither may believe a node alone. Or the secret was
changed without a fallback: then the other fleet does not live any more, and its maps stand still.

Who finds the maps of another fleet tells it so, by a beat (``cluster/beats.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.shared_map import Fetched


#: Kind of the condition.
FOREIGN = "foreign_fleet"
#: Probe intervals for which the list of workers must not change before its fleet is not alive.
STILL_FOR = 10
_ADVICE = (
    "Give each application an own MSM_KEY_PREFIX, and all its workers one SECRET_KEY; when that or"
    " MSM_ENCRYPTION_KEYS was changed, this ends with the last old worker"
)
_CALLED = (
    "workers of another application, or of this one with other keys, use the same nodes and"
    " MSM_KEY_PREFIX: they know none of the sessions that are kept here, and sign their users out."
    f" {_ADVICE}"
)


class _Seen(NamedTuple):
    """What a node shows of another fleet.

    Attributes:
        raw: Its list of workers.
        beat: Cas id of its beat, empty for none.
        since: Since when both are as they are, monotonic time in seconds.
        lives: They have changed since they were seen first.
    """

    raw: bytes | None
    beat: bytes
    since: float
    lives: bool


class Strangers:
    """Watches what nodes hold in place of the maps of this fleet.

    Args:
        conditions: Where it reports that another fleet uses a node.
        interval: Time in seconds between two ticks.
    """

    def __init__(self, conditions: Conditions, events: Events, *, interval: float) -> None:
        self._conditions = conditions
        self._events = events
        self._patience = STILL_FOR * interval
        self._seen: dict[str, _Seen] = {}

    def look(
        self,
        pulled: Mapping[str, list[Fetched]],
        signs: Mapping[str, bytes],
        *,
        called: bool,
        now: float,
    ) -> bool:
        """Return whether another fleet lives on a node; let maps be replaced that stand still.

        Args:
            pulled: What nodes hold, by node id: the control map first, then the workers. What may
                be replaced is changed in it.
            signs: What changes as long as the other fleet beats, by node id.
            called: Another fleet lives, and found the maps of this one.
            now: Monotonic time, seconds.
        """
        self._conditions.note(FOREIGN, "fleet", _CALLED if called else None, error=True)
        present = False
        for node_id, maps in pulled.items():
            before, seen = self._seen.pop(node_id, None), None
            if maps[0].foreign:
                beat = signs.get(node_id, b"")
                seen = self._seen[node_id] = _looked_at(before, maps[1].raw, beat, now)
            text = (
                f"{node_id} holds what another application shares, or this one with other keys:"
                f" no node is believed alone. {_ADVICE}"
            )
            # What has not changed yet may be what the workers before a restart left behind.
            lives = seen is not None and seen.lives
            self._conditions.note(
                FOREIGN, node_id, text if lives else None, node=node_id, error=True
            )
            if seen is None or now - seen.since < self._patience:
                present |= seen is not None
                continue
            del self._seen[node_id]
            maps[:] = [found._replace(foreign=False) for found in maps]
            said = f"{node_id}: the maps of a fleet that does not live any more are replaced"
            self._events.add("warning", "foreign_maps_replaced", said, node=node_id)
        return present


def _looked_at(before: _Seen | None, raw: bytes | None, beat: bytes, now: float) -> _Seen:
    """Return what a node shows now, of which *before* was known."""
    if before is None:
        return _Seen(raw, beat, now, lives=False)
    if before[:2] == (raw, beat):
        return before
    # A beat that goes is no sign of life.
    return _Seen(raw, beat, now, lives=before.lives or before.raw != raw or beat != b"")
