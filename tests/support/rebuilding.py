"""A node that is rebuilt from another one, both in memory."""

from __future__ import annotations

from types import SimpleNamespace

from support.clock import FakeClock
from support.fake_node import FakeNode

from flask_msm.cluster.placement import Placement
from flask_msm.maintenance.copier import Batch, RecordCopier, Tally
from flask_msm.maintenance.rebuild import Rebuilder
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import Keyring, storage_key
from flask_msm.record.record import Kind, Record


PREFIX = "msm:test:"
KEYS = Keyring(("secret",))
MAX_SIZE = 100_000


def envelope(codec_id=1):
    return Envelope(lambda: KEYS, codec_id=codec_id, compress_above=None, max_size=MAX_SIZE)


OURS, THEIRS = envelope(1), envelope(2)


def key(number):
    return storage_key(PREFIX, str(number))


def record(version=1, *, kind=Kind.DATA, expires_at=1_800_001_000.0, **values):
    entries = {name: (version, value) for name, value in values.items()}
    attributes = Attributes(entries, {}, 0) if kind is Kind.DATA else NOTHING
    return Record(kind, 1.0, 2.0, expires_at, version, attributes)


class Site:
    """Two nodes, each home to everything; n1 is rebuilt from n2."""

    def __init__(self):
        self.clock = FakeClock()
        self.target, self.source = FakeNode("n1"), FakeNode("n2")
        self.nodes = {"n1": self.target, "n2": self.source}
        self.elsewhere = set()
        self.noted = self.shown = None
        self.reported = []
        self.rebuilt = []
        self.copier = RecordCopier(
            envelope=OURS, clock=self.clock, timeout=1.0, pause=lambda _: None
        )
        self.rebuilder = self.worker()

    def worker(self):
        """Return one more worker."""
        return Rebuilder(
            SimpleNamespace(
                nodes=self.nodes,
                control=self,
                events=self,
                workers=self,
                clock=self.clock,
                timeout=1.0,
                identities=SimpleNamespace(of=lambda *_: self.shown),
            ),
            placement=Placement(self.nodes, replicas=2),
            copier=self.copier,
            key_prefix=PREFIX,
        )

    # -- what the rebuilder needs of others

    def is_read_elsewhere(self, needs):
        return bool(self.elsewhere) and self.elsewhere >= needs

    def standing(self, _):
        return self

    missed, trusted = 7, True

    def drains(self):
        return {}

    def drain(self, _):
        return SimpleNamespace(stamp=1)

    def identity(self, _):
        return self.noted

    def set_rebuilt(self, node_id, stamp):
        self.rebuilt.append((node_id, stamp))

    def add(self, level, kind, text, *, node, **_):
        self.reported.append((level, kind, text, node))

    # -- what tests need

    def holds(self, node, number, made, *, by=OURS):
        node.put(key(number), by.seal(made, key(number)))

    def held(self, node, number, *, by=OURS):
        found = node.items.get(key(number))
        return by.open(found[0], key(number)) if found else None

    def rebuild(self):
        return self.rebuilder.rebuild("n1", ["n2"])

    def copy(self, *numbers):
        tally = Tally()
        keys = [key(number) for number in numbers]
        self.copier.copy([Batch(self.source, self.target, keys, tally)])
        return tally
