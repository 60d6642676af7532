"""A small map that all workers share: signed, joined, on every node.

It is a record like a session's, under a key of its own, so it has the same join, the same
signature and the same bounds. Every worker keeps it in memory and brings each node up to date, so
nodes that forgot it get it back from anybody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.locks import ProcessLock
from flask_msm.record import attributes as attribute_map
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.record import Kind, Record, join, ttl_for


if TYPE_CHECKING:
    from flask_msm.clock import Clock
    from flask_msm.cluster.ports import CasToken, Item, NodeClient
    from flask_msm.record.envelope import Envelope
    from flask_msm.record.keys import Keyring
    from flask_msm.record.stamp import StampClock


logger = logging.getLogger("flask_msm.fleet")

#: Larger maps are refused: what every worker reads at every tick has to stay small.
MAX_SIZE = 256 * 1024
#: Time in seconds the map lives on a node that nobody visits any more.
LIFE = 30 * 24 * 3600.0
#: A writer that loses this often lets the next tick try again.
MAX_TRIES = 8


class Pulled(NamedTuple):
    """What a node was found to hold.

    Attributes:
        found: It had something under the key.
        foreign: What it had must be left alone.
        record: The map it had.
        token: To replace it.
        outdated: It was written with a key that was replaced since, and may go soon.
    """

    found: bool
    foreign: bool = False
    record: Record | None = None
    token: CasToken | None = None
    outdated: bool = False


class SharedMap:
    """Implements one map of the fleet.

    Args:
        key: Where nodes keep it.
        envelope: Seals and opens it.
        stamps: Issues stamps for changes.
        clock: Its wall clock is used.

    Attributes:
        refused: How often a node held something that is not a map of ours.
        left_alone: How often one held something only others can read.
    """

    def __init__(self, key: str, *, envelope: Envelope, stamps: StampClock, clock: Clock) -> None:
        self.key = key
        self.refused = self.left_alone = 0
        self._too_large = False
        self._envelope = envelope
        self._stamps = stamps
        self._clock = clock
        self._lock = ProcessLock()
        now = clock.time()
        # Replaced whole under the lock, read without it.
        self._record = Record(Kind.DATA, now, now, now + LIFE, 0, NOTHING)

    @property
    def attributes(self) -> Attributes:
        """The map as it is known here."""
        return self._record.attributes

    def values(self, prefix: str) -> dict[str, tuple[int, bytes]]:
        """Return stamp and value of all names that begin with *prefix*, which is cut off."""
        return {
            name[len(prefix) :]: (stamp, value)
            for name, (stamp, value) in self._record.attributes.entries.items()
            if value is not None and name.startswith(prefix)
        }

    def stamp(self, name: str) -> int:
        """Return when *name* was set last, 0 for never."""
        entry = self._record.attributes.entries.get(name)
        return entry[0] if entry else 0

    def put(
        self, name: str, value: bytes | None, *, stamp: int | None = None, above: int = 0
    ) -> int:
        """Set *name* here; nodes learn of it when they are synced. Return its stamp.

        Args:
            name: What to set.
            value: ``None`` removes it.
            stamp: When it is said to have happened; now, and above the last one, if not given.
            above: Without *stamp*: the stamp is above this one, too.
        """
        with self._lock:
            return self._put(name, value, stamp, above)

    def replace(self, name: str, value: bytes, *, stamp: int) -> bool:
        """Set *name* here if it was set last at *stamp*; return whether that was so.

        The new stamp is just above *stamp*: what another worker has set since wins, also if this
        one has not learned of it yet.
        """
        with self._lock:
            if self.stamp(name) != stamp:
                return False
            self._put(name, value, stamp + 1, 0)
            return True

    def keep_newest(self, count: int) -> None:
        """Forget all but the *count* newest names, for good: older ones do not come back."""
        with self._lock:
            attributes = self._record.attributes
            if len(attributes.entries) <= count:
                return
            stamps = sorted(stamp for stamp, _ in attributes.entries.values())
            floor = max(attributes.floor, stamps[-count - 1])
            kept = {name: e for name, e in attributes.entries.items() if e[0] > floor}
            self._record = self._record._replace(
                attributes=Attributes(kept, attributes.weak, floor)
            )

    def pull(self, node: NodeClient, keys: Keyring, deadline: float) -> Pulled:
        """Learn what *node* knows.

        Raises:
            NodeError: The node failed.
        """
        item = node.start_gets(self.key, deadline).result()
        if item is None:
            return Pulled(found=False)
        try:
            theirs = self._opened(item, keys)
        except UnknownRecordError:
            # Written with a newer secret or by a newer version.
            self.left_alone += 1
            return Pulled(found=True, foreign=True)
        if theirs is None:
            return Pulled(found=True, token=item.token)
        with self._lock:
            self._record = join(self._record, theirs)
        outdated = not self._envelope.is_current(item.value, keys)
        return Pulled(found=True, record=theirs, token=item.token, outdated=outdated)

    def push(self, node: NodeClient, pulled: Pulled, keys: Keyring, deadline: float) -> bool:
        """Bring *node* up to date, given what it was found to hold a moment ago.

        Returns whether it knows all that is known here.

        A node that lost the map since then stays without: whoever asks it next has to see that.

        Raises:
            NodeError: The node failed.
        """
        for _ in range(MAX_TRIES):
            mine = self._renewed()
            if pulled.foreign:
                return False
            if pulled.record and not pulled.outdated and not self._lacks(pulled.record, mine):
                return True
            data = self._envelope.seal(mine, self.key, keys)
            if len(data) > MAX_SIZE:
                if not self._too_large:
                    logger.error("%s takes %d bytes; it is not shared", self.key, len(data))
                self._too_large = True
                return False
            self._too_large = False
            ttl = ttl_for(mine.expires_at, self._clock.time())
            exchange = (
                node.start_add(self.key, data, ttl, deadline)
                if pulled.token is None
                else node.start_cas(self.key, data, ttl, pulled.token, deadline)
            )
            if exchange.result():
                return True
            pulled = self.pull(node, keys, deadline)
            if not pulled.found:
                return False
        return False

    def absorb(self, data: bytes, keys: Keyring) -> Attributes | None:
        """Learn what was written down elsewhere, for example on this host.

        Returns:
            What it was; ``None`` when it is to be written anew.
        """
        try:
            theirs = self._open(data, keys)
        except UnknownRecordError:
            return None
        if theirs is None:
            return None
        with self._lock:
            self._record = join(self._record, theirs)
        return theirs.attributes if self._envelope.is_current(data, keys) else None

    def sealed(self, keys: Keyring) -> bytes:
        """Return the map as bytes that ``absorb`` takes."""
        return self._envelope.seal(self._renewed(), self.key, keys)

    def _put(self, name: str, value: bytes | None, stamp: int | None, above: int) -> int:
        record = self._record
        if stamp is None:
            above = max(above, self.stamp(name), record.attributes.floor)
            stamp = self._stamps.next(above)
        change = Attributes({name: (stamp, value)}, {}, 0)
        joined = attribute_map.join(record.attributes, change)
        self._record = record._replace(
            attributes=attribute_map.compact(joined),
            version=max(record.version, stamp),
            expires_at=self._expiry(),
        )
        return stamp

    def _opened(self, item: Item, keys: Keyring) -> Record | None:
        return self._open(item.value, keys)

    def _open(self, data: bytes, keys: Keyring) -> Record | None:
        if len(data) > MAX_SIZE:
            self.refused += 1
            return None
        try:
            record = self._envelope.open(data, self.key, keys)
        except CorruptRecordError:
            self.refused += 1
            logger.warning("a map of the fleet on a node is corrupt or forged; it is replaced")
            return None
        return record if record.kind is Kind.DATA else None

    def _lacks(self, theirs: Record, mine: Record) -> bool:
        """Return whether the node has to be written: it knows less, or would forget soon."""
        if theirs.attributes != mine.attributes:
            return True
        return theirs.expires_at - self._clock.time() < LIFE / 2

    def _renewed(self) -> Record:
        """Return the map; it lives on as long as anybody shares it, also when nothing changes."""
        with self._lock:
            if self._record.expires_at - self._clock.time() < LIFE / 2:
                self._record = self._record._replace(expires_at=self._expiry())
            return self._record

    def _expiry(self) -> float:
        return self._clock.time() + LIFE
