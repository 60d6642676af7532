"""Records: their join, and the time to live made from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_msm.memcached.wire import RELATIVE_TTL_LIMIT, ttl_for
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.record import (
    BEHIND,
    PARTIAL,
    Kind,
    Pointer,
    Record,
    as_whole,
    join,
    join_optional,
    lagging,
)


attributes = st.dictionaries(
    st.sampled_from("ab"), st.tuples(st.integers(1, 4), st.sampled_from([None, b"1", b"2"]))
).map(lambda entries: Attributes(entries, {}, 0))
times = st.sampled_from([1.0, 2.0, 3.0])


@st.composite
def records(draw):
    kind = draw(st.sampled_from(Kind))
    pointer = None
    if kind is Kind.ALIAS:
        pointer = Pointer(draw(st.integers(1, 4)), draw(st.sampled_from("xy")), draw(times))
    return Record(
        kind,
        draw(times),
        draw(times),
        draw(times),
        draw(st.integers(0, 4)),
        NOTHING if kind is Kind.DESTROYED else draw(attributes),
        pointer,
    )


@given(records(), records())
def test_join_is_commutative(one, other):
    assert join(one, other) == join(other, one)


@given(records(), records(), records())
def test_join_is_associative(one, two, three):
    assert join(join(one, two), three) == join(one, join(two, three))


@given(records())
def test_join_is_idempotent(one):
    assert join(one, one._replace()) == one


@pytest.mark.parametrize("ended_first", [True, False])
def test_a_tombstone_keeps_where_the_session_moved_to(ended_first):
    pointer = Pointer(3, "x", 2.0)
    moved = Record(Kind.ALIAS, 1.0, 2.0, 3.0, 3, NOTHING, pointer)
    ended = moved._replace(kind=Kind.DESTROYED, version=4, pointer=None)

    joined = join(ended, moved) if ended_first else join(moved, ended)

    assert (joined.kind, joined.pointer) == (Kind.DESTROYED, pointer)


@given(records(), records())
def test_a_tombstone_is_never_undone(one, other):
    tombstone = one._replace(kind=Kind.DESTROYED, attributes=NOTHING, pointer=None)

    joined = join(other, tombstone)

    assert joined.kind is Kind.DESTROYED
    assert joined.attributes == NOTHING


@given(records(), records())
def test_header_fields_join_each_in_its_own_way(one, other):
    joined = join(one, other)

    assert joined.created == min(one.created, other.created)
    assert joined.renewed == max(one.renewed, other.renewed)
    assert joined.expires_at == max(one.expires_at, other.expires_at)
    assert joined.version == max(one.version, other.version)


def test_parts_that_lack_each_others_latest_changes_still_know_when_the_session_began():
    whole = Record(Kind.DATA, 1.8e9, 1.8e9, 1.9e9, 1, NOTHING)
    one, other = lagging(whole), lagging(whole._replace(created=1.8e9 + 5.0, version=2))
    unseen = whole._replace(created=PARTIAL, version=3)

    joined = join(join(one, other), unseen)

    assert joined.created >= BEHIND
    assert lagging(joined) == joined
    assert as_whole(joined).created == 1.8e9
    assert join(joined, whole).created == 1.8e9


def test_nothing_joined_with_nothing_is_nothing():
    assert join_optional(None, None) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, 1),
        (0, 1),
        (0.5, 1),
        (1, 2),
        (60, 61),
        (RELATIVE_TTL_LIMIT - 1, RELATIVE_TTL_LIMIT),
        (RELATIVE_TTL_LIMIT, 1_000_000 + RELATIVE_TTL_LIMIT + 1),
        (2**40, 2**31 - 1),
    ],
)
def test_the_time_to_live_is_what_memcached_understands(seconds, expected):
    assert ttl_for(1_000_000.0 + seconds, 1_000_000.0) == expected


@pytest.mark.parametrize("now", [2**31 - RELATIVE_TTL_LIMIT + 0.5, 2.0**31, 2.0**32])
def test_when_no_date_can_be_written_any_more_a_long_life_is_the_longest_relative_one(now):
    """It would be a date in the past, and the item gone at once."""
    assert ttl_for(now + 31 * 86_400, now) == RELATIVE_TTL_LIMIT
    assert ttl_for(now + 60, now) == 61


@given(st.floats(-1e12, 1e12))
def test_the_time_to_live_is_never_for_ever_and_never_wraps(expires_at):
    assert 1 <= ttl_for(expires_at, 1.7e9) < 2**31
