"""Records as bytes: what comes back is what went in, or nothing does."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_msm.errors import CorruptRecordError, RecordError, UnknownRecordError
from flask_msm.record import segments as module
from flask_msm.record.attributes import Attributes
from flask_msm.record.codec.msgpack import pack
from flask_msm.record.envelope import FORMAT, HEADER, MAGIC, OVERHEAD, Envelope
from flask_msm.record.hybrid_clock import WEAK_OFFSET, weak
from flask_msm.record.keys import Keyring, keyring, ref_of, storage_key
from flask_msm.record.record import Kind, Pointer, Record


KEY = storage_key("msm:test:", "a" * 43)
KEYS = Keyring(("secret",))
LAST = WEAK_OFFSET - 1


def envelope(*secrets, codec_id=1, compress_above=4096, max_size=100_000, record_format=1):
    ring = Keyring(secrets or ("secret",))
    return Envelope(
        lambda: ring,
        codec_id=codec_id,
        compress_above=compress_above,
        max_size=max_size,
        writes=lambda: record_format,
    )


ENVELOPE, SEGMENTING = envelope(), envelope(record_format=2)
envelopes = st.sampled_from([ENVELOPE, SEGMENTING])

entries = st.dictionaries(
    st.text(max_size=5), st.tuples(st.integers(1, LAST), st.none() | st.binary(max_size=9))
)
weak_entries = st.dictionaries(
    st.text(max_size=5),
    st.tuples(st.integers(1, LAST).map(weak), st.none() | st.binary(max_size=9)),
)
moments = st.floats(0, 4e9)


@st.composite
def records(draw):
    kind = draw(st.sampled_from(Kind))
    pointer = None
    if kind is Kind.ALIAS:
        pointer = Pointer(draw(st.integers(1, LAST)), draw(st.text(max_size=9)), draw(moments))
    attributes = Attributes(draw(entries), draw(weak_entries), draw(st.integers(0, LAST)))
    return Record(
        kind,
        draw(moments),
        draw(moments),
        draw(moments),
        draw(st.integers(0, LAST)),
        attributes,
        pointer,
    )


def record(values=None):
    values = {"cart": b"\x93\x01\x02\x03"} if values is None else values
    attributes = Attributes({name: (7, value) for name, value in values.items()}, {}, 0)
    return Record(Kind.DATA, 1.0, 2.0, 3.0, 7, attributes)


@given(records(), envelopes, envelopes)
def test_a_record_comes_back_as_it_was(original, writer, reader):
    assert reader.open(writer.seal(original, KEY), KEY) == original


def test_a_name_with_a_lone_surrogate_comes_back():
    original = record({"\ud800": b"1", "plain": b"2"})

    assert ENVELOPE.open(ENVELOPE.seal(original, KEY), KEY) == original


@settings(max_examples=300)
@given(st.data(), envelopes)
def test_any_flipped_bit_is_detected(data, sealing):
    sealed = bytearray(sealing.seal(record(), KEY))
    index = data.draw(st.integers(0, len(sealed) - 1))
    sealed[index] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(RecordError):
        ENVELOPE.open(bytes(sealed), KEY)


@given(st.data(), envelopes)
def test_any_cut_or_lengthened_record_is_detected(data, sealing):
    sealed = sealing.seal(record(), KEY)
    cut = data.draw(st.integers(0, len(sealed) - 1))

    for changed in (sealed[:cut], sealed[cut:] if cut else b"", sealed + b"\0"):
        with pytest.raises(CorruptRecordError):
            ENVELOPE.open(changed, KEY)


@given(st.data(), envelopes)
def test_any_two_swapped_bytes_are_detected(data, sealing):
    sealed = bytearray(sealing.seal(record(), KEY))
    indices = st.integers(0, len(sealed) - 1)
    one, other = data.draw(indices), data.draw(indices)
    if sealed[one] == sealed[other]:
        return
    sealed[one], sealed[other] = sealed[other], sealed[one]

    with pytest.raises(RecordError):
        ENVELOPE.open(bytes(sealed), KEY)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_corrupt_or_unknown(data):
    with pytest.raises(RecordError):
        ENVELOPE.open(data, KEY)


def test_a_record_of_another_session_is_corrupt():
    sealed = ENVELOPE.seal(record(), KEY)

    with pytest.raises(CorruptRecordError):
        ENVELOPE.open(sealed, storage_key("msm:test:", "b" * 43))


def test_a_fallback_key_verifies_and_the_current_one_signs():
    old, new = envelope("old"), envelope("new", "old")

    assert new.open(old.seal(record(), KEY), KEY) == record()
    with pytest.raises(UnknownRecordError):
        old.open(new.seal(record(), KEY), KEY)


def test_keys_that_are_rotated_at_run_time_count_at_once():
    rings = [Keyring(("old",))]
    running = Envelope(lambda: rings[-1], codec_id=1, compress_above=None, max_size=1000)
    before = running.seal(record(), KEY)
    rings.append(Keyring(("new", "old")))

    assert running.open(before, KEY) == envelope("new").open(running.seal(record(), KEY), KEY)
    assert not running.is_current(before)
    rings.append(Keyring(("new",)))
    with pytest.raises(UnknownRecordError):
        running.open(before, KEY)


def test_a_newer_format_is_unknown_not_corrupt():
    sealed = bytearray(ENVELOPE.seal(record(), KEY))
    sealed[2] = 3

    with pytest.raises(UnknownRecordError):
        ENVELOPE.open(bytes(sealed), KEY)


def test_another_codec_is_unknown_not_corrupt():
    sealed = envelope(codec_id=9).seal(record(), KEY)

    with pytest.raises(UnknownRecordError):
        ENVELOPE.open(sealed, KEY)


def test_large_bodies_are_deflated_and_come_back():
    original = record({"text": b"x" * 50_000})
    sealed = ENVELOPE.seal(original, KEY)

    assert len(sealed) < 1000
    assert ENVELOPE.open(sealed, KEY) == original


def test_small_bodies_are_not_deflated():
    assert len(ENVELOPE.seal(record({"text": b"x" * 1000}), KEY)) > 1000


def test_without_a_limit_nothing_is_deflated():
    assert len(envelope(compress_above=None).seal(record({"text": b"x" * 50_000}), KEY)) > 50_000


def test_a_body_that_inflates_too_far_is_for_processes_that_take_larger_records():
    """It must not be replaced while such a setting differs between workers."""
    small = envelope(compress_above=10, max_size=100)
    large = envelope(compress_above=10)
    sealed = large.seal(record({"text": b"x" * 50_000}), KEY)

    with pytest.raises(UnknownRecordError, match="inflates"):
        small.open(sealed, KEY)


def test_a_deflated_body_that_is_cut_off_is_corrupt(monkeypatch):
    monkeypatch.setattr(zlib, "compress", lambda data, level, real=zlib.compress: real(data)[:-9])
    sealed = ENVELOPE.seal(record({"text": b"x" * 5000}), KEY)

    with pytest.raises(CorruptRecordError, match="inflate"):
        ENVELOPE.open(sealed, KEY)


def test_a_deflated_body_with_rubbish_is_corrupt(monkeypatch):
    monkeypatch.setattr(zlib, "compress", lambda data, level: b"rubbish")
    sealed = ENVELOPE.seal(record({"text": b"x" * 5000}), KEY)

    with pytest.raises(CorruptRecordError, match="inflate"):
        ENVELOPE.open(sealed, KEY)


def test_the_overhead_is_small():
    assert OVERHEAD == HEADER.size + 16 < 64


def test_the_storage_key_does_not_tell_the_session_id():
    sid = "s" * 43

    assert sid not in KEY
    assert storage_key("p:", sid) == storage_key("p:", sid)
    assert storage_key("p:", sid) != storage_key("p:", "t" * 43)
    assert len(ref_of(KEY)) == 10
    assert ref_of(KEY) in KEY


def test_keys_of_one_secret_are_derived_once():
    assert keyring(("one",)) is keyring(("one",))
    assert keyring(("one",)).current != keyring(("two",)).current


def test_a_secret_may_be_bytes_of_any_length():
    assert Keyring((b"x" * 500,)).current.secret != Keyring((b"x" * 501,)).current.secret


INF, NAN = float("inf"), float("nan")
TIMES = {"created": [NAN, -INF], "renewed": [NAN, INF, -INF], "expires_at": [NAN, INF, -INF]}
NO_STAMPS = [WEAK_OFFSET, -WEAK_OFFSET - 1, 2**64 - 1, 1.5, True, None, "1", b"1"]
PLACES = {
    "floor": lambda odd: [odd, None, [], []],
    "a stamp": lambda odd: [0, None, ["name", odd, b"1"], []],
    "a weak stamp": lambda odd: [0, None, [], ["name", odd, b"1"]],
    "the stamp of a pointer": lambda odd: [0, [odd, "key", 1.0], [], []],
}
BODIES = {
    "a value that is text": [0, None, ["name", 1, "text"], []],
    "a value that is a number": [0, None, ["name", 1, 5], []],
    "a name that is a number": [0, None, [5, 1, b"1"], []],
    "a name that is none": [0, None, [None, 1, b"1"], []],
    "half an entry": [0, None, ["name", 1], []],
    "a pointer to no key": [0, [1, 5, 1.0], [], []],
    "a pointer until never": [0, [1, "key", INF], [], []],
    "a pointer until no time": [0, [1, "key", NAN], [], []],
    "half a pointer": [0, [1, "key"], [], []],
    "three parts": [0, None, []],
    "no list": "text",
} | {f"{place}: {odd!r}": make(odd) for place, make in PLACES.items() for odd in NO_STAMPS}


def signed(body, version=1, **times):
    """Return a record with a right signature, as only a faulty program of ours would write it."""
    moments = {"created": 1.0, "renewed": 2.0, "expires_at": 3.0} | times
    header = HEADER.pack(MAGIC, FORMAT, 0, 0, 1, KEYS.current.id, *moments.values(), version)
    data = header + pack(body)
    return module.signed(data, KEY, KEYS.current.secret)


def test_a_signed_and_valid_body_is_opened():
    entries = ["name", WEAK_OFFSET - 1, b"1", "removed", -WEAK_OFFSET, None]

    assert ENVELOPE.open(signed([0, [1, "key", 1.0], entries, []]), KEY).version == 1
    assert ENVELOPE.open(signed([0, None, [], []], created=INF), KEY).created == INF


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_signed_body_with_impossible_content_is_corrupt(body):
    with pytest.raises(CorruptRecordError):
        ENVELOPE.open(signed(body), KEY)


@pytest.mark.parametrize(("name", "odd"), [(n, odd) for n, found in TIMES.items() for odd in found])
def test_a_signed_time_that_is_none_is_corrupt(name, odd):
    with pytest.raises(CorruptRecordError):
        ENVELOPE.open(signed([0, None, [], []], **{name: odd}), KEY)


@pytest.mark.parametrize("version", [WEAK_OFFSET, -WEAK_OFFSET - 1, 2**63 - 1])
def test_a_signed_version_beyond_all_stamps_is_corrupt(version):
    with pytest.raises(CorruptRecordError):
        ENVELOPE.open(signed([0, None, [], []], version), KEY)
