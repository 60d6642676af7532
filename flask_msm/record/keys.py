"""Keys derived from ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``, one purpose each."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple


#: An application's secrets: the current key first, then the fallbacks.
Secrets = tuple["str | bytes", ...]


class Key(NamedTuple):
    """A derived key, and the id that a record names it by."""

    id: bytes
    secret: bytes


def derive(secret: str | bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for *purpose* (at most 16 bytes) that reveal nothing about *secret*."""
    raw = secret.encode() if isinstance(secret, str) else secret
    # A key of any length: BLAKE2b takes 64 bytes at most as its key, so it is hashed first.
    return blake2b(b"flask_msm", key=blake2b(raw).digest(), person=purpose, digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class EncryptionKeys:
    """What encrypts and what decrypts. Its ``repr`` shows no key.

    Attributes:
        encrypting: Encrypts what is written; ``None``: it is written as it is.
        decrypting: All keys, each of 32 bytes.
    """

    encrypting: bytes | None = field(repr=False)
    decrypting: tuple[bytes, ...] = field(repr=False)


class Keyring:
    """The keys that sign and verify records.

    Attributes:
        current: Signs.
        by_id: Verifies; the current key and the fallbacks.
    """

    def __init__(self, secrets: Secrets) -> None:
        keys = [
            Key(derive(secret, b"record-key-id")[:4], derive(secret, b"record"))
            for secret in secrets
        ]
        self.current = keys[0]
        self.by_id = {key.id: key.secret for key in reversed(keys)}


@lru_cache(maxsize=32)
def keyring(secrets: Secrets) -> Keyring:
    """Return the keyring of *secrets*; deriving it is paid once."""
    return Keyring(secrets)


@lru_cache(maxsize=4096)
def storage_key(prefix: str, sid: str) -> str:
    """Return the key under which stores keep the session *sid*.

    A hash, so that a dump of a store holds no usable cookie, and independent of ``SECRET_KEY``,
    so that a session survives the rotation of keys.
    """
    return prefix + blake2b(sid.encode(), digest_size=20, person=b"flask_msm sid").hexdigest()


#: Length of what follows the prefix in a storage key, in hexadecimal digits.
DIGEST_LENGTH = 40
REF_LENGTH = 10
_DIGITS = "0123456789abcdef"


def is_digest(name: str) -> bool:
    """Return whether *name* is the hash in a storage key."""
    return len(name) == DIGEST_LENGTH and not name.strip(_DIGITS)


def digest_of(key: str) -> str | None:
    """Return the hash in a storage key, ``None`` when *key* is not one of a session."""
    digest = key[-DIGEST_LENGTH:]
    # Longer than a hash, so that this is one if its digits are.
    return digest if key[DIGEST_LENGTH:] and not digest.strip(_DIGITS) else None


def ref_of(key: str) -> str:
    """Return the only name of a session in logs, signals and pages."""
    return key[-DIGEST_LENGTH:][:REF_LENGTH]
