"""What workers know of the fleet, noted on the host as well.

So it survives the nodes, and workers of a host know of each other while there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.cluster.shared_map import SharedMap
    from flask_msm.record.attributes import Attributes
    from flask_msm.storage.local.store import LocalStore


class HostCopy:
    """Keeps maps of the fleet in local storage."""

    def __init__(self, local: LocalStore, maps: Iterable[SharedMap]) -> None:
        self._local = local
        self._maps = {f"fleet:{shared.name}": shared for shared in maps}
        #: The note of each map as it was last read or written.
        self._noted: dict[str, tuple[bytes, Attributes | None]] = {}

    def read(self, *maps: SharedMap) -> None:
        """Learn what others of this host noted of *maps*; of all without any."""
        for name, shared in self._maps.items():
            if maps and shared not in maps:
                continue
            data = self._local.get_blob(name)
            if not data:
                # Local storage lost it, or fails: it is to be noted again.
                self._noted.pop(name, None)
            elif data != self._noted.get(name, (b"", None))[0]:
                self._noted[name] = data, shared.absorb(data)

    def write(self) -> None:
        """Note what is known now, if that is more than was noted."""
        for name, shared in self._maps.items():
            known = shared.attributes
            noted = self._noted.get(name, (b"", None))[1]
            if noted is not known and noted != known:
                data = shared.sealed()
                self._noted[name] = data, known
                self._local.put_blob(name, data)
