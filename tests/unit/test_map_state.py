"""Maps of the fleet: joined in any order, bounded, and what lives keeps its stamp."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_msm.cluster.map_state import BASE, at_most, fitted, fold, join, newest, put
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import keyring
from flask_msm.record.record import Kind, Record


#: A stamp after which nothing happens here: every removal is old.
OLD = 1 << 62


def canonical(entries, floor):
    """Return a map without removals that its floor implies already."""
    return Attributes({n: e for n, e in entries.items() if e != (floor, None)}, {}, floor)


NAMES = st.sampled_from(["a", "b", "c"])
ENTRIES = st.tuples(st.integers(1, 9), st.one_of(st.none(), st.sampled_from([b"", b"x", b"y"])))
MAPS = st.builds(canonical, st.dictionaries(NAMES, ENTRIES), st.integers(0, 9))


@given(MAPS, MAPS, MAPS)
def test_maps_are_joined_in_any_order_and_any_number_of_times(one, other, third):
    assert join(one, other) == join(other, one)
    assert join(join(one, other), third) == join(one, join(other, third))
    assert join(one, one) == one
    assert join(one, join(one, other)) == join(one, other)


@given(MAPS, NAMES, ENTRIES)
def test_a_change_is_the_join_with_one_entry(before, name, entry):
    assert put(before, name, entry) == join(before, Attributes({name: entry}, {}, 0))


@given(MAPS, st.integers(0, 3), st.integers(1, 10))
def test_folding_keeps_what_lives_with_its_stamp_and_only_adds_to_what_is_known(
    before, most, limit
):
    after = fold(before, most, limit)

    assert living(after) == living(before)
    assert join(before, after) == after
    assert after.floor == before.floor or after.floor < limit


@given(MAPS, MAPS, st.integers(0, 3))
def test_a_map_that_was_behind_brings_nothing_back_and_takes_nothing_away(theirs, news, most):
    """What one node holds is behind what another one knows; removals are folded there."""
    known = join(theirs, news)
    folded = fold(known, most, 10)

    assert living(join(folded, theirs)) == living(known)


SIMPLE = st.builds(
    lambda stamps: Attributes({f"{stamp:022d}": (stamp, b"") for stamp in stamps}, {}, 0),
    st.sets(st.integers(1, 30)),
)


@given(SIMPLE, SIMPLE, SIMPLE, st.integers(0, 8))
def test_a_list_keeps_the_same_names_in_every_order_of_cuts(one, other, third, count):
    left = newest(join(newest(join(one, other), count), third), count)
    right = newest(join(one, newest(join(other, third), count)), count)

    assert left == right == newest(join(join(one, other), third), count)


@given(SIMPLE, SIMPLE, SIMPLE, st.integers(0, 8))
def test_a_map_cut_to_fit_a_node_keeps_the_same_names_in_every_order_of_cuts(
    one, other, third, count
):
    limit = BASE + 42 * count

    def cut(attributes):
        return fitted(attributes, limit, lambda name: 0, at_most, OLD)[0]

    whole = cut(join(join(one, other), third))
    assert cut(join(cut(join(one, other)), third)) == whole
    assert cut(join(one, cut(join(other, third)))) == whole
    assert len(whole.entries) <= count


def living(attributes):
    return {name: entry for name, entry in attributes.entries.items() if entry[1] is not None}


def test_to_fit_removals_go_first_and_then_what_is_worth_least_and_is_oldest():
    entries = {
        "removed": (9, None),
        "fact:old": (1, b"x"),
        "fact:new": (6, b"x"),
        "news:old": (5, b"x"),
        "news:new": (8, b"x"),
    }
    attributes = Attributes(entries, {}, 0)
    gone, cuts = [], []
    while attributes.entries:
        limit = at_most(attributes)
        kept, cut = fitted(
            attributes, limit - 1, lambda name: name.startswith("fact:"), at_most, OLD
        )
        gone += set(attributes.entries) - set(kept.entries)
        cuts.append(cut)
        attributes = kept

    assert gone == ["removed", "news:old", "news:new", "fact:old", "fact:new"]
    assert cuts == [0, 1, 1, 1, 1]


def test_a_removal_that_is_cut_does_not_let_a_node_bring_its_name_back():
    removed = Attributes({"gone": (5, None), "stays": (2, b"x")}, {}, 0)
    cut, _ = fitted(removed, at_most(removed) - 1, lambda name: 0, at_most, OLD)
    assert set(cut.entries) == {"stays"}

    again = join(cut, Attributes({"gone": (3, b"x"), "stays": (2, b"x")}, {}, 0))

    assert again.entries == {"stays": (2, b"x")}


def test_a_young_removal_that_is_cut_takes_away_nothing_that_others_have_yet_to_tell():
    known = Attributes({"old": (1, None), "young": (8, None), "stays": (9, b"x")}, {}, 0)
    cut, _ = fitted(known, BASE + 30, lambda name: 0, at_most, 5)
    assert (cut.floor, set(cut.entries)) == (1, {"stays"})

    told = join(cut, Attributes({"missed:n1": (7, b"x")}, {}, 0))

    assert told.entries == {"missed:n1": (7, b"x"), "stays": (9, b"x")}


@given(SIMPLE, st.sets(st.integers(1, 30)), st.integers(0, 8))
def test_a_name_that_a_young_removal_removed_is_cut_as_well(living, removed, count):
    """A node may hold what was there before they were made."""
    after = Attributes(
        living.entries | {f"{stamp:022d}": (stamp + 30, None) for stamp in removed}, {}, 0
    )

    def cut(attributes):
        return fitted(attributes, BASE + 42 * count, lambda name: 0, at_most, 0)[0]

    once = cut(after)
    if len(once.entries) == count:
        assert cut(join(once, living)) == once


@given(
    st.dictionaries(
        st.text(max_size=10),
        st.tuples(st.integers(0, (1 << 62) - 1), st.one_of(st.none(), st.binary(max_size=20))),
        max_size=20,
    )
)
def test_a_map_takes_no_more_bytes_than_its_upper_bound(entries):
    attributes = Attributes(entries, {}, 1 << 61)
    envelope = Envelope(
        lambda: keyring(("secret",)), codec_id=0, compress_above=None, max_size=1 << 20
    )
    record = Record(Kind.DATA, 1.0, 2.0, 3.0, 1 << 61, attributes)

    sealed = envelope.seal(record, "key")

    assert len(sealed) == envelope.size(record) <= at_most(attributes)


def test_a_map_that_can_be_compressed_is_cut_only_when_it_does_not_fit_then():
    envelope = Envelope(
        lambda: keyring(("secret",)), codec_id=0, compress_above=4096, max_size=1 << 20
    )
    names = [hashlib.blake2b(b"%d" % number, digest_size=32).hexdigest() for number in range(1000)]
    attributes = Attributes({n: (k << 16, b"") for k, n in enumerate(names, 1 << 40)}, {}, 0)

    def size(attributes):
        return envelope.size(Record(Kind.DATA, 1.0, 2.0, 3.0, 1, attributes))

    kept, cut = fitted(attributes, 16_000, lambda name: 0, size, OLD)

    assert list(kept.entries) == names[cut:]
    assert 15_900 <= size(kept) <= 16_000
    assert fitted(attributes, size(attributes), lambda name: 0, size, OLD) == (attributes, 0)


@pytest.mark.parametrize("attributes", [NOTHING, Attributes({"a": (1, b"x")}, {}, 0)])
def test_a_map_within_its_bounds_is_left_as_it_is(attributes):
    assert fold(attributes, 1, 10) is attributes
    assert newest(attributes, 1) is attributes
    assert fitted(attributes, 1000, lambda name: 0, at_most, OLD) == (attributes, 0)
