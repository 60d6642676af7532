"""The blacklist: bounded entries that can be carried around, joined and cleared; and pins."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import FakeClock

from flask_msm.errors import MAX_NAME, short_name
from flask_msm.sessions.blacklist import MAX_ENTRIES, RETAINED, Blacklist, Noted
from flask_msm.sessions.blacklist_entries import MAX_WORKERS, Entry, join
from flask_msm.sessions.pins import MAX_PINS, Pin, Pins


CLOCK = FakeClock()


def make(worker="web-1:10", clock=None):
    return Blacklist(clock or FakeClock(), lambda: worker)


def note(blacklist, attribute="cart", type_name="_thread.lock", **facts):
    facts = {
        "path": f"{attribute}[3].lock",
        "error": "EncodeError",
        "reason": "not a type the codec takes",
        "endpoint": "view",
        "added_by": "blacklist",
        **facts,
    }
    return blacklist.note(attribute, type_name, **facts)


def summary(blacklist):
    return {entry.key: (entry.count, entry.workers) for entry in blacklist.all()}


# -- entries -------------------------------------------------------------------------------------


def test_an_entry_says_what_where_when_and_how_often():
    clock = FakeClock()
    blacklist = make(clock=clock)
    began = clock.time()

    assert note(blacklist) is Noted.NEW
    clock.advance(5)
    assert note(blacklist, path="cart[4].lock", endpoint="other") is Noted.KNOWN

    (entry,) = blacklist.all()
    assert entry == Entry(
        attribute="cart",
        type_name="_thread.lock",
        path="cart[4].lock",
        error="EncodeError",
        reason="not a type the codec takes",
        endpoint="other",
        added_by="blacklist",
        first_seen=began,
        last_seen=began + 5,
        counts={"web-1:10": 2},
    )
    assert (entry.count, entry.workers) == (2, ("web-1:10",))


def test_ten_thousand_attributes_leave_the_first_and_a_count():
    blacklist = make()

    noted = [note(blacklist, f"name {number}") for number in range(10_000)]

    assert len(blacklist) == MAX_ENTRIES
    assert noted.count(Noted.NEW) == MAX_ENTRIES
    assert blacklist.overflow == 10_000 - MAX_ENTRIES
    assert len(blacklist.to_json()) < MAX_ENTRIES * 500


def test_an_entry_not_seen_for_long_makes_room():
    clock = FakeClock()
    blacklist = make(clock=clock)
    for number in range(MAX_ENTRIES):
        note(blacklist, f"name {number}")
    clock.advance(RETAINED)
    note(blacklist, "name 0")

    assert note(blacklist, "new") is Noted.NEW

    names = {entry.attribute for entry in blacklist.all()}
    assert len(names) == MAX_ENTRIES
    assert {"new", "name 0"} <= names
    assert "name 1" not in names


def test_long_texts_are_cut_and_long_names_still_told_apart():
    blacklist = make()
    start = "x" * 10_000

    for name in (start + "a", start + "b", "\ud800\x00" * 5_000):
        note(blacklist, name, path=name, reason=name, type_name=name, endpoint=name, error=name)

    assert len(blacklist) == 3
    assert len(blacklist.to_json()) < 20_000
    assert all(len(entry.attribute) <= MAX_NAME for entry in blacklist.all())


def test_a_name_that_is_not_a_string_has_an_entry():
    blacklist = make()
    note(blacklist, None, path="[int]", type_name="int")

    blacklist.merge(blacklist.to_json())

    assert summary(blacklist) == {(None, "int"): (1, ("web-1:10",))}


# -- between workers -----------------------------------------------------------------------------


def test_counts_of_several_workers_are_summed_once_however_often_they_are_merged():
    one, other = make("one"), make("other")
    for _ in range(3):
        note(one)
    note(other)
    note(other, "job")

    for _ in range(3):
        one.merge(other.to_json())
        other.merge(one.to_json())

    expected = {
        ("cart", "_thread.lock"): (4, ("one", "other")),
        ("job", "_thread.lock"): (1, ("other",)),
    }
    assert summary(one) == summary(other) == expected


def test_own_entries_of_a_worker_come_before_those_of_others():
    one, other = make("one"), make("other")
    note(one)
    note(one, "job")
    other.merge(one.to_json())
    note(other)

    first, third = make("first"), make("third")
    first.merge(other.summary(1))
    third.merge(other.summary(2))

    assert summary(first) == {("cart", "_thread.lock"): (2, ("one", "other"))}
    assert summary(third) == summary(other)


def test_a_worker_shares_its_own_count_and_the_greatest_of_the_others():
    workers = [make(str(number)) for number in range(9)]
    own = workers[0]
    for number, worker in enumerate(workers):
        for _ in range(number + 1):
            note(worker)
        own.merge(worker.to_json())

    receiver = make("receiver")
    receiver.merge(own.summary(1))

    assert summary(receiver) == {("cart", "_thread.lock"): (1 + 7 + 8 + 9, ("0", "6", "7", "8"))}


def test_a_report_may_be_limited_to_the_newest():
    clock = FakeClock()
    blacklist = make(clock=clock)
    for number in range(5):
        clock.advance(1)
        note(blacklist, f"name {number}")

    assert [facts["attribute"] for facts in json.loads(blacklist.summary(2))] == [
        "name 4",
        "name 3",
    ]


texts = st.text(max_size=3)
entries = st.builds(
    Entry,
    attribute=st.just("cart"),
    type_name=st.just("lock"),
    path=texts,
    error=texts,
    reason=texts,
    endpoint=st.none() | texts,
    added_by=texts,
    first_seen=st.floats(0, 5),
    last_seen=st.floats(5, 10),
    counts=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
)


@given(entries, entries, entries)
def test_joining_is_commutative_associative_and_idempotent(a, b, c):
    assert join(a, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))


def test_an_entry_counts_for_so_many_workers():
    blacklist = make()
    for number in range(MAX_WORKERS * 3):
        worker = make(f"worker {number}")
        note(worker)
        blacklist.merge(worker.to_json())

    (entry,) = blacklist.all()
    assert len(entry.workers) == MAX_WORKERS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b"[1,null,{},[]]",
        b'[{"attribute":1,"type":"a"}]',
        "[" + "9" * 5_000 + "]",
    ],
)
def test_data_that_is_no_blacklist_is_ignored(data):
    blacklist = make()
    note(blacklist)

    blacklist.merge(data)

    assert summary(blacklist) == {("cart", "_thread.lock"): (1, ("web-1:10",))}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attribute", 5),
        ("type", None),
        ("path", "x" * 1_000),
        ("first", "yesterday"),
        ("last", float("nan")),
        ("last", True),
        ("counts", {}),
        ("counts", {"w": 0}),
        ("counts", {"w": 2**60}),
        ("counts", {str(number): 1 for number in range(MAX_WORKERS + 1)}),
        ("counts", [1]),
    ],
)
def test_a_wrong_entry_is_passed_over_and_the_others_are_taken(name, value):
    source, blacklist = make(), make("other")
    note(source)
    note(source, "job")
    facts = json.loads(source.to_json())
    facts[0][name] = value

    blacklist.merge(json.dumps(facts))

    assert len(blacklist) == 1


def test_a_clock_a_day_ahead_does_not_outlive_a_clear():
    ahead, clock = FakeClock(), FakeClock()
    ahead.advance(24 * 3600)
    source, blacklist = make("ahead", ahead), make("here", clock)
    note(source)
    blacklist.merge(source.to_json())
    clock.advance(61)

    blacklist.clear(clock.time())

    assert blacklist.all() == []


# -- clearing ------------------------------------------------------------------------------------


def test_an_entry_older_than_a_clear_vanishes_and_does_not_come_back():
    clock = FakeClock()
    one, other = make("one", clock), make("other", clock)
    note(one)
    other.merge(one.to_json())
    clock.advance(1)

    one.clear(clock.time())
    one.merge(other.to_json())
    assert one.all() == []

    clock.advance(1)
    assert note(one) is Noted.NEW
    assert summary(one) == {("cart", "_thread.lock"): (1, ("one",))}


def test_one_attribute_may_be_cleared_alone():
    clock = FakeClock()
    blacklist = make(clock=clock)
    long = "x" * 10_000
    for name in ("cart", "job", long):
        note(blacklist, name)

    blacklist.clear(clock.time(), "job")
    blacklist.clear(clock.time(), long)
    blacklist.merge(blacklist.to_json())

    assert [entry.attribute for entry in blacklist.all()] == ["cart"]


def test_the_memory_of_clears_is_bounded():
    blacklist = make()

    for number in range(1_000):
        blacklist.clear(1.0, f"name {number}")

    assert len(blacklist._cleared) == MAX_ENTRIES


# -- pins ----------------------------------------------------------------------------------------


def test_pins_of_the_configuration_cannot_be_removed_by_operators():
    pins = Pins(["cart"])
    pins.set_chosen([])

    assert "cart" in pins
    assert pins.all() == [Pin("cart", "MSM_BLACKLIST")]


def test_an_operator_pins_and_unpins_with_name_and_reason():
    pins = Pins(["job"])

    pins.set_chosen([Pin("cart", "anna", "too slow", 5.0)])
    assert "cart" in pins
    assert pins.all() == [Pin("cart", "anna", "too slow", 5.0), Pin("job", "MSM_BLACKLIST")]

    pins.set_chosen([])
    assert "cart" not in pins


def test_pins_of_the_fleet_replace_those_known_before():
    pins = Pins()
    pins.set_chosen([Pin("cart")])

    pins.set_chosen([Pin("job", "anna", "", 1.0)])

    assert [pin.name for pin in pins.all()] == ["job"]


def test_pins_are_bounded():
    pins = Pins()

    pins.set_chosen(Pin(f"name {number}", at=number) for number in range(MAX_PINS * 2))
    assert len(pins.names) == MAX_PINS
    assert f"name {MAX_PINS * 2 - 1}" in pins


@pytest.mark.parametrize("name", ["x" * 10_000, "a\x00b", "\ud800", "a, b"])
def test_any_name_can_be_pinned(name):
    pins = Pins()
    pins.set_chosen([Pin(name)])

    assert name in pins
    assert name + "!" not in pins
    assert short_name(name) in pins


@pytest.mark.parametrize("name", [5, None, ("cart",), b"cart"])
def test_a_name_that_is_not_a_string_is_never_pinned(name):
    assert name not in Pins(["cart"])


def test_labels_are_bounded_and_differ():
    names = ["", "a", "x" * MAX_NAME, "x" * (MAX_NAME + 1), "x" * 5_000, "x" * 5_001]

    labels = [short_name(name) for name in names]

    assert all(one != other for one, other in itertools.combinations(labels, 2))
    assert all(len(text) <= MAX_NAME for text in labels)
    assert [short_name(text) for text in labels] == labels
