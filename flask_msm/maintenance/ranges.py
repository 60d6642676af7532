"""The parts of a rebuild or drain that workers share, each under a lease of its own.

A range is all sessions whose digest begins with one digit. In place of its lease stands a signed
note when it is done: for which *goal*, which names the miss that is answered and the memory that is
filled. What a worker has done stays done when it dies; another loss is another goal, for which all
begins anew.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.record.segments import HASH_SIZE, is_signed, signed

from .lease import Lease, is_owner


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.keys import Keyring


#: The ranges: what a digest may begin with.
RANGES = "0123456789abcdef"
#: So many a worker takes at a time: it lists all sources for them, and leaves the rest to others.
SHARE = 4
#: Time in seconds for which it is noted that a range is done.
NOTED = 3600
_DONE = b"done "


class Done(NamedTuple):
    """What was done for a range: records that were copied, and that were looked at."""

    copied: int = 0
    looked_at: int = 0


@dataclass(eq=False)
class Ranges:
    """The ranges of one node.

    Args:
        node: Keeps their leases.
        key: What the storage keys of these begin with.
        goal: What is done.
        keys: Return what signs notes.
        timeout: Time in seconds one operation may take.
    """

    node: MemcachedNode
    key: str
    goal: str
    _: KW_ONLY
    keys: Callable[[], Keyring]
    clock: Clock
    timeout: float

    def take(self) -> tuple[dict[str, Lease], dict[str, Done]]:
        """Return the leases of ranges that are for this worker now, and what is done.

        Raises:
            NodeError: The node that keeps them failed.
        """
        names = {digit: f"{self.key}:{digit}" for digit in RANGES}
        deadline = self.clock.monotonic() + self.timeout
        found = self.node.get_many(list(names.values()), deadline)
        done: dict[str, Done] = {}
        taken: dict[str, Lease] = {}
        for digit, name in names.items():
            item = found.get(name)
            what = self._done(name, item)
            if what is not None:
                done[digit] = what
            elif len(taken) < SHARE and (item is None or not is_owner(item.value)):
                lease = Lease(self.node, name, clock=self.clock, timeout=self.timeout)
                if lease.acquire(item):
                    taken[digit] = lease
        return taken, done

    def finish(self, lease: Lease, done: Done) -> bool:
        """Note that the range of *lease* is done; return whether it was this worker's until now.

        Raises:
            NodeError: The node that keeps it failed.
        """
        text = b"%b%b %d %d" % (_DONE, self.goal.encode(), *done)
        return lease.end(signed(text, lease.key, self.keys().current.secret), NOTED)

    def _done(self, name: str, item: Item | None) -> Done | None:
        """Return what was done for a range, ``None`` if it is not done for this goal."""
        if item is None or not item.value.startswith(_DONE):
            return None
        # With a note that others could write they would have an empty node believed.
        if not any(is_signed(item.value, name, one) for one in self.keys().by_id.values()):
            return None
        goal, *numbers = item.value[len(_DONE) : -HASH_SIZE].decode().rsplit(" ", 2)
        return Done(*map(int, numbers)) if goal == self.goal else None
