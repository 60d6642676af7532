"""Copies with changes behind them: damaged or lacking one they are joined, and are no copies."""

from __future__ import annotations

import pytest
from support.clock import FakeClock
from support.fake_node import FakeNode
from support.storage import (
    DEADLINE,
    ENVELOPE,
    KEY,
    KEYS,
    OTHER_KEYS,
    Views,
    changing,
    record,
    replica_set,
)

from flask_msm.maintenance.copier import Batch, RecordCopier, Tally
from flask_msm.record.envelope import Envelope
from flask_msm.record.segments import Change
from flask_msm.storage.replicated import ClusterStore
from flask_msm.storage.store import Outcome


SEGMENTING = Envelope(
    lambda: KEYS, codec_id=1, compress_above=None, max_size=5_000, writes=lambda: 2
)
STRANGE = Envelope(
    lambda: OTHER_KEYS, codec_id=1, compress_above=None, max_size=5_000, writes=lambda: 2
)
ONE = Change(1, 11, {"b": (11, b"1")})
TWO = Change(11, 21, {"c": (21, b"2")})
ALL = {"a": b"1", "b": b"1", "c": b"2"}


def grown(*changes, behind=b""):
    """Return a record of format 2 with *changes* and other bytes behind it."""
    sealed = SEGMENTING.seal(record(1, a=b"1"), KEY)
    return sealed + b"".join(SEGMENTING.seal_change(change, KEY) for change in changes) + behind


class Site:
    """Three nodes, and what reads, writes and copies records of format 1 on them."""

    def __init__(self):
        self.nodes = {node_id: FakeNode(node_id) for node_id in ("n1", "n2", "n3")}
        self.store = ClusterStore(replica_set(self.nodes, Views()))
        homes = self.store.nodes.placement.homes(KEY)
        self.first, self.second = (self.nodes[node_id] for node_id in homes)
        self.copier = RecordCopier(
            envelope=ENVELOPE, clock=FakeClock(), timeout=1.0, pause=lambda _: None
        )

    def load(self):
        return self.store.load(KEY, at_least=0, deadline=DEADLINE)

    def change(self, **values):
        return self.store.save(KEY, changing(**values), known=None, deadline=DEADLINE)

    def copy(self):
        """Bring what the first home has to the second; return how many were written."""
        tally = Tally()
        self.copier.copy([Batch(self.first, self.second, [KEY], tally)])
        return tally.written


@pytest.fixture
def site():
    return Site()


def stored(node):
    return ENVELOPE.open(node.items[KEY][0], KEY)


def values(node):
    return stored(node).attributes.alive()


def test_a_whole_copy_with_changes_is_read_alone(site):
    site.first.put(KEY, grown(TWO, ONE))

    assert site.load().record.attributes.alive() == ALL
    assert site.second.operations == []


@pytest.mark.parametrize("behind", [b"rubbish", SEGMENTING.seal_change(TWO, KEY)[:-1]])
def test_an_incomplete_copy_is_joined_with_others_and_written_anew(site, behind):
    site.first.put(KEY, grown(ONE, behind=behind))
    site.second.put(KEY, grown(Change(1, 12, {"d": (12, b"3")})))

    loaded = site.load()

    assert loaded.record.attributes.alive() == {"a": b"1", "b": b"1", "d": b"3"}
    assert stored(site.first) == stored(site.second) == loaded.record


@pytest.mark.parametrize(("behind", "corrupt"), [(b"rubbish", 1), (b"", 0)])
def test_a_copy_is_called_corrupt_if_a_change_is_damaged_and_not_if_one_is_missing(
    site, behind, corrupt, caplog
):
    site.first.put(KEY, grown(TWO, behind=behind))
    site.second.put(KEY, grown(ONE, TWO))

    assert site.load().record.attributes.alive() == ALL
    assert site.store.nodes.counters.corrupt == corrupt
    assert len(caplog.records) == corrupt


def test_a_change_behind_a_record_of_a_worker_that_does_not_append_is_not_called_corrupt(
    site, caplog
):
    """One that was stopped for long, or away in an outage, knows no format of the fleet yet."""
    replaced = ENVELOPE.seal(record(5, a=b"1"), KEY) + SEGMENTING.seal_change(ONE, KEY)
    site.first.put(KEY, replaced)
    site.second.put(KEY, ENVELOPE.seal(record(5, a=b"1"), KEY))

    assert site.load().record.attributes.alive() == {"a": b"1", "b": b"1"}
    assert values(site.first) == values(site.second) == {"a": b"1", "b": b"1"}
    assert site.store.nodes.counters.corrupt == 0
    assert caplog.records == []


def test_what_can_be_read_of_incomplete_copies_alone_is_found_and_not_certain(site):
    site.first.put(KEY, grown(TWO))

    loaded = site.load()

    assert (loaded.outcome, loaded.certain) == (Outcome.FOUND, False)
    assert loaded.record.attributes.alive() == {"a": b"1", "c": b"2"}


def test_an_incomplete_copy_is_no_holder_until_it_is_written_anew(site):
    site.first.put(KEY, grown(ONE, TWO))
    site.second.put(KEY, grown(ONE, TWO, behind=b"rubbish"))

    saved = site.change(d=b"4")

    assert saved.copies == 2
    assert values(site.second) == ALL | {"d": b"4"}


def test_a_change_that_only_others_can_read_is_not_overwritten(site):
    unknown = grown(ONE, behind=STRANGE.seal_change(TWO, KEY))
    site.first.put(KEY, unknown)

    saved = site.change(d=b"4")

    assert site.first.items[KEY][0] == unknown
    assert site.first.id not in saved.holders
    assert saved.copies == 2


def test_a_rebuild_mends_an_incomplete_copy(site):
    site.first.put(KEY, grown(ONE, TWO))
    site.second.put(KEY, grown(ONE, TWO, behind=b"rubbish"))

    site.copy()

    assert values(site.second) == ALL


def test_a_rebuild_takes_along_what_can_be_read_of_an_incomplete_copy(site):
    site.first.put(KEY, grown(TWO))
    site.second.put(KEY, ENVELOPE.seal(record(5, b=b"5"), KEY))

    site.copy()

    assert values(site.second) == {"a": b"1", "b": b"5", "c": b"2"}


def test_a_rebuild_folds_what_is_in_a_format_that_is_not_written_any_more(site):
    for node in (site.first, site.second):
        node.put(KEY, grown(ONE, TWO))

    assert site.copy() == 1
    assert site.second.items[KEY][0][2] == 1
    assert values(site.second) == ALL
    assert site.copy() == 0


def test_a_rebuild_leaves_equal_records_of_the_format_that_is_written_alone(site):
    site.copier.envelope = SEGMENTING
    for node in (site.first, site.second):
        node.put(KEY, grown(ONE, TWO))

    assert site.copy() == 0
