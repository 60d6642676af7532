"""A small map that all workers share: signed, joined, on every node.

It is a record like a session's, under a key of its own, with the same signature; how it is joined
and bounded stands in ``map_state.py``. Every worker keeps it in memory and brings each node up to
date, so nodes that forgot it get it back from any of them.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.locks import ProcessLock
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.record.record import Kind, Record
from flask_msm.record.record import join as join_records

from . import map_state
from .map_state import Rank


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.process.clock import Clock
    from flask_msm.record.attributes import Entry
    from flask_msm.record.encryption import Encryption
    from flask_msm.record.hybrid_clock import HybridLogicalClock
    from flask_msm.record.keys import Keyring


logger = logging.getLogger("flask_msm.fleet")

#: What records of workers name as their codec; sessions begin at 1.
SHARED_CODEC = 0
#: Larger ones are compressed, bytes.
COMPRESS_ABOVE = 4096
#: Larger values are refused: what every worker reads at every tick has to stay small.
MAX_SIZE = 256 * 1024
#: Time in seconds the map lives on a node that is not in use any more.
LIFE = 30 * 24 * 3600.0
#: What is around a map on a node, bytes: its key, the signature, the header of an item.
AROUND = 512
#: A map is cut to no less than this, bytes: what is known of the nodes themselves has to fit.
LEAST = 4096
#: A writer that loses this often lets the next tick try again.
MAX_TRIES = 8
#: Before it tries again it waits for up to so long, seconds; twice as long each time, up to the
#: longest. Else those that met once meet again.
PAUSE, LONGEST_PAUSE = 0.005, 0.08
#: So many maps that were read or written last are known by their bytes: all nodes hold the same
#: ones, until they are changed.
MOST_KNOWN = 4


class Fetched(NamedTuple):
    """What a node was found to hold.

    Attributes:
        found: It had something under the key.
        foreign: What it had must be left alone.
        outdated: It was written with a key that was replaced since, and may go soon.
        raw: What it had, if it must be left alone.
        keyring: The keys it was read with.
        cuts: How often the map had been cut when it was learned.
    """

    found: bool
    foreign: bool = False
    record: Record | None = None
    token: CasToken | None = None
    outdated: bool = False
    raw: bytes | None = None
    keyring: Keyring | None = None
    cuts: int = 0


class _Known(NamedTuple):
    """What some bytes are known to hold.

    Attributes:
        keyring: The keys they were verified with, or written.
        outdated: See ``Fetched``.
        within: What was known here when they had been joined into it.
    """

    record: Record
    keyring: Keyring
    outdated: bool = False
    within: Attributes | None = None


class Bounds(NamedTuple):
    """How large a map may become.

    Attributes:
        removals: So many removals are carried; of more, the older half is forgotten.
        kept: But none is forgotten before this age, seconds: longer than any worker needs to
            write to the nodes what it has set.
        names: Most names; the newest are kept.
        rank: Returns how much a name is worth when a node is too small for all of them.
    """

    removals: int = 1000
    kept: float = 3600.0
    names: int | None = None
    rank: Rank = lambda name: 0  # noqa: ARG005  (all are worth the same)


USUAL = Bounds()


def shared_envelope(keys: Callable[[], Keyring], encryption: Encryption | None = None) -> Envelope:
    """Return what seals the records of workers themselves."""
    return Envelope(
        keys,
        codec_id=SHARED_CODEC,
        compress_above=COMPRESS_ABOVE,
        max_size=MAX_SIZE,
        encryption=encryption,
    )


class SharedMap:
    """Implements one map of the fleet.

    Args:
        stamps: Issues stamps for changes.
        bounds: How large it may become.
        pause: Waits for some seconds before a write that lost against another one is repeated.
        chance: Returns a number from 0 to 1, to spread such writes.

    Attributes:
        cuts: How many names were cut, since the start of this worker, for a node takes no more.
        refused: How often a node held something that is not a map of ours.
        left_alone: How often one held something only others can read.
        record: The map as it is known here; replaced as a whole, read without a lock.
    """

    def __init__(
        self,
        key: str,
        *,
        envelope: Envelope,
        stamps: HybridLogicalClock,
        clock: Clock,
        bounds: Bounds = USUAL,
        pause: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.key = key
        #: The last part of its key, for example ``control``.
        self.name = key.rpartition(":")[2]
        self.cuts = self.refused = self.left_alone = 0
        self._bounds = bounds
        self._limit = MAX_SIZE - AROUND
        #: What was found to fit.
        self._fitting: Attributes | None = None
        self._envelope = envelope
        self._stamps = stamps
        self._clock = clock
        self._pause, self._chance = pause, chance
        self._lock = ProcessLock()
        now = clock.time()
        # Replaced under the lock.
        self.record = Record(Kind.DATA, now, now, now + LIFE, 0, NOTHING)
        #: What was claimed here and no other worker can know yet, by name: what stood there before.
        self._claims: dict[str, Entry] = {}
        #: By bytes that were verified, or written here; and the last that were written.
        self._known: dict[bytes, _Known] = {}
        self._sealed: tuple[Record, Keyring, bytes] | None = None
        #: Attributes of nodes that were found to lack nothing, and of what.
        self._enough: dict[int, tuple[Attributes, Attributes]] = {}

    @property
    def attributes(self) -> Attributes:
        """The map as it is known here."""
        return self.record.attributes

    def values(self, prefix: str) -> dict[str, tuple[int, bytes]]:
        """Return stamp and value of all names that begin with *prefix*, which is cut off."""
        return {
            name[len(prefix) :]: (stamp, value)
            for name, (stamp, value) in self.record.attributes.entries.items()
            if value is not None and name.startswith(prefix)
        }

    def entry(self, name: str) -> Entry:
        """Return stamp and value of *name*; 0 if it was never set, ``None`` if it was removed."""
        return self.record.attributes.entries.get(name, (0, None))

    def stamp(self, name: str) -> int:
        """Return when *name* was set last, 0 for never."""
        return self.record.attributes.entries.get(name, (0, None))[0]

    def put(
        self, name: str, value: bytes | None, *, stamp: int | None = None, above: int = 0
    ) -> int:
        """Set *name* here, ``None`` removes it; return its stamp.

        Nodes learn of it when they are synced. That is *stamp* if it happened earlier; otherwise
        now, above the last one and above *above*.
        """
        with self._lock:
            return self._put(name, value, stamp, above)

    def claim(self, name: str, value: bytes | None) -> int:
        """Set *name* here, ``None`` removes it, unless another worker is first; return its stamp.

        Of several workers that set a name at the same time, the first one to reach a node wins: the
        others learn of it there before they can write, and give theirs up.
        """
        with self._lock:
            self._claims[name] = self._counted(self.record.attributes, name)
            return self._put(name, value, None, 0)

    def put_newest(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Set names to *values*, each above all that the map holds and above the one before."""
        with self._lock:
            attributes = self.record.attributes
            entries = dict(attributes.entries)
            stamp = max((stamp for stamp, _ in entries.values()), default=0)
            stamp = max(stamp, attributes.floor)
            for name, value in values:
                stamp = self._stamps.next(stamp)
                entries[name] = stamp, value
            self._changed(attributes._replace(entries=entries), stamp)

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

    def fit(self, item_size: int) -> None:
        """Cut the map to what every node takes, whenever it is written.

        Args:
            item_size: Size of the largest item that the smallest node takes, bytes.
        """
        limit = min(max(item_size, LEAST), MAX_SIZE) - AROUND
        if limit != self._limit:
            with self._lock:
                self._limit, self._fitting = limit, None

    def pull(self, node: MemcachedNode, deadline: float) -> Fetched:
        """Learn what *node* knows.

        Raises:
            NodeError: The node failed.
        """
        return self.merge(node.start_gets(self.key, deadline).result())

    def merge(self, item: Item | None) -> Fetched:
        """Learn what a node held under ``key``."""
        if item is None:
            return Fetched(found=False)
        try:
            known = self._learn(item.value)
        except UnknownRecordError:
            # Written with a newer secret or by a newer version.
            self.left_alone += 1
            read = Fetched(found=True, foreign=True, raw=item.value)
        else:
            read = (
                Fetched(found=True)
                if known is None
                else Fetched(found=True, record=known.record, outdated=known.outdated)
            )
        return read._replace(token=item.token, keyring=self._envelope.keys(), cuts=self.cuts)

    def keyring(self) -> Keyring:
        """Return the keys that are used now."""
        return self._envelope.keys()

    def knows_all(self, pulled: Fetched) -> bool:
        """Return whether a node that was found to hold that knows all that is known here."""
        if pulled.record is None or pulled.outdated:
            return False
        theirs, mine = pulled.record.attributes, self._ready().attributes
        # In most ticks the same two, of each node: they are not compared name by name.
        before = self._enough.get(id(theirs))
        known = before is not None and before[0] is theirs and before[1] is mine
        if not known and not self._is_enough(theirs, mine):
            return False
        # It would forget soon what it knows.
        return pulled.record.expires_at - self._clock.time() >= LIFE / 2

    def push(self, node: MemcachedNode, pulled: Fetched, deadline: float) -> bool:
        """Bring *node* up to date, given what it was found to hold a moment ago.

        Returns whether it knows all that is known here.

        A node that lost the map since then stays without: the next tick, of any worker, has to
        see the loss.

        Raises:
            NodeError: The node failed.
        """
        for attempt in range(MAX_TRIES):
            if attempt:
                longest = min(PAUSE * 2**attempt, LONGEST_PAUSE)
                pause = longest * self._chance()
                if self._clock.monotonic() + pause + LONGEST_PAUSE >= deadline:
                    return False  # no time is left for an answer: the node would look late
                self._pause(pause)
                pulled = self.pull(node, deadline)
                if not pulled.found:
                    return False
            if pulled.foreign:
                return False
            if self.knows_all(pulled):
                return True
            mine = self._ready()
            data = self._seal(mine)
            ttl = ttl_for(mine.expires_at, self._clock.time())
            exchange = (
                node.start_add(self.key, data, ttl, deadline)
                if pulled.token is None
                else node.start_cas(self.key, data, ttl, pulled.token, deadline)
            )
            if exchange.result():
                self._told(mine)
                return True
        return False

    def absorb(self, data: bytes) -> Attributes | None:
        """Learn what was written down elsewhere, for example on this host.

        Returns:
            What it was; ``None`` when it is to be written anew.
        """
        try:
            known = self._learn(data)
        except UnknownRecordError:
            return None
        return None if known is None or known.outdated else known.record.attributes

    def sealed(self) -> bytes:
        """Return the map as bytes that ``absorb`` takes, to be written down elsewhere."""
        mine = self._ready()
        self._told(mine)
        return self._seal(mine)

    def _put(self, name: str, value: bytes | None, stamp: int | None, above: int) -> int:
        record = self.record
        if stamp is None:
            above = max(above, self.stamp(name), record.attributes.floor)
            stamp = self._stamps.next(above)
        attributes = map_state.put(record.attributes, name, (stamp, value))
        if value is None:
            attributes = map_state.fold(attributes, self._bounds.removals, self._old())
        self._changed(attributes, stamp)
        return stamp

    def _changed(self, attributes: Attributes, stamp: int) -> None:
        version = max(self.record.version, stamp)
        self._keep(attributes, self.record._replace(version=version, expires_at=self._expiry()))

    def _learn(self, data: bytes) -> _Known | None:
        """Join what was written elsewhere into the map; return it, ``None`` if it is no map.

        Raises:
            UnknownRecordError: Only others can read it.
        """
        keyring, known = self._envelope.keys(), self._known.get(data)
        if known is None or known.keyring is not keyring:
            record = self._open(data)
            if record is None:
                return None
            known = _Known(record, keyring, outdated=not self._envelope.is_current(data))
        elif known.within is self.record.attributes:
            # A map only grows, unless it is cut: the same bytes hold nothing new.
            return known
        theirs = known.record
        with self._lock:
            mine = self.record
            joined = map_state.join(self._without_claims(theirs.attributes), theirs.attributes)
            rest = join_records(
                mine._replace(attributes=NOTHING), theirs._replace(attributes=NOTHING)
            )
            # At once: readers, who take no lock, would see an empty map in between.
            self._keep(joined, rest)
            known = known._replace(within=self.record.attributes)
            self._remember(data, known)
        return known

    def _told(self, record: Record) -> None:
        """Take note that others can know what *record* holds: no claim in it is given up."""
        if self._claims:
            with self._lock:
                for name in list(self._claims):
                    if record.attributes.entries.get(name) == self.entry(name):
                        del self._claims[name]

    def _without_claims(self, theirs: Attributes) -> Attributes:
        """Return the map as it is known here, with *theirs* in place of what was claimed later."""
        mine = self.record.attributes
        for name, before in list(self._claims.items()):
            found = self._counted(theirs, name)
            if found == self._counted(mine, name):
                del self._claims[name]  # it is the one of this worker
            elif found[0] > before[0]:
                del self._claims[name]
                mine = mine._replace(entries={**mine.entries, name: found})
        return mine

    @staticmethod
    def _counted(attributes: Attributes, name: str) -> Entry:
        return attributes.entries.get(name, (attributes.floor, None))

    def _seal(self, record: Record) -> bytes:
        """Return *record* as bytes, the same ones for all nodes."""
        keyring, sealed = self._envelope.keys(), self._sealed
        if sealed is not None and sealed[0] is record and sealed[1] is keyring:
            return sealed[2]
        data = self._envelope.seal(record, self.key)
        self._sealed = record, keyring, data
        with self._lock:
            self._remember(data, _Known(record, keyring, within=record.attributes))
        return data

    def _remember(self, data: bytes, known: _Known) -> None:
        self._known[data] = known
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def _keep(self, attributes: Attributes, rest: Record) -> None:
        """Make *attributes* with *rest* the map, as far as the number of names allows."""
        if self._bounds.names is not None:
            attributes = map_state.newest(attributes, self._bounds.names)
        self.record = rest._replace(attributes=attributes)

    def _size(self, attributes: Attributes) -> int:
        return self._envelope.size(self.record._replace(attributes=attributes))

    def _open(self, data: bytes) -> Record | None:
        if len(data) > MAX_SIZE:
            self.refused += 1
            return None
        try:
            record = self._envelope.open(data, self.key)
        except CorruptRecordError:
            self.refused += 1
            logger.warning("a map of the fleet on a node is corrupt or forged; it is replaced")
            return None
        return record if record.kind is Kind.DATA else None

    def _is_enough(self, theirs: Attributes, mine: Attributes) -> bool:
        """Return whether a node need not be written: it may know more than can be shared."""
        if theirs != mine and map_state.join(theirs, mine) is not theirs:
            return False
        with self._lock:
            self._enough[id(theirs)] = theirs, mine
            if len(self._enough) > MOST_KNOWN:
                del self._enough[next(iter(self._enough))]
        return True

    def _ready(self) -> Record:
        """Return the map as it is written: it fits, and lives on as long as it is shared."""
        ready = self.record
        if ready.attributes is self._fitting and ready.expires_at - self._clock.time() >= LIFE / 2:
            return ready
        with self._lock:
            known = self.record.attributes
            if known is not self._fitting:
                known, cut = map_state.fitted(
                    known, self._limit, self._bounds.rank, self._size, self._old()
                )
                self.cuts += cut
                self._fitting = known
                self.record = self.record._replace(attributes=known)
            if self.record.expires_at - self._clock.time() < LIFE / 2:
                self.record = self.record._replace(expires_at=self._expiry())
            return self.record

    def _old(self) -> int:
        """Return the stamp before which removals may be forgotten."""
        return stamp_at(self._clock.time() - self._bounds.kept)

    def _expiry(self) -> float:
        return self._clock.time() + LIFE
