"""Changes that are appended: one round trip, the outcome of the usual way, what is left to it."""

from __future__ import annotations

import pytest
from support.storage import (
    KEY,
    MAX_SIZE,
    OTHER_KEYS,
    RING,
    Nearby,
    alias,
    changing,
    fast_path,
    load,
    record,
    save,
    tombstone,
    values,
)

from flask_msm.record.envelope import Envelope
from flask_msm.record.record import Kind
from flask_msm.record.segments import Change, segments_in
from flask_msm.storage.appending import LIMIT


def segmenting(keys=RING, writes=2):
    return Envelope(keys, codec_id=1, compress_above=None, max_size=MAX_SIZE, writes=lambda: writes)


ENVELOPE, STRANGE = segmenting(), segmenting(lambda: OTHER_KEYS)
LARGE = {"text": b"x" * 900}


class Site:
    """A worker with three nodes and the fast path, or without it."""

    def __init__(self, *, fast=True):
        self.near = Nearby()
        self.near.format = 2
        for node in self.near.nodes.values():
            node.takes_meta = True
        self.near.store.nodes.envelope = ENVELOPE
        self.store = fast_path(self.near, enabled=fast)
        homes = self.near.placement.homes(KEY)
        self.first, self.second = (self.near.nodes[home] for home in homes)
        for node in (self.first, self.second):
            node.put(KEY, ENVELOPE.seal(record(1, **LARGE), KEY))
        # The first read of a session asks both homes.
        self.load()
        self.near.asked()

    def load(self):
        return load(self.store)

    def change(self, loaded=None, **changed):
        return save(self.store, changing(**changed), known=loaded or self.load())

    def operations(self):
        found = {node.id: [*node.operations] for node in (self.first, self.second)}
        self.near.asked()
        return list(found.values())

    def held(self, node):
        return ENVELOPE.open(node.items[KEY][0], KEY) if KEY in node.items else None


@pytest.fixture
def site():
    return Site()


def test_a_change_is_appended_to_all_copies_in_one_round_trip(site):
    saved = site.change(a=b"1")

    assert site.operations() == [["gets", "ms"], ["append", "gets"]]
    assert saved.holders == {site.first.id, site.second.id}
    for node in (site.first, site.second):
        assert len(list(segments_in(node.items[KEY][0]))) == 2
        assert site.held(node) == saved.record
    assert values(site.load()) == {**LARGE, "a": b"1"}
    assert site.store.writes == 1


def test_what_was_appended_needs_no_second_look(site, monkeypatch):
    site.change(a=b"1")
    monkeypatch.setattr(Envelope, "read", None)

    site.change(a=b"2")

    assert values(site.load())["a"] == b"2"


def test_only_the_change_of_another_worker_is_verified(site, monkeypatch):
    other = fast_path(site.near)
    site.change(a=b"1")
    load(other)
    site.change(a=b"2")
    monkeypatch.setattr(Envelope, "read", None)

    assert values(load(other))["a"] == b"2"


def test_a_change_renews_nothing_and_one_that_is_due_is_written_whole(site):
    loaded = site.load()

    def renewing(later):
        def rewrite(seen):
            made = changing(a=b"1")(seen)
            return made._replace(renewed=made.renewed + later, expires_at=made.expires_at + later)

        return rewrite

    kept = save(site.store, renewing(90.0), known=loaded).record
    assert (kept.renewed, kept.expires_at) == (loaded.record.renewed, loaded.record.expires_at)

    renewed = save(site.store, renewing(101.0), known=site.load()).record
    assert renewed.expires_at == loaded.record.expires_at + 101.0
    assert len(list(segments_in(site.first.items[KEY][0]))) == 1


def test_with_so_many_changes_the_record_is_written_anew(site):
    most = 0
    for number in range(3 * LIMIT):
        site.change(a=b"%d" % number)
        most = max(most, len(list(segments_in(site.first.items[KEY][0]))) - 1)

    assert most == LIMIT
    assert site.first.items[KEY][0] == site.second.items[KEY][0]
    assert site.store.other_writes == 0


def test_changes_that_outgrow_the_record_are_written_anew(site):
    site.change(b=b"y" * 800)
    site.change(b=b"z" * 800)

    assert len(list(segments_in(site.first.items[KEY][0]))) == 1


def not_growing(site):
    site.second.takes_meta = False


def older_format(site):
    site.near.format = 1


def removed(seen):
    return changing(a=b"1")(seen)._replace(created=seen.created - 5)


@pytest.mark.parametrize("prepare", [not_growing, older_format])
def test_nothing_is_appended_where_that_is_not_allowed(site, prepare):
    loaded = site.load()
    prepare(site)
    site.near.asked()

    site.change(loaded, a=b"1")

    assert all("cas" in operations for operations in site.operations())
    assert site.store.writes == 1


def test_nothing_is_appended_to_a_record_of_format_1(site):
    for node in (site.first, site.second):
        node.put(KEY, segmenting(writes=1).seal(record(1, **LARGE), KEY))

    site.change(a=b"1")

    assert site.first.items[KEY][0][2] == 2
    assert len(list(segments_in(site.first.items[KEY][0]))) == 1


def test_more_than_changed_attributes_is_written_whole(site):
    save(site.store, removed, known=site.load())

    assert len(list(segments_in(site.first.items[KEY][0]))) == 1


# -- what may happen between the read and the write ------------------------------------------------


def other_change(site):
    """Another worker appends to both copies."""
    change_both(site, Change(1, 5, {"b": (5, b"2")}))


def other_change_of_the_same(site):
    change_both(site, Change(1, 50, {"a": (50, b"2")}))


def change_both(site, change):
    for node in (site.first, site.second):
        grow(node, change)


def grow(node, change, envelope=ENVELOPE):
    node.put(KEY, node.items[KEY][0] + envelope.seal_change(change, KEY))


def refused_change(site):
    """Another worker appended to the second copy, and was refused by the first."""
    grow(site.second, Change(1, 5, {"b": (5, b"2")}))


def refused_later_change(site):
    grow(site.second, Change(1, 50, {"a": (50, b"2")}))


def new_base(site):
    site.second.put(KEY, ENVELOPE.seal(record(50, **LARGE), KEY))


def renewed_first(site):
    site.first.put(KEY, ENVELOPE.seal(record(1, expires_at=1e10, **LARGE), KEY))


def moved(site):
    for node in (site.first, site.second):
        node.put(KEY, ENVELOPE.seal(alias(50, "msm:test:other", **LARGE), KEY))


def moved_first(site):
    site.first.put(KEY, ENVELOPE.seal(alias(50, "msm:test:other", **LARGE), KEY))


def ended_second(site):
    site.second.put(KEY, ENVELOPE.seal(tombstone(50), KEY))


def ended_first(site):
    site.first.put(KEY, ENVELOPE.seal(tombstone(50), KEY))


def gone_first(site):
    del site.first.items[KEY]


def gone_second(site):
    del site.second.items[KEY]


def damaged_second(site):
    site.second.put(KEY, site.second.items[KEY][0] + b"rubbish")


def damaged_base(site):
    site.second.put(KEY, b"Ms\2rubbish" + site.second.items[KEY][0][9:])


def lacking_second(site):
    grow(site.second, Change(3, 4, {"b": (4, b"2")}))


def strange_second(site):
    grow(site.second, Change(1, 5, {"b": (5, b"2")}), STRANGE)


def strange_first(site):
    grow(site.first, Change(1, 5, {"b": (5, b"2")}), STRANGE)


def failed_first(site):
    site.first.fail()


def failed_second(site):
    site.second.hang()


def old_second(site):
    site.second.put(KEY, segmenting(writes=1).seal(record(1, **LARGE), KEY))


EVENTS = [
    other_change,
    other_change_of_the_same,
    refused_change,
    refused_later_change,
    new_base,
    renewed_first,
    moved,
    moved_first,
    ended_first,
    ended_second,
    gone_first,
    gone_second,
    damaged_second,
    damaged_base,
    lacking_second,
    strange_first,
    strange_second,
    failed_first,
    failed_second,
    old_second,
]


@pytest.mark.parametrize("event", EVENTS)
def test_the_outcome_is_that_of_the_usual_way(event):
    outcomes = []
    for fast in (True, False):
        site = Site(fast=fast)
        loaded = site.load()
        event(site)
        saved = site.change(loaded, a=b"1")
        named = [site.near.nodes[holder] for holder in saved.holders]
        for node in named:
            held = site.held(node)
            assert held.kind is saved.record.kind
            # What was refused elsewhere is its writer's business.
            assert held.attributes.alive().items() >= values(saved).items()
            assert held.expires_at >= saved.record.expires_at
        for node in site.near.nodes.values():
            node.heal()
        outcomes.append([len(named), (saved.record.kind, values(saved)), load_without(site)])

    if event is refused_change:
        assert [outcome[0] for outcome in outcomes] == [2, 2]
    else:
        assert outcomes[0] == outcomes[1]


def load_without(site):
    """Return what a worker sees that begins now."""
    found = load(site.near.store)
    return found.record.kind, values(found)


@pytest.mark.parametrize("event", [refused_change, old_second])
def test_what_stands_beside_the_own_change_on_a_second_copy_is_no_conflict(site, event):
    loaded = site.load()
    event(site)
    site.near.asked()

    saved = site.change(loaded, a=b"1")

    taken = event is refused_change
    assert site.store.writes == taken
    assert saved.copies == 2


@pytest.mark.parametrize(
    "event", [other_change_of_the_same, refused_later_change, new_base, renewed_first]
)
def test_a_change_made_from_an_older_record_is_stamped_above_what_is_there(site, event):
    loaded = site.load()
    event(site)

    saved = site.change(loaded, a=b"1")

    assert values(saved)["a"] == b"1"
    highest = max(site.held(node).version for node in (site.first, site.second))
    assert saved.record.version == highest
    assert saved.record.attributes.entries["a"][0] > 1


def test_what_only_others_can_read_stays_as_it_is(site):
    loaded = site.load()
    strange_second(site)
    before = site.second.items[KEY][0]

    saved = site.change(loaded, a=b"1")

    assert site.second.items[KEY][0].startswith(before)
    assert site.second.id not in saved.holders


def test_a_late_change_behind_a_tombstone_brings_nothing_back(site):
    loaded = site.load()
    for node in (site.first, site.second):
        node.put(KEY, ENVELOPE.seal(tombstone(50), KEY))

    saved = site.change(loaded, a=b"1")

    assert saved.record.kind is Kind.DESTROYED
    for node in (site.first, site.second):
        assert site.held(node).kind is Kind.DESTROYED
