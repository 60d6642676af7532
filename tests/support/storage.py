"""Local storage of a host as several workers see it, alone and beside a cluster in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.clock import FakeClock
from support.fake_node import FakeNode

from flask_msm.cluster.health import NodeState, rights
from flask_msm.cluster.mode import Mode
from flask_msm.cluster.placement import Placement
from flask_msm.cluster.routing import Routing
from flask_msm.errors import NodeValueError
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import DIGEST_LENGTH, Keyring, storage_key
from flask_msm.record.record import Kind, Pointer, Record, join
from flask_msm.storage.failover import FailoverStore
from flask_msm.storage.fast_path import FastPath
from flask_msm.storage.known_records import KnownRecords
from flask_msm.storage.local.backend import BackendOpener
from flask_msm.storage.local.store import LocalStore
from flask_msm.storage.looks_behind import LooksBehind
from flask_msm.storage.mirror import Mirror
from flask_msm.storage.replica_set import ReplicaSet
from flask_msm.storage.replicated import ClusterStore
from flask_msm.storage.second_looks import SecondLooks
from flask_msm.storage.sticky_path import StickyPath


PREFIX = "msm:test:"
KEYS = Keyring(("secret",))
OTHER_KEYS = Keyring(("other",))
MAX_SIZE = 5_000


class Ring:
    """The keys of all hosts, which may be rotated while they run."""

    def __init__(self) -> None:
        self.keys = KEYS

    def __call__(self) -> Keyring:
        return self.keys

    @contextmanager
    def of(self, keys: Keyring) -> Iterator[None]:
        before, self.keys = self.keys, keys
        try:
            yield
        finally:
            self.keys = before


RING = Ring()
ENVELOPE = Envelope(RING, codec_id=1, compress_above=None, max_size=MAX_SIZE)
FOREIGN = Envelope(lambda: OTHER_KEYS, codec_id=1, compress_above=None, max_size=MAX_SIZE)
DEADLINE = 1e9
NAME = "app"


def key(number: int = 0) -> str:
    return storage_key(PREFIX, f"{number:043}")


KEY = key()


def record(version: int = 1, *, expires_at: float | None = None, **values: bytes) -> Record:
    now = FakeClock().now
    entries = {name: (version, value) for name, value in values.items()}
    return Record(
        Kind.DATA, now, now, expires_at or now + 1000, version, Attributes(entries, {}, 0)
    )


def tombstone(version: int = 1) -> Record:
    now = FakeClock().now
    return Record(Kind.DESTROYED, now, now, now + 1000, version, NOTHING)


def alias(version: int, to: str, **values: bytes) -> Record:
    made = record(version, **values)
    return made._replace(kind=Kind.ALIAS, pointer=Pointer(version, to, made.expires_at))


def adding(made: Record):
    """Return a rewrite that joins *made* with what is there."""
    return lambda seen: join(made, seen) if seen else made


def changing(**values: bytes):
    """Return a rewrite as a request does it: own changes above the stored ones."""

    def rewrite(seen):
        base = seen or record(0)
        if base.kind is not Kind.DATA:
            return base
        stamp = base.version + 10
        entries = base.attributes.entries | {name: (stamp, value) for name, value in values.items()}
        return base._replace(version=stamp, attributes=Attributes(entries, {}, 0))

    return rewrite


def load(store, at: str = KEY, *, at_least: int = 0, keys=KEYS):
    with RING.of(keys):
        return store.load(at, at_least=at_least, deadline=DEADLINE)


def save(store, rewrite, at: str = KEY, *, known=None, keys=KEYS):
    with RING.of(keys):
        return store.save(at, rewrite, known=known, deadline=DEADLINE)


def values(found) -> dict[str, bytes]:
    """Return what an application sees of what was loaded, saved or found."""
    return found.record.attributes.alive()


def at_once(job) -> bool:
    """Do *job* now: what stands behind the response without a thread."""
    job(DEADLINE)
    return True


class Host:
    """Local storage of one worker.

    Attributes:
        local: The store.
        troubles: What it complained of.
        reports: What it found in journals of workers.
    """

    def __init__(self, folder: Path | None = None, kind: Any = "filesystem", **options) -> None:
        self.troubles: list[str | None] = []
        self.reports: list[tuple[str, str]] = []
        self.clock = options.get("clock") or FakeClock()
        alone = options.get("alone", True)
        self.shelves = BackendOpener(
            kind,
            keys=RING,
            base=folder,
            name=NAME,
            sessions=options.get("sessions", 1000),
            size=options.get("size"),
            clock=self.clock,
            alone=alone,
            trouble=self.troubles.append,
        )
        self.local = LocalStore(
            self.shelves,
            envelope=ENVELOPE,
            max_size=MAX_SIZE,
            clock=self.clock,
            prefix=PREFIX,
            alone=alone,
            trouble=self.troubles.append,
            later=options.get("later", at_once),
            report=lambda *report: self.reports.append(report),
        )

    @property
    def shelf(self):
        return self.shelves.open()

    def put(self, data: bytes, at: str = KEY) -> None:
        """Store *data* as it is."""
        self.shelf.cache.set(at, data, 1000)


class Views:
    """All nodes are up and trusted until a test changes it."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.untrusted: set[str] = set()
        self.lossy = set()
        self.moved = False

    @property
    def alone(self):
        return {node_id for node_id in ("n1", "n2", "n3") if self.rights(node_id).alone}

    def rights(self, node_id):
        state = NodeState.DOWN if node_id in self.down else NodeState.UP
        return rights(state, trusted=node_id not in self.untrusted)

    def failed(self, node_id, error):
        if not isinstance(error, NodeValueError):
            self.untrusted.add(node_id)

    def answered(self, node_id):
        pass

    def left_out(self, node_id, key):
        pass

    def may_lack(self, node_id):
        return node_id in self.lossy

    def scattered(self):
        return self.moved


def replica_set(nodes, views, *, replicas=2, clock=None) -> ReplicaSet:
    """Return *nodes* as a cluster store uses them, which reports to *views*."""
    return ReplicaSet(
        clients=nodes,
        placement=Placement(nodes, replicas=replicas),
        views=views,
        report=views.failed,
        answered=views.answered,
        left_out=views.left_out,
        envelope=ENVELOPE,
        max_size=MAX_SIZE,
        clock=clock or FakeClock(),
    )


class Behind:
    """What is done behind the response, when a test wants it done.

    Attributes:
        limit: How many jobs may wait.
        rests: How long the thread would rest before each job that was taken, seconds.
    """

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.rests: list[float] = []
        self.jobs: list[Any] = []

    def put(self, job, *, after: float = 0.0) -> bool:
        if len(self.jobs) >= self.limit:
            return False
        self.jobs.append(job)
        self.rests.append(after)
        return True

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)(DEADLINE)

    def flush(self, timeout) -> bool:
        self.run()
        return True

    def close(self, timeout) -> None:
        self.run()


class Nearby(Host):
    """A worker with a cluster in memory beside its local storage.

    Args:
        folder: Where local storage is kept; ``None`` for the memory of the worker.
        near_max_age: With it, sessions are sticky.
        nodes: The cluster, if another worker uses it as well.

    Attributes:
        mode: Where its sessions go.
        drops: Whether changes of an outage are dropped.
        remembers: Whether the nodes kept their memory.
        returning: Whether others of the host may not know yet that nodes are back.
        ended: Storage keys of sessions that ended somewhere.
        told: What is shared with other hosts: storage key of each session that ended here, and its
            stamp if that was earlier.
    """

    def __init__(self, folder: Path | None = None, *, near_max_age=None, nodes=None, **options):
        kind = "filesystem" if folder else "simple"
        super().__init__(folder, options.pop("kind", kind), alone=False, **options)
        #: In which its records are written.
        self.format = 1
        self.mode, self.drops, self.remembers = Mode.DISTRIBUTED, False, True
        self.returning = False
        self.ended = set()
        self.told: list[tuple[str, int | None]] = []
        self.nodes = nodes or {node_id: FakeNode(node_id) for node_id in ("n1", "n2", "n3")}
        self.views = Views()
        self.behind, self.mirroring = Behind(), Behind()
        self.cluster = ClusterStore(replica_set(self.nodes, self.views, clock=self.clock))
        self.placement = self.cluster.nodes.placement
        self.mirror = Mirror(self.local, self.mirroring)
        self.store = FailoverStore(
            self.cluster,
            self.local,
            mode=self,
            ended_sessions=self,
            mirror=self.mirror,
            queue=self.behind,
            near_max_age=near_max_age,
            drops=lambda: self.drops,
            returning=lambda: self.returning,
            remembers=lambda *_: self.remembers,
            clock=self.clock,
        )

    def has(self, at) -> bool:
        return at in self.ended

    @property
    def shared(self):
        """The list of ended sessions."""
        entries = {at[-DIGEST_LENGTH:]: (1, b"") for at in self.ended}
        return SimpleNamespace(record=SimpleNamespace(attributes=Attributes(entries, {}, 0)))

    @property
    def now(self) -> Routing:
        """The routing."""
        return Routing(
            alone=frozenset(self.views.alone if self.mode is Mode.DISTRIBUTED else ()),
            growing=frozenset(node_id for node_id, node in self.nodes.items() if node.takes_meta),
            settled_at=inf if self.returning else 0.0,
            limit=MAX_SIZE,
        )

    def add(self, digest, *, stamp=None, kept=False) -> None:
        self.told.append((PREFIX + digest, stamp, kept))

    def outage(self) -> None:
        """Let no node answer, and notice it."""
        for node in self.nodes.values():
            node.fail()
        self.mode = Mode.LOCAL

    def back(self, *, empty: bool = False, trusted: bool = True) -> None:
        """Let all nodes answer again."""
        for node in self.nodes.values():
            if empty:
                node.items.clear()
            node.heal()
        self.views.untrusted = set() if trusted else set(self.nodes)
        self.mode = Mode.DISTRIBUTED

    def in_cluster(self, at: str = KEY) -> Record | None:
        """Return the join of what the nodes hold."""
        found = None
        for node in self.nodes.values():
            if at in node.items:
                found = adding(ENVELOPE.open(node.items[at][0], at))(found)
        return found

    def asked(self) -> int:
        """Return how often nodes were asked since the last call."""
        count = sum(len(node.operations) for node in self.nodes.values())
        for node in self.nodes.values():
            node.operations.clear()
        return count


def fast_path(near: Nearby, *, enabled: bool = True, behind: Behind | None = None) -> FastPath:
    """Return the path over *near*; most second looks are left to *behind*, if there is one."""
    looks, cluster = SecondLooks(near.clock), near.cluster
    cluster._second_looks = looks
    return FastPath(
        near.store,
        enabled=enabled,
        writes=True,
        router=near,
        ended=near,
        second_looks=looks,
        looks_behind=LooksBehind(cluster.nodes, cluster.rejoin, behind) if behind else None,
        known=KnownRecords(100_000),
        keys=RING,
        record_format=lambda: near.format,
    )


def sticky_path(near: Nearby, *, enabled: bool = True, most: int = 1_000_000) -> StickyPath:
    """Return the path over *near*, whose queue hands over when it runs."""
    return StickyPath(
        near.store,
        enabled=enabled,
        most=most,
        router=near,
        ended=near,
        queue=near.behind,
        clock=near.clock,
        timeout=1.0,
    )


def age(path: Path, seconds: float) -> None:
    """Let *path* look as if it was written *seconds* ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def write_in_order(*paths: Path) -> None:
    """Let *paths* look as if they were written now, one after another; they expire as before."""
    last = time.time_ns()
    for path in paths:
        # The clock that files are dated with goes in steps.
        while (found := path.stat()).st_ctime_ns <= last:
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            time.sleep(0.001)
        last = found.st_ctime_ns
