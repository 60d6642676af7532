"""Bodies of records as only holders of a key can read them: AES-256-GCM.

The only module that imports cryptography, an extra, and only when there are keys. Every storage
key has a cipher key of its own, derived from the one in ``MSM_ENCRYPTION_KEYS``: random nonces of
96 bits are safe for 2^32 messages under one key, which a busy site writes in weeks and no single
session ever does. Layout::

    key id 4 | nonce 12 | encrypted body | tag 16
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from flask_msm.errors import ConfigError, CorruptRecordError, UnknownRecordError

from .keys import derive


if TYPE_CHECKING:
    from .keys import EncryptionKeys


_ID_SIZE, _NONCE_SIZE, _TAG_SIZE = 4, 12, 16
_BEFORE = _ID_SIZE + _NONCE_SIZE
#: By how many bytes an encrypted body is longer.
OVERHEAD = _BEFORE + _TAG_SIZE


class Encryption:
    """Encrypts with one key, decrypts with all of them.

    Raises:
        ConfigError: cryptography is not installed.
    """

    def __init__(self, keys: EncryptionKeys) -> None:
        self._cipher, self._refused = _aes_gcm()
        self.encrypts = keys.encrypting is not None
        self._by_id = {_id(key): derive(key, b"encryption") for key in keys.decrypting}
        self._current = _id(keys.encrypting or keys.decrypting[0])

    @property
    def id(self) -> bytes:
        """The id of the key that it encrypts with."""
        return self._current

    @property
    def key_ids(self) -> list[bytes]:
        """Ids of the keys it decrypts with."""
        return list(self._by_id)

    def encrypt(self, body: bytes, key: str, header: bytes) -> bytes:
        """Return *body* so that it decrypts under the same storage *key* and *header* only."""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        cipher = self._cipher_for(self._current, key)
        sealed: bytes = cipher.encrypt(nonce, body, _associated(key, header))
        return self._current + nonce + sealed

    def decrypt(self, data: bytes, key: str, header: bytes) -> bytes:
        """Return the body in *data*.

        Raises:
            CorruptRecordError: It was changed, or belongs to another storage key or header.
            UnknownRecordError: It was encrypted with a key that is not known here.
        """
        if len(data) < OVERHEAD:
            raise CorruptRecordError("the encrypted body is cut off")
        key_id, nonce = data[:_ID_SIZE], data[_ID_SIZE:_BEFORE]
        if key_id not in self._by_id:
            raise UnknownRecordError("encrypted with a key that is not known here")
        cipher = self._cipher_for(key_id, key)
        try:
            body: bytes = cipher.decrypt(nonce, data[_BEFORE:], _associated(key, header))
        except self._refused as error:
            # The signature was right: its writer has SECRET_KEY, but not the key that it names.
            raise CorruptRecordError("the body does not decrypt") from error
        return body

    def is_current(self, data: bytes) -> bool:
        """Return whether *data* was encrypted with the key that encrypts now."""
        return data.startswith(self._current)

    def _cipher_for(self, key_id: bytes, key: str) -> Any:
        return self._cipher(blake2b(key.encode(), key=self._by_id[key_id], digest_size=32).digest())


def encryption_of(keys: EncryptionKeys | None) -> Encryption | None:
    """Return what encrypts with *keys*, ``None`` without any.

    Raises:
        ConfigError: cryptography is not installed.
    """
    return None if keys is None else Encryption(keys)


def key_id_of(body: bytes) -> bytes:
    """Return the id of the key that an encrypted *body* names."""
    return body[:_ID_SIZE]


def _id(key: bytes) -> bytes:
    return derive(key, b"encryption-id")[:_ID_SIZE]


def _associated(key: str, header: bytes) -> bytes:
    # No storage key holds a NUL, so it ends where the header begins.
    return key.encode() + b"\0" + header


def _aes_gcm() -> tuple[Any, type[Exception]]:
    """Return the cipher and its error; imported here, so only applications with keys load them."""
    try:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    except ImportError as error:
        allowed = "keys only where cryptography is installed: pip install 'flask-msm[encryption]'"
        raise ConfigError("MSM_ENCRYPTION_KEYS", "***", allowed) from error
    return AESGCM, InvalidTag
