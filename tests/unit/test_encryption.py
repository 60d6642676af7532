"""Encrypted records: without the key they cannot be read, and no change goes unnoticed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from support.apps import make_app
from support.sealing import KEY, KEYS, SECRETS, encryption, envelope, record

from flask_msm.errors import ConfigError, CorruptRecordError, RecordError, UnknownRecordError
from flask_msm.record.encryption import OVERHEAD, Encryption
from flask_msm.record.envelope import HEADER
from flask_msm.record.keys import Keyring, storage_key


ONE, TWO = SECRETS
PLAIN = envelope()
ENCRYPTED = envelope(ONE)


@given(st.dictionaries(st.text(max_size=5), st.binary(max_size=20_000), max_size=4))
def test_an_encrypted_record_comes_back_as_it_was(values):
    original = record(values)

    assert ENCRYPTED.open(ENCRYPTED.seal(original, KEY), KEY) == original


def test_the_header_stays_readable_and_the_body_does_not():
    plain, sealed = PLAIN.seal(record(), KEY), ENCRYPTED.seal(record(), KEY)

    fields, others = HEADER.unpack_from(plain), HEADER.unpack_from(sealed)
    assert fields[:3] == others[:3]
    assert (fields[3], others[3]) == (0, 2)
    assert fields[4:] == others[4:]
    assert b"cart" in plain
    assert b"cart" not in sealed
    assert len(sealed) - len(plain) == OVERHEAD


def test_a_body_is_compressed_before_it_is_encrypted():
    sealed = ENCRYPTED.seal(record({"text": b"x" * 50_000}), KEY)

    assert HEADER.unpack_from(sealed)[3] == 3
    assert len(sealed) < 1000


def test_no_two_records_have_the_same_nonce():
    sealed = {ENCRYPTED.seal(record(), KEY) for _ in range(500)}
    nonces = {data[HEADER.size + 4 : HEADER.size + 16] for data in sealed}

    assert len(nonces) == 500


def test_a_former_key_decrypts_and_the_first_one_encrypts():
    rotated = envelope(TWO, ONE)
    old = ENCRYPTED.seal(record(), KEY)

    assert rotated.open(old, KEY) == record()
    assert envelope(TWO).open(rotated.seal(record(), KEY), KEY) == record()


def test_a_key_that_is_announced_decrypts_and_encrypts_nothing():
    announced = envelope(ONE, encrypts=False)

    assert announced.open(ENCRYPTED.seal(record(), KEY), KEY) == record()
    assert announced.seal(record(), KEY) == PLAIN.seal(record(), KEY)


def test_a_record_written_before_keys_were_set_is_read():
    assert ENCRYPTED.open(PLAIN.seal(record(), KEY), KEY) == record()


def test_a_record_that_would_be_written_differently_today_is_not_current():
    """Maps of the fleet are written anew then, for they may not change before a key goes."""
    plain, one, two = (an.seal(record(), KEY) for an in (PLAIN, ENCRYPTED, envelope(TWO)))
    announced, rotated = envelope(ONE, encrypts=False), envelope(TWO, ONE)

    assert [PLAIN.is_current(plain), PLAIN.is_current(one)] == [True, False]
    assert [announced.is_current(plain), announced.is_current(one)] == [True, False]
    assert [rotated.is_current(data) for data in (plain, one, two)] == [False, False, True]
    assert not envelope(keys=Keyring(("newer", "secret"))).is_current(plain)


@pytest.mark.parametrize("other", [PLAIN, envelope(TWO)], ids=["no key", "another key"])
def test_without_the_right_key_a_record_is_unknown_not_corrupt(other):
    with pytest.raises(UnknownRecordError):
        other.open(ENCRYPTED.seal(record(), KEY), KEY)


def test_any_changed_byte_is_detected():
    sealed = ENCRYPTED.seal(record(), KEY)
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 0x01
        with pytest.raises(RecordError):
            ENCRYPTED.open(bytes(changed), KEY)


def test_any_changed_byte_of_a_body_is_detected_by_the_encryption_alone():
    """A holder of SECRET_KEY can sign, and still cannot change what is encrypted."""
    cipher, header = encryption(ONE), b"header"
    sealed = cipher.encrypt(b"the body", KEY, header)
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 0x80
        with pytest.raises(RecordError):
            cipher.decrypt(bytes(changed), KEY, header)
        with pytest.raises(RecordError):
            cipher.decrypt(sealed[:index], KEY, header)


@pytest.mark.parametrize(
    ("key", "header"), [(storage_key("msm:test:", "b" * 43), b"header"), (KEY, b"Header")]
)
def test_a_body_decrypts_under_its_own_storage_key_and_header_only(key, header):
    cipher = encryption(ONE)
    sealed = cipher.encrypt(b"the body", KEY, b"header")

    with pytest.raises(CorruptRecordError):
        cipher.decrypt(sealed, key, header)


def test_a_storage_key_is_part_of_what_is_authenticated_even_if_ciphers_were_the_same(monkeypatch):
    made = Encryption._cipher_for
    monkeypatch.setattr(Encryption, "_cipher_for", lambda self, key_id, _: made(self, key_id, KEY))
    cipher = encryption(ONE)
    sealed = cipher.encrypt(b"the body", KEY, b"header")

    assert cipher.decrypt(sealed, KEY, b"header") == b"the body"
    with pytest.raises(CorruptRecordError):
        cipher.decrypt(sealed, storage_key("msm:test:", "b" * 43), b"header")


def test_every_storage_key_has_a_cipher_key_of_its_own(monkeypatch):
    used = []
    cipher = encryption(ONE)
    monkeypatch.setattr(cipher, "_cipher", lambda key: used.append(key) or AESGCM(key))

    for key in (KEY, storage_key("msm:test:", "b" * 43)):
        cipher.encrypt(b"the body", key, b"header")

    assert len(set(used)) == 2
    assert ONE not in used


def test_nothing_is_decrypted_before_the_signature_is_verified(monkeypatch):
    sealed = envelope(ONE, keys=Keyring(("another secret",))).seal(record(), KEY)
    named = sealed[:6] + KEYS.current.id + sealed[10:]
    monkeypatch.setattr(Encryption, "decrypt", lambda *_: pytest.fail("decrypted"))

    with pytest.raises(CorruptRecordError):
        ENCRYPTED.open(named, KEY)


def test_no_error_has_a_key_or_a_body():
    sealed = ENCRYPTED.seal(record(), KEY)
    for other in (PLAIN, envelope(TWO)):
        with pytest.raises(RecordError) as caught:
            other.open(sealed, KEY)
        assert ONE.hex() not in str(caught.value)
        assert "cart" not in str(caught.value)


def test_keys_where_cryptography_is_missing_are_an_error_that_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)

    with pytest.raises(ConfigError, match=r"flask-msm\[encryption\]") as caught:
        make_app(MSM_ENCRYPTION_KEYS=ONE.hex())

    assert caught.value.key == "MSM_ENCRYPTION_KEYS"
    assert caught.value.value == "***"
    assert ONE.hex() not in str(caught.value)


def test_without_keys_cryptography_is_not_even_imported():
    code = (
        "import sys, flask, flask_msm\n"
        "app = flask.Flask('x'); app.secret_key = 'x'\n"
        "app.config.update(MSM_ADMIN=False, MSM_LOCAL_CACHE='simple', TESTING=True)\n"
        "flask_msm.MemcachedSessionManager(app)\n"
        "assert 'cryptography' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
