"""Records that were verified before: which bytes are one of them, and how many there are."""

from __future__ import annotations

import pytest
from support.storage import ENVELOPE, KEYS, OTHER_KEYS, key, record

from flask_msm.memcached.protocol import CasToken
from flask_msm.storage.known_records import KnownRecords


MADE = record(1, name=b"anna")
DATA = ENVELOPE.seal(MADE, key(0))


@pytest.fixture
def known():
    made = KnownRecords(100_000)
    made.note(key(0), DATA, KEYS, MADE)
    return made


def test_the_same_bytes_under_the_same_key_are_the_record_that_was_verified(known):
    assert known.find(key(0), bytes(bytearray(DATA)), KEYS) is MADE


@pytest.mark.parametrize(
    ("at", "data", "keys"),
    [
        (key(1), DATA, KEYS),
        (key(0), DATA[:-1] + bytes([DATA[-1] ^ 1]), KEYS),
        (key(0), DATA + b"x", KEYS),
        (key(0), DATA[:-1], KEYS),
        (key(0), b"", KEYS),
        (key(0), DATA, OTHER_KEYS),
    ],
    ids=["another session", "a bit flipped", "longer", "shorter", "empty", "other keys"],
)
def test_anything_else_is_not_known(known, at, data, keys):
    assert known.find(at, data, keys) is None


def test_a_newer_record_takes_the_place_of_the_older_one(known):
    newer = record(2, name=b"bob")
    data = ENVELOPE.seal(newer, key(0))

    known.note(key(0), data, KEYS, newer)

    assert known.find(key(0), data, KEYS) is newer
    assert known.find(key(0), DATA, KEYS) is None


def test_what_is_too_much_goes_the_oldest_first():
    known = KnownRecords(10_000)
    sealed = [ENVELOPE.seal(MADE, key(number)) for number in range(50)]
    for number, data in enumerate(sealed):
        known.note(key(number), data, KEYS, MADE)

    kept = [number for number, data in enumerate(sealed) if known.find(key(number), data, KEYS)]

    assert kept == list(range(50 - len(kept), 50))
    assert 3 < len(kept) < 10
    assert known.size <= 10_000


@pytest.mark.parametrize("size", [0, 500])
def test_a_record_that_does_not_fit_is_not_kept(size):
    known = KnownRecords(size)

    known.note(key(0), DATA, KEYS, MADE)

    assert known.find(key(0), DATA, KEYS) is None
    assert known.size == 0


def test_a_session_that_changes_again_and_again_takes_the_room_of_one():
    known = KnownRecords(100_000)
    for version in range(1, 500):
        made = record(version, name=b"anna")
        known.note(key(0), ENVELOPE.seal(made, key(0)), KEYS, made)

    assert known.size < 3_000


TOKENS = {"n1": CasToken(b"7", 1)}


def test_the_tokens_of_its_copies_belong_to_the_record_that_is_known_now(known):
    known.note(key(0), DATA, KEYS, MADE, TOKENS)
    newer = record(2, name=b"bob")

    assert known.tokens(key(0), MADE) == TOKENS
    assert known.tokens(key(0), newer) == {}
    assert known.tokens(key(1), MADE) == {}

    known.note(key(0), ENVELOPE.seal(newer, key(0)), KEYS, newer)

    assert known.tokens(key(0), MADE) == {}
    assert known.tokens(key(0), newer) == {}


def test_a_thread_that_is_at_it_is_not_waited_for(known):
    with known._lock.inner:
        known.note(key(1), DATA, KEYS, MADE)

    assert known.find(key(1), DATA, KEYS) is None
    assert known.find(key(0), DATA, KEYS) is MADE
