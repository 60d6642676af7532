"""Records and envelopes, plain and encrypted."""

from __future__ import annotations

from flask_msm.record.attributes import Attributes
from flask_msm.record.encryption import Encryption
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import EncryptionKeys, Keyring, storage_key
from flask_msm.record.record import Kind, Record


#: Two keys for MSM_ENCRYPTION_KEYS.
SECRETS = bytes(range(32)), bytes(range(100, 132))
KEY = storage_key("msm:test:", "a" * 43)
KEYS = Keyring(("secret",))
MAX_SIZE = 100_000


def encryption(*secrets, encrypts=True):
    return Encryption(EncryptionKeys(secrets[0] if encrypts else None, secrets))


def envelope(*secrets, encrypts=True, codec_id=1, keys=KEYS, record_format=1):
    """Return an envelope that encrypts with the first of *secrets*, if there are any."""
    return Envelope(
        lambda: keys,
        codec_id=codec_id,
        compress_above=4096,
        max_size=MAX_SIZE,
        encryption=encryption(*secrets, encrypts=encrypts) if secrets else None,
        writes=lambda: record_format,
    )


def record(values=None):
    values = {"cart": b"\x93\x01\x02\x03"} if values is None else values
    attributes = Attributes({name: (7, value) for name, value in values.items()}, {}, 0)
    return Record(Kind.DATA, 1.0, 2.0, 3.0, 7, attributes)
