"""Sessions in the memory of a worker: those used last, within a bound."""

from __future__ import annotations

from flask_msm.record.attributes import Attributes
from flask_msm.record.record import Kind, Record
from flask_msm.storage.near_copies import NearCopies


def record(*values):
    entries = {f"name{number}": (1, value) for number, value in enumerate(values)}
    return Record(Kind.DATA, 1.0, 2.0, 3.0, 1, Attributes(entries, {}, 0))


def keep(copies, key, *values):
    copies.put(key, record(*values), 5.0, b"seen")


def test_the_session_used_longest_ago_goes_first():
    one = NearCopies(100_000)
    keep(one, "a", bytes(3_000))
    copies = NearCopies(3 * one.size)
    for key in ("a", "b", "c"):
        keep(copies, key, bytes(3_000))
    assert copies.get("a")

    keep(copies, "d", bytes(3_000))

    assert copies.get("b") is None
    assert all(copies.get(key) for key in ("a", "c", "d"))
    assert copies.size == 3 * one.size


def test_a_session_larger_than_all_room_is_not_kept_and_its_older_copy_goes():
    copies = NearCopies(2_000)
    keep(copies, "a", b"1")

    keep(copies, "a", bytes(3_000))

    assert copies.get("a") is None
    assert (copies.size, len(copies)) == (0, 0)


def test_a_removed_attribute_takes_room_for_its_name_only():
    copies, with_value = NearCopies(10_000), NearCopies(10_000)
    keep(copies, "a", None)
    keep(with_value, "a", bytes(100))

    assert with_value.size - copies.size == 100


def test_what_is_dropped_takes_no_room():
    copies = NearCopies(10_000)
    keep(copies, "a", b"1")
    copies.drop("a")
    copies.drop("never kept")

    assert (copies.size, len(copies)) == (0, 0)
