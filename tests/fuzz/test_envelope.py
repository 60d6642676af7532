"""Records from a store: verified before anything is decoded, and then bounded all the same."""

from __future__ import annotations

import math
import zlib
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import strategies as st
from support.fuzzing import fuzz
from support.mutation import mutated
from support.sealing import KEY, KEYS, MAX_SIZE, SECRETS, encryption, envelope, record

from flask_msm.errors import IncompleteRecordError, RecordError
from flask_msm.record import body as bodies_module
from flask_msm.record.codec.msgpack import pack
from flask_msm.record.encryption import Encryption
from flask_msm.record.envelope import FORMAT, HASH_SIZE, HEADER, INFLATE_FACTOR, MAGIC
from flask_msm.record.hybrid_clock import WEAK_OFFSET
from flask_msm.record.record import Ending, Kind, Pointer, Record
from flask_msm.record.segments import BASE_HEADER, CHANGE, CHANGE_HEADER, SEGMENTED, Change, changed
from flask_msm.record.segments import signed as signed_by


PLAIN, ENCRYPTED = envelope(), envelope(SECRETS[0])
SEGMENTING = [envelope(record_format=2), envelope(SECRETS[0], record_format=2)]
ENVELOPES = st.sampled_from([PLAIN, ENCRYPTED, *SEGMENTING])
RECORDS = [
    record(),
    record({"text": b"x" * 9000, "name": None}),
    record()._replace(kind=Kind.ALIAS, pointer=Pointer(9, "msm:test:" + "b" * 40, 4.0)),
    record({})._replace(kind=Kind.DESTROYED),
    record({})._replace(kind=Kind.DESTROYED, ending=Ending.of(5.0, "signed out")),
]
SEALED = [e.seal(r, KEY) for e in (PLAIN, ENCRYPTED, *SEGMENTING) for r in RECORDS]
CHANGES = [
    Change(7, 8, {"cart": (8, b"1")}),
    Change(8, 9, {"cart": (9, None), "\ud800": (9, b"2")}),
]
#: Records with changes behind them, whole.
GROWN = [
    e.seal(record(), KEY) + b"".join(e.seal_change(change, KEY) for change in CHANGES)
    for e in SEGMENTING
]
#: What a verified record may take beside itself.
INFLATED = MAX_SIZE * INFLATE_FACTOR + 8 * 1024 * 1024


@contextmanager
def nothing_decoded():
    """Fail when anything behind the header is used."""

    def used(*_):
        pytest.fail("decoded before it was verified")

    with (
        mock.patch.object(bodies_module, "unpack", used),
        mock.patch.object(zlib, "decompressobj", used),
        mock.patch.object(Encryption, "decrypt", used),
    ):
        yield


def begins_whole(data):
    """Return whether *data* is a record of format 2, with bytes behind it or none."""
    return any(data.startswith(whole) for whole in SEALED if whole[2] == SEGMENTED)


def opened(an_envelope, data):
    """Return the record in *data*, ``None`` if it is refused as it should be."""
    try:
        return an_envelope.open(data, KEY)
    except RecordError:
        return None


def signed(data):
    return signed_by(data, KEY, KEYS.current.secret)


headers = st.builds(
    HEADER.pack,
    st.sampled_from([MAGIC, b"XX"]),
    st.sampled_from([FORMAT, 0, 3, 255]),
    st.integers(0, 255) | st.integers(0, 3),
    st.integers(0, 255) | st.integers(0, 3),
    st.sampled_from([1, 0, 255]),
    st.sampled_from([KEYS.current.id, b"\0\0\0\0"]),
    st.floats(),
    st.floats(),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
)
times = st.floats(allow_nan=False, allow_infinity=False)
good_headers = st.builds(
    HEADER.pack,
    st.just(MAGIC),
    st.just(FORMAT),
    st.integers(0, 2),
    st.just(0),
    st.just(1),
    st.just(KEYS.current.id),
    times | st.floats(),
    times | st.floats(),
    times | st.floats(),
    st.integers(-WEAK_OFFSET, WEAK_OFFSET - 1) | st.integers(-(2**63), 2**63 - 1),
)
leaves = st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9) | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=9)
stamps = st.integers(-WEAK_OFFSET, WEAK_OFFSET - 1) | st.integers(-(2**63), 2**64 - 1)


def entry_lists(*parts):
    """Return a strategy of lists as an envelope packs entries: names, stamps and values in turn."""
    return st.lists(st.tuples(*parts), max_size=3).map(
        lambda entries: [part for entry in entries for part in entry]
    )


#: What is of the right types but for its bounds, and what is not.
right = entry_lists(st.text(max_size=5), stamps, st.none() | st.binary(max_size=9))
odd = entry_lists(leaves, leaves, leaves)
pointers = st.none() | st.tuples(stamps, st.text(max_size=9), st.floats())
bodies = (
    st.tuples(stamps, pointers, right, right).map(list)
    | st.tuples(values, values, values | odd, values | odd).map(list)
    | values
)


def packed(value):
    try:
        return pack(value)
    except TypeError:  # a lone surrogate
        return b"\xc0"


@fuzz(st.binary(max_size=300), ENVELOPES)
def test_foreign_bytes_are_refused_before_they_are_decoded(data, an_envelope):
    with nothing_decoded():
        assert opened(an_envelope, data) is None


@fuzz(headers, st.binary(max_size=300), ENVELOPES)
def test_a_forged_record_is_refused_before_it_is_decoded(header, body, an_envelope):
    with nothing_decoded():
        assert opened(an_envelope, header + body + bytes(HASH_SIZE)) is None


@fuzz(mutated(st.sampled_from(SEALED)), ENVELOPES)
def test_a_changed_record_is_refused_before_it_is_decoded(data, an_envelope):
    if data in SEALED:
        assert opened(SEGMENTING[1], data) in RECORDS
        return
    if begins_whole(data):
        assert opened(an_envelope, data) is None
        return
    with nothing_decoded():
        assert opened(an_envelope, data) is None


@fuzz(st.sampled_from(SEALED), st.sampled_from(SEALED), st.integers(0, 400), ENVELOPES)
def test_records_that_were_spliced_are_refused(one, other, at, an_envelope):
    data = one[:at] + other[at:]
    if begins_whole(data):
        assert data in SEALED or opened(an_envelope, data) is None
    elif data not in SEALED:
        with nothing_decoded():
            assert opened(an_envelope, data) is None


@fuzz(headers, st.binary(max_size=300), ENVELOPES, memory=INFLATED)
def test_a_signed_record_of_any_bytes_is_a_record_or_refused(header, body, an_envelope):
    found = opened(an_envelope, signed(header + body))

    assert found is None or isinstance(found, Record)


@fuzz(good_headers, bodies)
def test_a_signed_record_of_any_values_has_the_right_types_or_is_refused(header, body):
    found = opened(PLAIN, signed(header + packed(body)))
    if found is None:
        return
    attributes = found.attributes
    assert math.isfinite(found.expires_at)
    assert math.isfinite(found.renewed)
    assert not math.isnan(found.created)
    stamps = [found.version, attributes.floor]
    for name, (stamp, value) in [*attributes.entries.items(), *attributes.weak.items()]:
        stamps.append(stamp)
        assert type(name) is str
        assert value is None or type(value) is bytes
    if found.pointer is not None:
        assert [type(part) for part in found.pointer] == [int, str, float]
        assert math.isfinite(found.pointer.until)
    # The clock of stamps can go on from each of them.
    assert all(type(stamp) is int and abs(stamp) <= WEAK_OFFSET for stamp in stamps)


#: Every record that a part of the changes makes, by any of which one with damage may show.
PARTS = [RECORDS[0]]
for _change in CHANGES:
    PARTS.append(changed(PARTS[-1], _change))


@fuzz(mutated(st.sampled_from(GROWN)))
def test_of_changes_with_damage_nothing_shows_but_what_is_intact(data):
    for reader in SEGMENTING:
        try:
            found = reader.open(data, KEY)
        except IncompleteRecordError as error:
            found = error.part
        except RecordError:
            continue
        assert found in PARTS


segment_heads = st.tuples(
    st.just(SEGMENTED) | st.integers(0, 255),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([1, 0, 255]),
    st.sampled_from([KEYS.current.id, b"\0\0\0\0"]),
    st.just(None) | st.integers(0, 2**32 - 1),
)
many_stamps = st.integers(-(2**63), 2**63 - 1)


def segment(layout, magic, head, fields, body):
    *start, length = head
    whole = layout.size + len(body) + HASH_SIZE
    return signed(layout.pack(magic, *start, whole if length is None else length, *fields) + body)


base_segments = st.builds(
    segment,
    st.just(BASE_HEADER),
    st.just(MAGIC),
    segment_heads,
    st.tuples(times, times, times, many_stamps),
    bodies.map(lambda body: packed(body)),
)
change_segments = st.builds(
    segment,
    st.just(CHANGE_HEADER),
    st.just(CHANGE),
    segment_heads,
    st.tuples(many_stamps, many_stamps),
    (right | odd | values).map(lambda body: packed(body)),
)


@fuzz(base_segments | st.sampled_from(GROWN), st.lists(change_segments, max_size=3), ENVELOPES)
def test_signed_segments_of_any_values_are_a_record_or_refused(base, behind, an_envelope):
    try:
        found = an_envelope.open(base + b"".join(behind), KEY)
    except IncompleteRecordError as error:
        found = error.part
    except RecordError:
        return
    assert isinstance(found, Record)
    assert all(type(name) is str for name in found.attributes.entries)
    assert abs(found.version) <= WEAK_OFFSET


bombs = st.integers(0, 60_000_000).map(lambda size: zlib.compress(bytes(size), 1))


@fuzz(bombs, st.binary(max_size=3), share=0.1, memory=INFLATED)
def test_a_body_that_inflates_without_end_is_cut_off(bomb, extra):
    header = HEADER.pack(MAGIC, FORMAT, 0, 1, 1, KEYS.current.id, 1, 2, 3, 4)

    with pytest.raises(RecordError):
        PLAIN.open(signed(header + bomb + extra), KEY)


CIPHER = encryption(SECRETS[0])
BODY = CIPHER.encrypt(b"the body", KEY, b"header")


@fuzz(mutated(st.just(BODY)) | st.binary(max_size=100).map(lambda data: BODY[:4] + data))
def test_a_changed_encrypted_body_is_refused(data):
    if data == BODY:
        return
    with pytest.raises(RecordError):
        CIPHER.decrypt(data, KEY, b"header")
