"""Another fleet on the same nodes, under the same keys.

Two applications of one ``MSM_KEY_PREFIX`` with different secrets cannot read what the other shares:
neither learns what the other finds, so neither may believe a node alone. Or the secret was
changed without a fallback: then the other fleet does not live any more, and its maps stand still.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.cluster.conditions import Conditions
    from flask_msm.cluster.events import Events
    from flask_msm.cluster.shared_map import Fetched


#: Kind of the condition.
FOREIGN = "foreign_fleet"
#: Probe intervals for which the list of workers must not change before its fleet is not alive.
STILL_FOR = 10


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
        #: What the list of workers and the beats were, and since when, by node id.
        self._seen: dict[str, tuple[bytes, float]] = {}

    def look(
        self, pulled: Mapping[str, list[Fetched]], signs: Mapping[str, bytes], *, now: float
    ) -> bool:
        """Return whether another fleet lives on a node; let maps be replaced that stand still.

        Args:
            pulled: What nodes hold, by node id: the control map first, then the workers. What may
                be replaced is changed in it.
            signs: What changes as long as the other fleet beats, by node id.
            now: Monotonic time, seconds.
        """
        present = False
        for node_id, maps in pulled.items():
            lasts = maps[0].foreign and not self._stands_still(
                node_id, (maps[1].raw or b"") + signs.get(node_id, b""), now
            )
            present |= lasts
            text = (
                f"{node_id} holds what another application shares, or this one with other keys:"
                " no node is believed alone. Give each application an own MSM_KEY_PREFIX; when"
                " SECRET_KEY or MSM_ENCRYPTION_KEYS was changed, this ends with the last old worker"
            )
            self._conditions.note(
                FOREIGN, node_id, text if lasts else None, node=node_id, error=True
            )
            if lasts or not maps[0].foreign:
                continue
            self._seen.pop(node_id, None)
            maps[:] = [found._replace(foreign=False) for found in maps]
            said = f"{node_id}: the maps of a fleet that does not live any more are replaced"
            self._events.add("warning", "foreign_maps_replaced", said, node=node_id)
        return present

    def _stands_still(self, node_id: str, signs: bytes, now: float) -> bool:
        data = blake2b(signs).digest()
        before, since = self._seen.get(node_id, (b"", now))
        if before != data:
            self._seen[node_id] = data, now
            return False
        return now - since >= self._patience
