"""Records with changes behind them: their order does not matter, and no damage makes another."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sealing import KEY, KEYS, SECRETS, envelope, record

from flask_msm.errors import CorruptRecordError, IncompleteRecordError, UnknownRecordError
from flask_msm.record.attributes import NOTHING
from flask_msm.record.envelope import needs_of
from flask_msm.record.keys import Keyring, storage_key
from flask_msm.record.record import ENDING_LENGTH, Ending, Kind, Pointer, join
from flask_msm.record.segments import (
    HASH_SIZE,
    Change,
    change_between,
    changed,
    segments_in,
    signed,
)


PLAIN, ENCRYPTED = envelope(record_format=2), envelope(SECRETS[0], record_format=2)
OLD = envelope()
SEALERS = [PLAIN, ENCRYPTED]
NAMES = st.sampled_from(["cart", "user", "\ud800"])


@st.composite
def chains(draw):
    """Return changes of which each was made from the one before; the first from ``record()``."""
    made, after = [], record().version
    for _ in range(draw(st.integers(1, 4))):
        version = after + draw(st.integers(1, 5))
        values = draw(st.dictionaries(NAMES, st.none() | st.binary(max_size=5), min_size=1))
        entries = {name: (version, value) for name, value in values.items()}
        made.append(Change(after, version, entries))
        after = version
    return made


def item(changes, base=None, sealer=PLAIN):
    sealed = [sealer.seal_change(change, KEY) for change in changes]
    return sealer.seal(base or record(), KEY) + b"".join(sealed)


def expected(changes, base=None):
    """Return what *changes* make of a record by the join of records alone."""
    joined = base or record()
    for change in changes:
        attributes = NOTHING._replace(entries=change.entries)
        joined = join(joined, record()._replace(version=change.version, attributes=attributes))
    return joined


@given(chains(), st.randoms(), st.sampled_from(SEALERS))
def test_changes_in_any_order_and_twice_are_the_join_of_all(chain, chance, sealer):
    shuffled = chain + chance.sample(chain, chance.randint(0, len(chain)))
    chance.shuffle(shuffled)

    assert sealer.open(item(shuffled, sealer=sealer), KEY) == expected(chain)


@given(chains(), st.data())
def test_a_record_without_a_change_that_a_later_one_was_made_from_is_incomplete(chain, data):
    chain.append(Change(chain[-1].version, chain[-1].version + 1, {"last": (1, b"")}))
    del chain[data.draw(st.integers(0, len(chain) - 2))]

    with pytest.raises(IncompleteRecordError) as caught:
        PLAIN.open(item(chain), KEY)
    assert caught.value.part == expected(chain)


def test_a_change_made_from_a_record_that_the_base_replaced_is_complete():
    late = Change(3, 4, {"user": (4, b"1")})

    assert PLAIN.open(item([late]), KEY) == expected([late])


@settings(max_examples=200)
@given(chains(), st.sampled_from(SEALERS), st.data())
def test_no_damaged_byte_makes_another_record(chain, sealer, data):
    whole = item(chain, sealer=sealer)
    ends = [0]
    for segment in segments_in(whole):
        ends.append(ends[-1] + len(segment))
    changed_at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[changed_at] ^= 1 << data.draw(st.integers(0, 7))

    intact = sum(end <= changed_at for end in ends) - 2
    with pytest.raises((CorruptRecordError, UnknownRecordError)) as caught:
        sealer.open(bytes(damaged), KEY)
    # What can be read is all that stands in front of the damage, and nothing behind it.
    if isinstance(caught.value, IncompleteRecordError):
        assert intact >= 0
        assert caught.value.part == expected(chain[:intact])


@given(chains(), st.data())
def test_a_record_cut_between_two_changes_is_the_older_one_and_cut_elsewhere_refused(chain, data):
    whole = item(chain)
    cut = data.draw(st.integers(1, len(whole) - 1))
    ends, end = [], 0
    for segment in segments_in(whole):
        end += len(segment)
        ends.append(end)

    if cut in ends:
        assert PLAIN.open(whole[:cut], KEY) == expected(chain[: ends.index(cut)])
    else:
        with pytest.raises(CorruptRecordError):
            PLAIN.open(whole[:cut], KEY)


def test_changes_without_a_base_are_no_record():
    change = PLAIN.seal_change(Change(7, 8, {}), KEY)

    for data in (change, change + change):
        with pytest.raises(CorruptRecordError) as caught:
            PLAIN.open(data, KEY)
        assert not isinstance(caught.value, IncompleteRecordError)


def test_changes_behind_a_damaged_base_are_not_used():
    damaged = bytearray(item([Change(7, 8, {"cart": (8, None)})]))
    damaged[60] ^= 1

    with pytest.raises(CorruptRecordError) as caught:
        PLAIN.open(bytes(damaged), KEY)
    assert not isinstance(caught.value, IncompleteRecordError)


def test_a_change_behind_a_record_of_format_1_is_refused():
    data = OLD.seal(record(), KEY) + PLAIN.seal_change(Change(7, 8, {}), KEY)

    with pytest.raises(CorruptRecordError):
        PLAIN.open(data, KEY)


@pytest.mark.parametrize("sealer", [OLD, envelope(SECRETS[0])])
@pytest.mark.parametrize("kind", [Kind.DATA, Kind.DESTROYED])
def test_a_change_behind_a_record_that_cannot_grow_leaves_both_known_and_makes_it_no_copy(
    sealer, kind
):
    """Another worker put it in place of the record that the change was meant for."""
    attributes = NOTHING if kind is Kind.DESTROYED else record().attributes
    theirs = record()._replace(kind=kind, version=20, attributes=attributes)
    made = [Change(8, 30, {"cart": (30, b"Md\x02")}), Change(30, 31, {"user": (31, b"1")})]

    with pytest.raises(IncompleteRecordError) as caught:
        sealer.open(item(made, theirs, sealer), KEY)

    assert caught.value.part == expected(made, theirs)


@pytest.mark.parametrize("flipped", [30, -1])
def test_a_damaged_record_that_cannot_grow_is_no_better_for_a_change_behind_it(flipped):
    data = bytearray(OLD.seal(record(), KEY))
    data[flipped] ^= 1

    with pytest.raises(CorruptRecordError) as caught:
        OLD.open(bytes(data) + OLD.seal_change(Change(8, 30, {}), KEY), KEY)

    assert not isinstance(caught.value, IncompleteRecordError)


def test_a_change_of_another_session_is_damage():
    other = storage_key("msm:test:", "b" * 43)
    data = item([]) + PLAIN.seal_change(Change(7, 8, {}), other)

    with pytest.raises(IncompleteRecordError):
        PLAIN.open(data, KEY)


@pytest.mark.parametrize("order", [*permutations([0, 1, 2])])
def test_a_change_that_only_others_can_read_makes_the_record_unknown(order):
    one, two = Change(7, 8, {"cart": (8, b"1")}), Change(8, 9, {"cart": (9, b"2")})
    strange = envelope(keys=Keyring(("other",)), record_format=2)
    sealed = [
        PLAIN.seal_change(one, KEY),
        PLAIN.seal_change(two, KEY),
        strange.seal_change(one, KEY),
    ]
    data = item([]) + b"".join(sealed[place] for place in order)

    with pytest.raises(UnknownRecordError):
        PLAIN.open(data, KEY)
    reads = {*PLAIN.reads(), *strange.reads()}
    assert needs_of(data) <= reads
    assert not needs_of(data) <= set(PLAIN.reads())


@pytest.mark.parametrize("place", [2, 3, 4, 5])
def test_a_change_of_a_newer_format_kind_flag_or_codec_is_unknown(place):
    base, change = item([]), bytearray(PLAIN.seal_change(Change(7, 8, {}), KEY))
    newer = signed_again(change, place, 77)

    with pytest.raises(UnknownRecordError):
        PLAIN.open(base + newer, KEY)


def signed_again(segment, place, value):
    segment[place] = value
    return signed(bytes(segment[:-HASH_SIZE]), KEY, KEYS.current.secret)


def test_an_encrypted_change_without_its_key_is_unknown():
    data = item([Change(7, 8, {"cart": (8, b"secret")})], sealer=ENCRYPTED)

    assert b"secret" not in data
    for reader in (PLAIN, envelope(SECRETS[1])):
        with pytest.raises(UnknownRecordError):
            reader.open(data, KEY)
    assert needs_of(data) <= set(ENCRYPTED.reads())
    assert not needs_of(data) <= set(PLAIN.reads())


@pytest.mark.parametrize("kind", [Kind.ALIAS, Kind.DESTROYED])
def test_a_session_that_moved_or_ended_stays_so_behind_any_change(kind):
    base = record({})._replace(kind=kind, pointer=Pointer(7, "key", 4.0))
    late = [Change(9, 10, {"cart": (10, b"1")}), Change(3, 4, {"user": (4, b"1")})]

    found = PLAIN.open(item(late, base), KEY)

    assert (found.kind, found.version, found.pointer) == (kind, 10, base.pointer)
    assert found == expected(late, base)


def test_a_change_renews_nothing():
    found = PLAIN.open(item([Change(7, 8, {"cart": (8, b"1")})]), KEY)

    assert found[1:4] == record()[1:4]


def test_verify_finds_what_opening_refuses():
    whole = item([Change(7, 8, {"cart": (8, b"1")})])
    PLAIN.verify(whole, KEY)

    for data in (whole[:-1], whole + b"\0", whole[:-1] + b"\0"):
        with pytest.raises(CorruptRecordError):
            PLAIN.verify(data, KEY)


@given(chains())
def test_the_change_between_two_records_turns_one_into_the_other(chain):
    for change in chain:
        before = expected([])
        later = changed(before, change)._replace(renewed=9.0)

        assert change_between(before, later) == change._replace(after=before.version)


#: Of a higher version, and with nothing changed.
LATER = record()._replace(version=8)


@pytest.mark.parametrize(
    "later",
    [
        record(),
        LATER,
        LATER._replace(version=7, attributes=LATER.attributes._replace(entries={"a": (7, b"")})),
        LATER._replace(attributes=LATER.attributes._replace(floor=5)),
        LATER._replace(attributes=LATER.attributes._replace(weak={"a": (-1, b"")})),
        LATER._replace(attributes=LATER.attributes._replace(entries={"a": (8, b"")})),
        changed(record(), Change(7, 9, {"a": (8, b"")})),
    ],
)
def test_what_is_more_than_changed_attributes_is_no_change(later):
    assert change_between(record(), later) is None


def test_a_change_of_the_fewest_parts_is_one():
    change = Change(7, 8, {"a": (8, b"")})

    assert change_between(record(), changed(record(), change)) == change


def tombstone(ending):
    return record({})._replace(kind=Kind.DESTROYED, ending=ending)


def test_a_tombstone_keeps_how_it_ended_in_format_2_only():
    ended = tombstone(Ending.of(5.0, "by an operator", "ada"))

    assert PLAIN.open(PLAIN.seal(ended, KEY), KEY) == ended
    assert OLD.open(PLAIN.seal(ended, KEY), KEY) == tombstone(None)
    assert PLAIN.open(OLD.seal(ended, KEY), KEY) == tombstone(None)


def test_of_two_endings_the_earlier_is_kept():
    one, two = Ending.of(5.0, "signed out"), Ending.of(6.0, "by an operator", "ada")

    for left, right in permutations([tombstone(one), tombstone(two)]):
        assert join(left, right).ending == one
    assert join(tombstone(None), tombstone(two)).ending == two
    assert join(record(), tombstone(two)).ending == two


@given(st.text(max_size=200), st.text(max_size=200))
def test_an_ending_takes_so_many_characters_and_any_text(how, by):
    ending = Ending.of(1.0, how, by)

    assert len(ending.how) + len(ending.by) <= ENDING_LENGTH
    assert PLAIN.open(PLAIN.seal(tombstone(ending), KEY), KEY).ending == ending
