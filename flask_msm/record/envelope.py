"""A record as bytes: header, body, and a keyed hash over both and the storage key.

Nothing is decoded before the hash is verified, so what a store returns may be flipped, cut,
forged or of another session without harm. Layout of format 1, big-endian::

    magic 2 | format 1 | kind 1 | flags 1 | codec 1 | key id 4
    created 8 | renewed 8 | expires_at 8 | version 8 | body | hash 16

Format 2, to which changes can be appended, is that of ``segments.py``; both are read. The body
(``body.py``) may be deflated, and after that encrypted (``encryption.py``), which the flags record;
the header stays readable.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from hashlib import blake2b
from math import inf
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import CorruptRecordError, IncompleteRecordError, UnknownRecordError

from .body import pack_body, pack_entries, unpack_body, unpack_entries
from .encryption import OVERHEAD as ENCRYPTION_OVERHEAD
from .encryption import key_id_of
from .hybrid_clock import WEAK_OFFSET
from .record import Kind, Record
from .segments import (
    BASE,
    BASE_HEADER,
    CHANGE,
    CHANGE_HEADER,
    HASH_SIZE,
    SEGMENTED,
    Change,
    Segments,
    is_signed,
    segment_at,
    segments_in,
    signed,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from .encryption import Encryption
    from .keys import Key, Keyring


HEADER = Struct(">2sBBBB4sdddq")
MAGIC = BASE
FORMAT = 1
OVERHEAD = HEADER.size + HASH_SIZE
_SEGMENTED_MAGIC = MAGIC + bytes([SEGMENTED])
_CHANGE_MAGIC = CHANGE + bytes([SEGMENTED])
_FORMAT_1 = bytes([FORMAT])
_MOMENTS = Struct(">dddq")
#: Where they stand, by format.
_MOMENTS_OF = {
    FORMAT: HEADER.size - _MOMENTS.size,
    SEGMENTED: BASE_HEADER.size - _MOMENTS.size,
}
_FLAGS, _KEY_ID = 4, slice(6, 10)
#: Makes named tuples without the call of a Python function that their class needs.
_new = tuple.__new__
_COMPRESSED = 1
_ENCRYPTED = 2
#: A body may inflate to this many times ``MSM_MAX_RECORD_SIZE``.
INFLATE_FACTOR = 16
_LAST_KIND = int(max(Kind))
#: So many changes are looked for behind a record that none should have been appended to.
MOST_BEHIND = 4


class Head(NamedTuple):
    """What can be read of a record without its body.

    Attributes:
        expires_at: Seconds since the epoch.
    """

    kind: Kind
    expires_at: float


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
        writes: Returns the format that records are written in.
    """

    def __init__(
        self,
        keys: Callable[[], Keyring],
        *,
        codec_id: int,
        compress_above: int | None,
        max_size: int,
        encryption: Encryption | None = None,
        writes: Callable[[], int] = lambda: FORMAT,
    ) -> None:
        self.codec_id = codec_id
        self.keys = keys
        self._encryption = encryption
        self._writes = writes
        self._compress_above = compress_above
        self._max_body = max_size * INFLATE_FACTOR

    def sealer(self) -> bytes:
        """Return the ids of the keys that records are sealed with now; see ``sealer_of``."""
        encryption, sealer = self._encryption, self.keys().current.id
        if encryption is not None and encryption.encrypts:
            sealer += encryption.id
        return sealer

    def seal(self, record: Record, key: str) -> bytes:
        """Return *record* as bytes that only open under the storage key *key*."""
        record_format, current = self._writes(), self.keys().current
        body, flags = pack_body(record, record_format), 0
        if self._compress_above is not None and len(body) > self._compress_above:
            body, flags = self._deflated(body)
        moments = record.created, record.renewed, record.expires_at, record.version
        if record_format == SEGMENTED:
            what = BASE, record.kind, flags
            return self._sealed(BASE_HEADER, what, moments, body, key, current=current)
        encryption = self._encryption
        encrypts = encryption is not None and encryption.encrypts
        flags |= encrypts and _ENCRYPTED
        header = HEADER.pack(MAGIC, FORMAT, record.kind, flags, self.codec_id, current.id, *moments)
        if encryption is not None and encrypts:
            body = encryption.encrypt(body, key, header)
        return signed(header + body, key, current.secret)

    def seal_change(self, change: Change, key: str, *, current: Key | None = None) -> bytes:
        """Return *change* as bytes to append to a record of format 2 under *key*.

        *current* signs it, if the caller knows what does now.
        """
        body, what = pack_entries(change.entries), (CHANGE, 0, 0)
        current = current or self.keys().current
        return self._sealed(CHANGE_HEADER, what, change[:2], body, key, current=current)

    def _sealed(
        self,
        layout: Struct,
        what: tuple[bytes, int, int],
        fields: tuple[float, ...],
        body: bytes,
        key: str,
        *,
        current: Key,
    ) -> bytes:
        """Return a segment; *what* are magic, kind and flags."""
        magic, kind, flags = what
        encryption = self._encryption
        length = layout.size + len(body) + HASH_SIZE
        encrypts = encryption is not None and encryption.encrypts
        if encrypts:
            flags, length = flags | _ENCRYPTED, length + ENCRYPTION_OVERHEAD
        header = layout.pack(
            magic, SEGMENTED, kind, flags, self.codec_id, current.id, length, *fields
        )
        if encryption is not None and encrypts:
            body = encryption.encrypt(body, key, header)
        data = header + body
        # As signed(), which is a call more for each change.
        mac = blake2b(key.encode() + b"\0", key=current.secret, digest_size=HASH_SIZE)
        mac.update(data)
        return data + mac.digest()

    def size(self, record: Record) -> int:
        """Return how many bytes *record* takes when it is sealed, without encryption."""
        body = pack_body(record, FORMAT)
        if self._compress_above is not None and len(body) > self._compress_above:
            body, _ = self._deflated(body)
        return len(body) + OVERHEAD

    def _deflated(self, body: bytes) -> tuple[bytes, int]:
        deflated = zlib.compress(body, 1)
        if len(deflated) < len(body) <= self._max_body:
            return deflated, _COMPRESSED
        return body, 0

    def open(self, data: bytes, key: str) -> Record:
        """Return the record in *data*.

        Raises:
            CorruptRecordError: It is not a record, was changed, or is not the record of *key*.
            IncompleteRecordError: The same, of a change behind it; or one is missing.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        segments = self.read(data, key)
        if segments.complete:
            return segments.record
        is_damaged = segments.damaged
        message = f"a change is {'damaged' if is_damaged else 'missing'}"
        raise IncompleteRecordError(message, segments.record, damaged=is_damaged)

    def read(self, data: bytes, key: str) -> Segments:
        """Return what *data* contains, also if that is not complete.

        Raises:
            CorruptRecordError: It is not a record, was changed, or is not the record of *key*.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        if data[2:3] == _FORMAT_1:
            return self._read_1(data, key)
        base = _base_of(data)
        record = self._record(base, key, BASE_HEADER)
        whole = Segments(record, record, len(base), growing=True)
        return self.grown(whole, data, len(base), key)

    def _read_1(self, data: bytes, key: str) -> Segments:
        """Return what a record of format 1 contains.

        A change may stand behind it: that was appended while another worker, which does not append,
        put this record in place of one that could grow. Both are known then, and it is no copy;
        nor is it damage, for that worker may have been stopped, or away in an outage.
        """
        try:
            record = self._record(data, key, HEADER)
        except CorruptRecordError:
            start = len(data)
            for _ in range(MOST_BEHIND):
                start = data.rfind(_CHANGE_MAGIC, OVERHEAD, start)
                if start < 0:
                    break
                with suppress(CorruptRecordError):
                    record = self._record(data[:start], key, HEADER)
                    found = Segments(record, record, start)
                    return self.grown(found, data, start, key)
            raise
        return Segments(record, record, len(data))

    def _record(self, data: bytes, key: str, layout: Struct) -> Record:
        """Return the record in *data*, behind which there are no changes."""
        if len(data) < layout.size + HASH_SIZE or data[:2] != MAGIC:
            raise CorruptRecordError("not a record")
        self._verify(data, key)
        _, record_format, kind, flags, codec, *_ = layout.unpack_from(data)
        if codec != self.codec_id:
            raise UnknownRecordError(f"encoded with codec {codec}, this is codec {self.codec_id}")
        if kind > _LAST_KIND or flags & ~(_COMPRESSED | _ENCRYPTED):
            raise UnknownRecordError("a kind or flag that is not known here")
        created, renewed, expires_at, version = _MOMENTS.unpack_from(
            data, layout.size - _MOMENTS.size
        )
        # Other times cannot be compared; ``created`` may be infinite (``PARTIAL``).
        if not (-inf < renewed < inf and -inf < expires_at < inf and -inf < created <= inf):
            raise CorruptRecordError("a time that is none")
        if not -WEAK_OFFSET <= version < WEAK_OFFSET:
            raise CorruptRecordError("a version that is none")
        body = data[layout.size : -HASH_SIZE]
        if flags & _ENCRYPTED:
            body = self._decrypted(body, key, data[: layout.size])
        if flags & _COMPRESSED:
            body = self._inflate(body)
        attributes, pointer, ending = unpack_body(body, record_format)
        if ending is not None and self._writes() == FORMAT:
            # It could not be written: copies would never agree.
            ending = None
        return Record(
            _KINDS[kind], created, renewed, expires_at, version, attributes, pointer, ending
        )

    def head(self, data: bytes, key: str) -> Head | None:
        """Return the head of a record that may be stored elsewhere as the bytes it is.

        Returns:
            ``None`` if it is not as it would be written today, or not signed for *key*, or nothing
            this process can read: ``open`` knows which.
        """
        if len(data) < OVERHEAD or data[:2] != MAGIC or not self.is_current(data):
            return None
        kind, flags, codec = data[3], data[4], data[5]
        known = codec == self.codec_id and kind <= _LAST_KIND
        if not known or flags & ~(_COMPRESSED | _ENCRYPTED):
            return None
        if not is_signed(data, key, self.keys().current.secret):
            return None
        moments = _MOMENTS_OF[data[2]]
        created, renewed, expires_at, version = _MOMENTS.unpack_from(data, moments)
        times = -inf < renewed < inf and -inf < expires_at < inf and -inf < created <= inf
        if not (times and -WEAK_OFFSET <= version < WEAK_OFFSET):
            return None
        return _new(Head, (_KINDS[kind], expires_at))

    def grown(self, segments: Segments, data: bytes, start: int, key: str) -> Segments:
        """Return *segments* with what stands in *data* behind them, from *start* on.

        Raises:
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        while start < len(data):
            # Where the next one would begin is not known behind one that is damaged.
            segment = segment_at(data, start, CHANGE)
            if segment is None:
                return segments._replace(damaged=True)
            try:
                change = self.read_change(segment, key)
            except CorruptRecordError:
                return segments._replace(damaged=True)
            segments = segments.with_change(change)
            start += len(segment)
        return segments

    def read_change(self, segment: bytes, key: str) -> Change:
        """Return the change in *segment*.

        Raises:
            CorruptRecordError: It is no change, was changed itself, or is not one of *key*.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        if segment_at(segment, 0, CHANGE) != segment:
            raise CorruptRecordError("not a change")
        if segment[2] != SEGMENTED:
            raise UnknownRecordError(f"a change in format {segment[2]} is not known here")
        self._verify(segment, key)
        _, _, kind, flags, codec, _, _, after, version = CHANGE_HEADER.unpack_from(segment)
        if codec != self.codec_id or kind or flags & ~_ENCRYPTED:
            raise UnknownRecordError("a change of a kind that is not known here")
        if not -WEAK_OFFSET <= after < version < WEAK_OFFSET:
            raise CorruptRecordError("a version that is none")
        body = segment[CHANGE_HEADER.size : -HASH_SIZE]
        if flags & _ENCRYPTED:
            body = self._decrypted(body, key, segment[: CHANGE_HEADER.size])
        return Change(after, version, unpack_entries(body))

    def verify(self, data: bytes, key: str) -> None:
        """Return if *data* is a record that was signed for *key* with one of the keys.

        Raises:
            CorruptRecordError: It is not a record, was changed, or is not the record of *key*.
            UnknownRecordError: Only a process with other keys or a newer version can read it.
        """
        base = _base_of(data)
        try:
            self._verify(base, key)
        except CorruptRecordError:
            if data[2] == FORMAT and not self._read_1(data, key).damaged:
                return
            raise
        start = len(base)
        while start < len(data):
            segment = segment_at(data, start, CHANGE)
            if segment is None:
                raise CorruptRecordError("not a change")
            self._verify(segment, key)
            start += len(segment)

    def _verify(self, data: bytes, key: str) -> None:
        secret = self.keys().by_id.get(data[_KEY_ID])
        if secret is None:
            raise UnknownRecordError("signed with a key that is not known here")
        if not is_signed(data, key, secret):
            raise CorruptRecordError("the signature does not match")

    def _decrypted(self, body: bytes, key: str, header: bytes) -> bytes:
        if self._encryption is None:
            raise UnknownRecordError("encrypted, and there is no key here")
        return self._encryption.decrypt(body, key, header)

    def is_of_unknown_key(self, data: bytes) -> bool:
        """Return whether *data* is a record that names a key which is not known here."""
        is_record = len(data) >= OVERHEAD and data[:2] == MAGIC and data[2] in (FORMAT, SEGMENTED)
        return is_record and data[_KEY_ID] not in self.keys().by_id

    def reads(self) -> list[str]:
        """Return what this process can read, as ``needs_of`` names it."""
        encryption = self._encryption.key_ids if self._encryption else []
        return sorted(
            [
                f"format:{FORMAT}",
                f"format:{SEGMENTED}",
                f"codec:{self.codec_id}",
                *(f"key:{key_id.hex()}" for key_id in self.keys().by_id),
                *(f"encryption:{key_id.hex()}" for key_id in encryption),
            ]
        )

    def is_current(self, data: bytes) -> bool:
        """Return whether *data*, which could be opened, is as it would be written today.

        What is written only when it changes has to be written anew before a key may go.
        """
        flags, key_id = data[4], data[_KEY_ID]
        if key_id != self.keys().current.id or data[2] != self._writes():
            return False
        if data[2] != FORMAT and segment_at(data, 0, BASE) != data:
            return False  # it has changes behind it
        if self._encryption is None or not self._encryption.encrypts:
            return not flags & _ENCRYPTED
        layout = HEADER if data[2] == FORMAT else BASE_HEADER
        return bool(flags & _ENCRYPTED) and self._encryption.is_current(data[layout.size :])

    def is_to_fold(self, data: bytes) -> bool:
        """Return whether *data* is in a format that is not to be written any more."""
        return data[:3] == _SEGMENTED_MAGIC and self._writes() == FORMAT

    def _inflate(self, body: bytes) -> bytes:
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(body, self._max_body)
        except zlib.error as error:
            raise CorruptRecordError("the body does not inflate") from error
        if len(inflated) == self._max_body and not inflater.eof:
            # Written by a process with a greater MSM_MAX_RECORD_SIZE, which can read it.
            raise UnknownRecordError(f"the body inflates to more than {self._max_body} bytes")
        if not inflater.eof:
            raise CorruptRecordError("the body does not inflate to its end")
        return inflated


_KINDS = tuple(Kind)


def _base_of(data: bytes) -> bytes:
    """Return the bytes of *data* without the changes behind it.

    Raises:
        CorruptRecordError: It is not a record.
        UnknownRecordError: It is of a format that is not known here.
    """
    if len(data) < OVERHEAD or data[:2] != MAGIC:
        raise CorruptRecordError("not a record")
    if data[2] == FORMAT:
        return data
    if data[2] != SEGMENTED:
        raise UnknownRecordError(f"format {data[2]} is not known here")
    base = segment_at(data, 0, BASE)
    if base is None:
        raise CorruptRecordError("not a record")
    return base


def needs_of(data: bytes) -> frozenset[str]:
    """Return what a process must know to read *data*: formats, a codec, keys by their ids.

    Of another format no more is known than its number. Headers are not verified here.
    """
    if len(data) < OVERHEAD or data[2] not in (FORMAT, SEGMENTED):
        return frozenset({f"format:{data[2] if len(data) > len(MAGIC) else 0}"})
    needs: set[str] = set()
    for segment in [data] if data[2] == FORMAT else segments_in(data):
        kind, flags, codec = segment[3:6]
        layout = CHANGE_HEADER if segment[:2] == CHANGE else BASE_HEADER
        layout = HEADER if segment[2] == FORMAT else layout
        needs |= {f"format:{segment[2]}", f"codec:{codec}", f"key:{segment[_KEY_ID].hex()}"}
        if flags & _ENCRYPTED:
            needs.add(f"encryption:{key_id_of(segment[layout.size :]).hex()}")
        # A later version announces the kinds and flags that it knows beside these; all know these.
        if kind > _LAST_KIND:
            needs.add(f"kind:{kind}")
        if unknown := flags & ~(_COMPRESSED | _ENCRYPTED):
            needs.add(f"flags:{unknown}")
    return frozenset(needs)


def sealer_of(data: bytes) -> bytes:
    """Return the ids of the keys that a record of format 1 names; they are readable without."""
    encrypted = len(data) >= HEADER.size and data[_FLAGS] & _ENCRYPTED
    return data[_KEY_ID] + (key_id_of(data[HEADER.size :]) if encrypted else b"")
