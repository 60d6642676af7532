"""The keys of ``MSM_ENCRYPTION_KEYS``: what they look like, and that they are not shown."""

from __future__ import annotations

import re
from base64 import b64decode

from flask_msm.record.keys import EncryptionKeys

from .types import BLANKS_OR_COMMAS, InvalidValueError, Kind, split_list


#: Length of a key, bytes.
KEY_SIZE = 32
#: In place of the first key: nothing is encrypted yet, or any more.
PLAIN = "plain"

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9_+/-]{43}=?")


def _parse(value: object) -> EncryptionKeys:
    words = split_list(value, BLANKS_OR_COMMAS)
    is_plain = bool(words) and words[0].lower() == PLAIN
    keys = tuple(map(_key, words[1:] if is_plain else words))
    if not keys:
        raise InvalidValueError("there is no key")
    if len(set(keys)) < len(keys):
        raise InvalidValueError("one of them is given twice")
    if any(len(set(key)) == 1 for key in keys):
        raise InvalidValueError("one of them is the same byte over and over")
    return EncryptionKeys(None if is_plain else keys[0], keys)


def _key(word: str) -> bytes:
    if _HEX.fullmatch(word):
        return bytes.fromhex(word)
    if not _BASE64.fullmatch(word):
        raise InvalidValueError(f"one of them is not {KEY_SIZE} bytes as base64 or hexadecimal")
    return b64decode(word.rstrip("=") + "=", altchars=b"-_" if re.search("[-_]", word) else None)


#: A list of keys, a secret.
ENCRYPTION_KEYS = Kind(
    f"keys of {KEY_SIZE} random bytes as base64 (43 or 44 characters) or hexadecimal (64), each"
    f" once, separated by blanks or commas, or a list; '{PLAIN}' in front of them encrypts"
    " nothing yet and decrypts with all",
    _parse,
)
