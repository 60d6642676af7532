"""A record as bytes: header, body, and a keyed hash over both and the storage key.

Nothing is decoded before the hash is verified, so what a store returns may be flipped, cut,
forged or of another session without harm. Layout, big-endian::

    magic 2 | format 1 | kind 1 | flags 1 | codec 1 | key id 4
    created 8 | renewed 8 | expires_at 8 | version 8 | body | hash 16

The body is MessagePack: ``[floor, pointer, entries, weak]`` with entries as one flat list
``name, stamp, value, name, ...``, because that packs and unpacks fastest. It may be deflated, and
after that encrypted (``encryption.py``), which the flags record; the header stays readable.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from hmac import compare_digest
from math import inf, isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, cast

from flask_msm.errors import CorruptRecordError, DecodeError, UnknownRecordError

from .attributes import Attributes, Entries
from .codec.msgpack import pack, unpack
from .encryption import key_id_of
from .hybrid_clock import WEAK_OFFSET
from .record import Kind, Pointer, Record


if TYPE_CHECKING:
    from collections.abc import Callable

    from .encryption import Encryption
    from .keys import Keyring


HEADER = Struct(">2sBBBB4sdddq")
MAGIC = b"Ms"
FORMAT = 1
HASH_SIZE = 16
OVERHEAD = HEADER.size + HASH_SIZE
_KEY_ID = slice(6, 10)
_COMPRESSED = 1
_ENCRYPTED = 2
#: A body may inflate to this many times ``MSM_MAX_RECORD_SIZE``.
INFLATE_FACTOR = 16
_LAST_KIND = int(max(Kind))


class Envelope:
    """Seals and opens the records of one application.

    Args:
        keys: Returns the keys of the application's secrets as they are now: these may be rotated
            while it runs.
        codec_id: Number of the codec that encoded the attributes.
        compress_above: Bodies larger than this many bytes are deflated; ``None`` for never.
        max_size: Largest record, bytes (``MSM_MAX_RECORD_SIZE``); bounds what a body may inflate
            to.
        encryption: Encrypts and decrypts bodies; ``None``: none is, and encrypted ones are unknown.
    """

    def __init__(
        self,
        keys: Callable[[], Keyring],
        *,
        codec_id: int,
        compress_above: int | None,
        max_size: int,
        encryption: Encryption | None = None,
    ) -> None:
        self.codec_id = codec_id
        self._keys = keys
        self._encryption = encryption
        self._compress_above = compress_above
        self._max_body = max_size * INFLATE_FACTOR

    def seal(self, record: Record, key: str) -> bytes:
        """Return *record* as bytes that only open under the storage key *key*."""
        body, flags = self._body(record)
        current = self._keys().current
        encryption = self._encryption
        if encryption is not None and encryption.encrypts:
            flags |= _ENCRYPTED
        header = HEADER.pack(
            MAGIC,
            FORMAT,
            record.kind,
            flags,
            self.codec_id,
            current.id,
            record.created,
            record.renewed,
            record.expires_at,
            record.version,
        )
        if encryption is not None and encryption.encrypts:
            body = encryption.encrypt(body, key, header)
        data = header + body
        return data + _hash(data, key, current.secret)

    def size(self, record: Record) -> int:
        """Return how many bytes *record* takes when it is sealed, without encryption."""
        return len(self._body(record)[0]) + OVERHEAD

    def _body(self, record: Record) -> tuple[bytes, int]:
        body = _pack_body(record)
        if self._compress_above is not None and len(body) > self._compress_above:
            deflated = zlib.compress(body, 1)
            if len(deflated) < len(body) <= self._max_body:
                return deflated, _COMPRESSED
        return body, 0

    def open(self, data: bytes, key: str) -> Record:
        """Return the record in *data*.

        Raises:
            CorruptRecordError: It is not a record, was changed, or is not the record of *key*.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        self.verify(data, key)
        _, _, kind, flags, codec, _, created, renewed, expires_at, version = HEADER.unpack_from(
            data
        )
        if codec != self.codec_id:
            raise UnknownRecordError(f"encoded with codec {codec}, this is codec {self.codec_id}")
        if kind > _LAST_KIND or flags & ~(_COMPRESSED | _ENCRYPTED):
            raise UnknownRecordError("a kind or flag that is not known here")
        # Other times cannot be compared; ``created`` may be infinite (``PARTIAL``).
        if not (-inf < renewed < inf and -inf < expires_at < inf and -inf < created <= inf):
            raise CorruptRecordError("a time that is none")
        if not -WEAK_OFFSET <= version < WEAK_OFFSET:
            raise CorruptRecordError("a version that is none")
        body = data[HEADER.size : -HASH_SIZE]
        if flags & _ENCRYPTED:
            if self._encryption is None:
                raise UnknownRecordError("encrypted, and there is no key here")
            body = self._encryption.decrypt(body, key, data[: HEADER.size])
        if flags & _COMPRESSED:
            body = self._inflate(body)
        attributes, pointer = _unpack_body(body)
        return Record(_KINDS[kind], created, renewed, expires_at, version, attributes, pointer)

    def verify(self, data: bytes, key: str) -> None:
        """Return if *data* is a record that was signed for *key* with one of the keys.

        Raises:
            CorruptRecordError: It is not a record, was changed, or is not the record of *key*.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        if len(data) < OVERHEAD or data[:2] != MAGIC:
            raise CorruptRecordError("not a record")
        if data[2] != FORMAT:
            raise UnknownRecordError(f"format {data[2]} is not known here")
        secret = self._keys().by_id.get(data[_KEY_ID])
        if secret is None:
            raise UnknownRecordError("signed with a key that is not known here")
        if not compare_digest(_hash(data[:-HASH_SIZE], key, secret), data[-HASH_SIZE:]):
            raise CorruptRecordError("the signature does not match")

    def reads(self) -> list[str]:
        """Return what this process can read, as ``needs_of`` names it."""
        encryption = self._encryption.key_ids if self._encryption else []
        return sorted(
            [
                f"format:{FORMAT}",
                f"codec:{self.codec_id}",
                *(f"key:{key_id.hex()}" for key_id in self._keys().by_id),
                *(f"encryption:{key_id.hex()}" for key_id in encryption),
            ]
        )

    def is_current(self, data: bytes) -> bool:
        """Return whether *data*, which could be opened, is as it would be written today.

        What is written only when it changes has to be written anew before a key may go.
        """
        _, _, _, flags, _, key_id, *_ = HEADER.unpack_from(data)
        if key_id != self._keys().current.id:
            return False
        if self._encryption is None or not self._encryption.encrypts:
            return not flags & _ENCRYPTED
        return bool(flags & _ENCRYPTED) and self._encryption.is_current(data[HEADER.size :])

    def _inflate(self, body: bytes) -> bytes:
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(body, self._max_body)
        except zlib.error as error:
            raise CorruptRecordError("the body does not inflate") from error
        if not inflater.eof:
            raise CorruptRecordError(f"the body inflates to more than {self._max_body} bytes")
        return inflated


_KINDS = tuple(Kind)


def needs_of(data: bytes) -> frozenset[str]:
    """Return what a process must know to read *data*: a format, a codec, keys by their ids.

    Of another format no more is known than its number. The header is not verified here.
    """
    if len(data) < OVERHEAD or data[2] != FORMAT:
        return frozenset({f"format:{data[2] if len(data) > len(MAGIC) else 0}"})
    kind, flags, codec = data[3], data[4], data[5]
    needs = {f"format:{FORMAT}", f"codec:{codec}", f"key:{data[_KEY_ID].hex()}"}
    if flags & _ENCRYPTED:
        needs.add(f"encryption:{key_id_of(data[HEADER.size :]).hex()}")
    # A later version announces the kinds and flags that it knows beside these; all know these.
    if kind > _LAST_KIND:
        needs.add(f"kind:{kind}")
    if unknown := flags & ~(_COMPRESSED | _ENCRYPTED):
        needs.add(f"flags:{unknown}")
    return frozenset(needs)


def _hash(data: bytes, key: str, secret: bytes) -> bytes:
    # No storage key holds a NUL, so it ends where the record begins.
    mac = blake2b(key.encode() + b"\0", key=secret, digest_size=HASH_SIZE)
    mac.update(data)
    return mac.digest()


def _pack_body(record: Record) -> bytes:
    attributes = record.attributes
    parts = [
        attributes.floor,
        list(record.pointer) if record.pointer else None,
        _flat(attributes.entries),
        _flat(attributes.weak),
    ]
    try:
        return pack(parts)
    except TypeError:
        # A name with a lone surrogate is no UTF-8; its bytes are kept instead.
        parts[2:] = [
            _flat(attributes.entries, as_bytes=True),
            _flat(attributes.weak, as_bytes=True),
        ]
        return pack(parts)


def _flat(entries: Entries, *, as_bytes: bool = False) -> list[object]:
    flat: list[object] = []
    for name, (stamp, value) in entries.items():
        flat += (name.encode("utf-8", "surrogatepass") if as_bytes else name, stamp, value)
    return flat


def _unpack_body(body: bytes) -> tuple[Attributes, Pointer | None]:
    try:
        floor, pointer, entries, weak = cast("Any", unpack(body))
        return (
            # Hardly any session has weak ones.
            Attributes(_entries(entries), {} if weak == [] else _entries(weak), _stamp(floor)),
            _pointer(*pointer) if pointer else None,
        )
    except (DecodeError, TypeError, ValueError) as error:
        # The hash was right, so this was written by a program of ours with a fault.
        raise CorruptRecordError("the body is not a map of attributes") from error


def _entries(flat: list[Any]) -> Entries:
    entries = {}
    parts = iter(flat)
    for name, stamp, value in zip(parts, parts, parts, strict=True):
        # Written without calls, for this is in the way of every read.
        if type(stamp) is not int or not -WEAK_OFFSET <= stamp < WEAK_OFFSET:
            raise TypeError
        if type(value) is not bytes and value is not None:
            raise TypeError
        if type(name) is not str:
            # Bytes, or this raises.
            name = bytes.decode(name, "utf-8", "surrogatepass")  # noqa: PLW2901
        entries[name] = (stamp, value)
    return entries


def _stamp(value: object) -> int:
    if type(value) is not int or not -WEAK_OFFSET <= value < WEAK_OFFSET:
        raise TypeError
    return value


def _pointer(stamp: object, key: object, until: object) -> Pointer:
    if type(key) is not str or type(until) is not float or not isfinite(until):
        raise TypeError
    return Pointer(_stamp(stamp), key, until)
