"""What a node reports about itself, as far as it can be believed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Mapping


#: memcached takes no smaller ``-I``, bytes.
MIN_ITEM_SIZE = 1024

#: The first version whose meta commands answer with the cas id of what they stored.
META_SINCE = (1, 6, 13)
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})(?![0-9])")
#: Share of a node's connections that is nearly all of them.
NEARLY_ALL = 0.8

#: By how much two answers of one process may differ in when it was started, seconds.
START_TOLERANCE = 3.0


class Numbers(NamedTuple):
    """Statistics of one node; ``None`` for what it did not report.

    What is counted is counted since its start. ``at`` is when they were read (seconds since the
    epoch), which took ``latency`` seconds; ``uptime`` is in seconds, ``bytes``, ``limit_bytes`` and
    ``item_size_max`` in bytes. Its clock is ``ahead`` of that of this machine by so many seconds.
    Of ``max_connections`` it keeps ``reserved`` for itself.
    ``expired_unfetched`` are items that ran out of time and were never read. ``refused_full`` and
    ``refused_large`` are items that it did not store for want of memory, and for their size.
    """

    at: float
    latency: float
    version: str | None
    pid: int | None
    uptime: int | None
    items: int | None
    bytes: int | None
    limit_bytes: int | None
    hits: int | None
    misses: int | None
    evictions: int | None
    evicted_unfetched: int | None
    expired_unfetched: int | None
    connections: int | None
    max_connections: int | None
    reserved: int | None
    refused_connections: int | None
    item_size_max: int | None
    ahead: float | None
    refused_full: int | None
    refused_large: int | None

    def is_of_another_start(self, before: Numbers) -> bool:
        """Return whether the process that reported this was started after *before* was reported."""
        if self.uptime is None or before.uptime is None:
            return True
        # Both clocks are read to a second; in containers every process has the same pid.
        moved = abs((self.at - self.uptime) - (before.at - before.uptime)) > START_TOLERANCE
        return self.pid != before.pid or moved

    @property
    def short_of_connections(self) -> bool:
        """Whether most connections of the node are open: it refuses more than it is set to take."""
        most, taken = self.max_connections, (self.connections or 0) + (self.reserved or 0)
        return most is not None and taken >= most * NEARLY_ALL

    @property
    def complete(self) -> bool:
        """Whether the node has evicted and refused nothing since its start.

        Its *no* is believed then. Versions of memcached that do not count refusals do not report
        them; all count evictions.
        """
        return self.evictions == 0 and not self.refused_full and not self.refused_large


def takes_meta(version: str | None, settings: Mapping[str, str]) -> bool:
    """Return whether a node may be sent meta commands.

    Only if it makes room for what is stored: one with ``-M`` deletes a record that is to be
    replaced when it finds no memory for the new one (``ms`` answered ``SERVER_ERROR``).
    """
    found = _VERSION.match(version or "")
    if found is None or settings.get("evictions") != "on":
        return False
    return tuple(map(int, found.groups())) >= META_SINCE


def numbers_from(
    found: Mapping[str, str], *, at: float, latency: float, own: float | None = None
) -> Numbers:
    """Return statistics as a node sent them as numbers; what is not one counts as not reported.

    They were read *at* (seconds since the epoch), which took *latency* seconds; *own* is that time
    by the clock of this machine.
    """

    def number(name: str) -> int | None:
        text = found.get(name, "")
        # Longer ones are no numbers of memcached, which has 64 bits.
        return int(text) if len(text) <= 20 and text.isascii() and text.isdigit() else None

    version = found.get("version", "")
    time = number("time")
    largest = number("item_size_max") or 0
    return Numbers(
        at=at,
        latency=latency,
        version=version[:32] if version.isprintable() and version else None,
        pid=number("pid"),
        uptime=number("uptime"),
        items=number("curr_items"),
        bytes=number("bytes"),
        limit_bytes=number("limit_maxbytes"),
        hits=number("get_hits"),
        misses=number("get_misses"),
        evictions=number("evictions"),
        evicted_unfetched=number("evicted_unfetched"),
        expired_unfetched=number("expired_unfetched"),
        connections=number("curr_connections"),
        max_connections=number("max_connections"),
        reserved=number("reserved_fds"),
        refused_connections=number("listen_disabled_num"),
        item_size_max=largest if largest >= MIN_ITEM_SIZE else None,
        ahead=None if time is None or own is None else time - own,
        refused_full=number("store_no_memory"),
        refused_large=number("store_too_large"),
    )
