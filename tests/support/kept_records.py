"""What the records of every release contain, and the keys they are sealed with.

The files in ``tests/records`` are those that a release wrote: this content is never changed, for
later versions have to read it out of them. A new form of a record gets a new name.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from markupsafe import Markup
from support.sealing import KEYS, SECRETS, encryption

from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import stamp_at, weak
from flask_msm.record.keys import digest_of, storage_key
from flask_msm.record.record import Ending, Kind, Pointer, Record
from flask_msm.record.segments import Change, changed
from flask_msm.record.token import Token, TokenSigner
from flask_msm.storage.local.journal_frames import frame


if TYPE_CHECKING:
    from collections.abc import Callable


SID = "k" * 43
KEY = storage_key("msm:kept:", SID)
MOVED_TO = storage_key("msm:kept:", "m" * 43)
AT = 1_790_000_000.0
STAMP = stamp_at(AT)
SIGNER = TokenSigner(("secret",))

VALUES = {
    "cart": [{"sku": "apple", "number": 2}, ("pear", 1)],
    "note": "naïve ☕ \U0001f600",
    "nothing": None,
    "yes": True,
    "large": 2**80,
    "price": Decimal("1.10"),
    "ratio": 0.1,
    "raw": bytes(range(256)),
    "id": UUID("12345678-1234-5678-1234-567812345678"),
    "html": Markup("<b>bold</b>"),
    "when": dt.datetime(2026, 11, 30, 12, 0, 1, 5, tzinfo=dt.UTC),
    "day": dt.date(2026, 2, 28),
    "took": dt.timedelta(days=1, microseconds=7),
    "tags": {"a", "b"},
    "by number": {1: "one", None: "none"},
}
#: What two later requests did: written anew, added, removed.
LATER = (Change(STAMP, STAMP + 1, {}), Change(STAMP + 1, STAMP + 2, {}))
AFTERWARDS = {name: value for name, value in VALUES.items() if name != "nothing"} | {
    "note": "changed",
    "added": [1, 2, 3],
}

_codec = MsgpackCodec()


def values_of(record: Record) -> dict[str, object]:
    """Return what an application sees of *record*."""
    return {name: _codec.loads(data) for name, data in record.attributes.alive().items()}


def data() -> Record:
    """Return a session with everything that stands in one."""
    entries = {name: (STAMP, _codec.dumps(value)) for name, value in VALUES.items()}
    guesses = {"guess": (weak(STAMP), _codec.dumps("local"))}
    attributes = Attributes(entries | {"removed": (STAMP, None)}, guesses, STAMP - 9)
    return Record(Kind.DATA, AT, AT + 1, AT + 3600, STAMP, attributes)


def changes() -> tuple[Change, Change]:
    """Return what two requests did to that session."""
    first, second = LATER
    return (
        first._replace(entries={"note": (first.version, _codec.dumps("changed"))}),
        second._replace(
            entries={
                "added": (second.version, _codec.dumps([1, 2, 3])),
                "nothing": (second.version, None),
            }
        ),
    )


def alias() -> Record:
    """Return a session that has a new id."""
    return data()._replace(kind=Kind.ALIAS, pointer=Pointer(STAMP + 1, MOVED_TO, AT + 60))


def tombstone() -> Record:
    """Return a session that an operator ended."""
    ending = Ending(AT + 2, "revoked: a lost phone", "anna")
    return data()._replace(kind=Kind.DESTROYED, attributes=NOTHING, ending=ending)


def sealing(
    record_format: int, *, encrypts: bool = False, compress_above: int | None = None
) -> Envelope:
    """Return what writes and reads them."""
    return Envelope(
        lambda: KEYS,
        codec_id=_codec.id,
        compress_above=compress_above,
        max_size=100_000,
        encryption=encryption(*SECRETS) if encrypts else None,
        writes=lambda: record_format,
    )


def _plain(record_format: int, record: Callable[[], Record], **options: bool | int) -> bytes:
    return sealing(record_format, **options).seal(record(), KEY)  # type: ignore[arg-type]


def _grown(**options: bool) -> bytes:
    envelope = sealing(2, **options)
    appended = (envelope.seal_change(change, KEY) for change in changes())
    return envelope.seal(data(), KEY) + b"".join(appended)


def _journal() -> bytes:
    digest = digest_of(KEY)
    assert digest is not None
    sealed = (_plain(1, data), _plain(1, tombstone))
    return b"".join(frame(digest, one) for one in sealed)


def _cookies() -> bytes:
    token = Token(SID, STAMP, int(AT), permanent=True, local=True)
    texts = [SIGNER.dumps(token), SIGNER.dumps(token._replace(permanent=False), "site-2")]
    return "\n".join(texts).encode() + b"\n"


#: What a release writes down, by the name of the file.
WRITERS: dict[str, Callable[[], bytes]] = {
    "format-1": lambda: _plain(1, data),
    "format-1-deflated": lambda: _plain(1, data, compress_above=100),
    "format-1-encrypted": lambda: _plain(1, data, encrypts=True, compress_above=100),
    "format-1-alias": lambda: _plain(1, alias),
    "format-1-tombstone": lambda: _plain(1, tombstone),
    "format-2": lambda: _plain(2, data),
    "format-2-deflated": lambda: _plain(2, data, compress_above=100),
    "format-2-encrypted": lambda: _plain(2, data, encrypts=True),
    "format-2-alias": lambda: _plain(2, alias),
    "format-2-tombstone": lambda: _plain(2, tombstone),
    "format-2-changed": _grown,
    "format-2-changed-encrypted": lambda: _grown(encrypts=True),
    "journal": _journal,
    "cookies": _cookies,
}


def expected(name: str) -> Record:
    """Return what the file *name* is read as."""
    if name.endswith("-alias"):
        return alias()
    if name.endswith("-tombstone"):
        # Format 1 has no place for how a session ended.
        return tombstone() if name.startswith("format-2") else tombstone()._replace(ending=None)
    if "changed" in name:
        first, second = changes()
        return changed(changed(data(), first), second)
    return data()
