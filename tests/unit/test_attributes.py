"""The join of attribute maps: one answer to every conflict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_msm.record.attributes import MAX_REMOVALS, NOTHING, Attributes, compact, join, write
from flask_msm.record.hybrid_clock import weak


names = st.sampled_from("abc")
values = st.one_of(st.none(), st.sampled_from([b"1", b"2"]))
stamps = st.integers(1, 6)


@st.composite
def maps(draw):
    floor = draw(st.integers(0, 4))
    entries = draw(st.dictionaries(names, st.tuples(stamps, values)))
    entries = {name: entry for name, entry in entries.items() if entry[0] > floor}
    gaps = draw(st.dictionaries(names, st.tuples(stamps, values)))
    gaps = {name: (weak(at), value) for name, (at, value) in gaps.items() if at > floor}
    return Attributes(entries, gaps, floor)


@given(maps(), maps())
def test_join_is_commutative(one, other):
    assert join(one, other) == join(other, one)


@given(maps(), maps(), maps())
def test_join_is_associative(one, two, three):
    assert join(join(one, two), three) == join(one, join(two, three))


@given(maps())
def test_join_is_idempotent(one):
    assert join(one, one) == one
    assert join(one, NOTHING) == one


@given(maps(), maps())
def test_joining_again_what_is_known_changes_nothing(one, other):
    joined = join(one, other)

    assert join(joined, one) == joined
    assert join(joined, other) == joined


def test_the_higher_stamp_wins():
    old, new = Attributes({"a": (1, b"9")}, {}, 0), Attributes({"a": (2, b"1")}, {}, 0)

    assert join(old, new).alive() == {"a": b"1"}


def test_a_removal_wins_a_tie():
    there, removed = Attributes({"a": (1, b"9")}, {}, 0), Attributes({"a": (1, None)}, {}, 0)

    assert join(there, removed).alive() == {}


def test_the_greater_bytes_win_a_tie():
    one, other = Attributes({"a": (1, b"1")}, {}, 0), Attributes({"a": (1, b"2")}, {}, 0)

    assert join(one, other).alive() == {"a": b"2"}


def test_a_weak_entry_fills_a_gap_only():
    gaps = Attributes({}, {"a": (weak(9), b"weak"), "b": (weak(9), b"weak")}, 0)
    ordinary = Attributes({"a": (1, b"real")}, {}, 0)

    assert join(gaps, ordinary).alive() == {"a": b"real", "b": b"weak"}


@pytest.mark.parametrize("removed_at", [5, 9])
def test_a_weak_entry_does_not_undo_a_later_removal(removed_at):
    gaps = Attributes({}, {"a": (weak(5), b"weak")}, 0)
    joined = join(gaps, Attributes({"a": (removed_at, None)}, {}, 0))

    assert joined.alive() == {}
    assert joined.guesses() == set()


def test_a_weak_entry_fills_the_gap_that_an_earlier_removal_left():
    gaps = Attributes({}, {"a": (weak(9), b"weak")}, 0)
    joined = join(gaps, Attributes({"a": (5, None)}, {}, 0))

    assert joined.alive() == {"a": b"weak"}
    assert joined.guesses() == {"a"}


def test_an_ordinary_change_replaces_the_weak_one():
    base = Attributes({}, {"a": (weak(1), b"weak")}, 0)

    changed = write(base, {"a": b"new"}, 5, weak(5), set())

    assert changed == Attributes({"a": (5, b"new")}, {}, 0)


def test_a_change_marked_weak_is_written_weak():
    assert write(NOTHING, {"a": b"1"}, 5, weak(5), {"a"}).weak == {"a": (weak(5), b"1")}


def test_removals_are_bounded_and_stay_removed():
    removed = {str(number): (number, None) for number in range(1, 12)}
    attributes = compact(Attributes({**removed, "kept": (3, b"1")}, {}, 0), limit=10)
    returning = Attributes({"1": (1, b"old"), "11": (11, b"old")}, {}, 0)

    assert sum(value is None for _, value in attributes.entries.values()) <= 5
    assert attributes.alive() == {"kept": b"1"}
    assert join(attributes, returning).alive() == {"kept": b"1"}


def test_a_change_newer_than_the_floor_survives_the_bounding_of_removals():
    removed = {str(number): (number, None) for number in range(1, 12)}
    compacted = compact(Attributes({**removed, "kept": (3, b"1")}, {}, 0), limit=10)
    parallel = Attributes({"kept": (12, b"2"), "fresh": (12, b"3")}, {}, 0)

    assert join(compacted, parallel).alive() == {"kept": b"2", "fresh": b"3"}


@pytest.mark.parametrize(("stamp", "alive"), [(4, False), (5, False), (6, True)])
def test_only_what_is_above_the_floor_lives(stamp, alive):
    old, cut = Attributes({"a": (stamp, b"1")}, {}, 0), Attributes({}, {}, 5)

    assert bool(join(old, cut).alive()) is alive


@pytest.mark.parametrize(("stamp", "alive"), [(4, False), (5, False), (6, True)])
def test_only_what_was_written_weak_after_the_floor_lives(stamp, alive):
    old, cut = Attributes({}, {"a": (weak(stamp), b"1")}, 0), Attributes({}, {}, 5)

    assert bool(join(old, cut).alive()) is alive


def test_what_was_removed_after_a_weak_write_stays_removed_when_removals_are_bounded():
    gaps = Attributes({}, {"role": (weak(1), b"admin"), "cart": (weak(1), b"full")}, 0)
    removed = {str(number): (number, None) for number in range(3, 14)}
    session = join(Attributes({"role": (2, None), **removed}, {}, 0), gaps)

    compacted = compact(session, limit=10)

    assert compacted.floor > 2
    assert compacted.alive() == {"cart": b"full"}
    assert join(compacted, gaps) == compacted


@pytest.mark.parametrize(("now", "floor"), [(0, 0), (1, 1), (4, 4), (6, 6), (100, 6), (None, 6)])
def test_no_floor_is_ahead_of_the_clock(now, floor):
    removed = {str(number): (number, None) for number in range(1, 12)}

    compacted = compact(Attributes({**removed, "kept": (3, b"1")}, {}, 0), limit=10, now=now)

    assert compacted.floor == floor
    assert compacted.alive() == {"kept": b"1"}


def test_a_change_of_another_is_not_lost_to_removals_of_a_clock_that_was_ahead():
    now = 1000
    base = Attributes({f"{n}": (now + 500 + n, None) for n in range(MAX_REMOVALS)}, {}, 0)
    written = write(base, {"gone": None}, now + 900, weak(now + 900), set(), now=now)

    meanwhile = Attributes({"cart": (now + 1, b"full")}, {}, 0)

    assert join(written, meanwhile).alive() == {"cart": b"full"}


def test_few_removals_are_left_as_they_are():
    attributes = Attributes({"a": (1, None)}, {}, 0)

    assert compact(attributes) is attributes
