"""What an application changed, found by comparing what would be stored with what is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask_msm.errors import DecodeError, SerializationError, quoted
from flask_msm.process.apart import apart
from flask_msm.record.codec.names import by_text

from .encoding import encode, raised_by
from .session import PLACEHOLDER
from .unserializable import UnserializableHandler


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.errors import SessionTooLargeError
    from flask_msm.record.attributes import Entries
    from flask_msm.record.record import Record

    from .record_builder import Changes
    from .request import RequestContext
    from .session import Session


logger = logging.getLogger("flask_msm")

#: Values of these types cannot change: the same object is the same value, without encoding it.
#: By ``id``, because a class of the application may not be hashable.
IMMUTABLE = frozenset(map(id, (str, int, bool, float, bytes, type(None))))

#: Called with name, value and what was raised when a value cannot be encoded. Returns what is
#: stored in its place, ``None`` to leave what is stored as it is, or raises.
Refused = Callable[[Any, Any, SerializationError], "bytes | None"]


class ChangeTracker:
    """The attributes as they are stored, and the objects the application got for them.

    Of a session that is decoded attribute by attribute: those that were asked for.

    Attributes:
        codec: Encodes and decodes.
        encoded: What is stored, by name.
        originals: What was made of it, by name.
        left: What this request does not store as it is; made when there is something.
    """

    left: UnserializableHandler | None = None

    def __init__(self, request: RequestContext) -> None:
        repository = request.repository
        self._request = request
        self.codec = repository.codec
        self._serialization = repository.serialization
        self._strict = repository.rules.strict_types
        self.encoded: dict[str, bytes] = {}
        self.originals: dict[str, Any] = {}

    def reset(self) -> None:
        """Take nothing for stored."""
        self.encoded = {}
        self.originals = {}

    # -- reading -------------------------------------------------------------------------------

    def restore(
        self, record: Record, key: str | None, *, sure: bool, life: float
    ) -> dict[str, Any]:
        """Return the attributes of *record* decoded, and take them for what is stored.

        With its storage *key*: this process may hold objects that belong in their place. *sure*:
        what is stored is at least as new as what the browser has seen.
        """
        stored = record.attributes.alive()
        if self._serialization.attribute_filter is not None:
            shared = self._handler.is_shared
            stored = {name: raw for name, raw in stored.items() if shared(name)}
        values = self.decode(stored)
        if key is None:
            return values
        return self._handler.restore(key, values, self.encoded, sure=sure, life=life)

    def decode(self, stored: Mapping[str, bytes]) -> dict[str, Any]:
        """Take *stored* as stored as well, and return it decoded.

        Bytes that this process cannot decode are kept where they are, and not shown.
        """
        values: dict[str, Any] = {}
        codec = self.codec
        for name, encoded in stored.items():
            try:
                value = codec.loads(encoded)
            except Exception as error:  # noqa: BLE001  (a codec of the application may raise anything)
                self.note_undecodable(name, error)
                continue
            values[name] = self.originals[name] = value
            self.encoded[name] = encoded
        return values

    def note_undecodable(self, name: str, error: Exception) -> None:
        """Record in the log that the attribute *name* cannot be decoded."""
        reason = error if isinstance(error, DecodeError) else raised_by(self.codec, error)
        text = "session attribute %s cannot be decoded: %s"
        apart(logger.warning, text, quoted(name), reason)

    def decode_rest(self, undecoded: Entries, held: dict[str, Any]) -> dict[str, Any]:
        """Return all attributes of a session, of which it has those that it *held* already."""
        values: dict[str, Any] = {}
        for name, (_, encoded) in undecoded.items():
            if encoded is not None:
                if name not in self.encoded:
                    values.update(self.decode({name: encoded}))
                if name in held:
                    values[name] = held[name]
        return {**values, **held}

    def differs(self, values: dict[Any, Any]) -> bool:
        """Return whether one of *values*, of this session, is not what is stored."""
        if not self._strict:
            values = by_text(values)
        if self._serialization.selective:
            # The others are not stored as they are: nothing inside of them is a change.
            pins, shared = self._serialization.pins, self._handler.is_shared
            values = {name: v for name, v in values.items() if shared(name) and name not in pins}
        return any(self._is_other(name, value) for name, value in values.items())

    def _is_other(self, name: Any, value: Any) -> bool:
        stored, same = self.encoded.get(name), self.originals.get(name) is value
        if stored is not None and same and id(type(value)) in IMMUTABLE:
            return False
        try:
            raw = self.codec.dumps(value)
        except Exception:  # noqa: BLE001 - a codec of the application may raise anything
            return True
        return raw != stored and not (same and self._is_form_only(name, raw))

    # -- writing -------------------------------------------------------------------------------

    def changes(self, session: Session, refused: Refused | None = None) -> Changes:
        """Return what differs: encoded values by name, ``None`` for what was removed.

        Raises:
            SerializationError: A value cannot be stored, and *refused*, or the policy, raises it.
        """
        values = self._named(session)
        if self.left is not None or self._serialization.selective:
            values = self._handler.begin(values)
        changed = self._changes(values, refused or self._refused)
        return changed if self.left is None else self.left.without_held(changed, values)

    def plain_changes(self, session: Session) -> Changes | None:
        """Return what differs from what is stored, if nothing else is to be done.

        ``None`` when all of the session was looked at: it ends, it moves, or something was removed,
        for example; or if something is not to be stored as it is, or cannot be.
        """
        undecoded, serialization = session._undecoded, self._serialization
        selective = serialization.attribute_filter is not None or serialization.pins.names
        if undecoded is None or selective or self.left is not None:
            return None
        changed: Changes = {}
        for name, value in list(dict.items(session)):
            stored = self.encoded.get(name)
            same = stored is not None and self.originals.get(name) is value
            if name is PLACEHOLDER or (same and id(type(value)) in IMMUTABLE):
                continue
            if stored is None and name in undecoded:
                stored = undecoded[name][1]  # it was set without being read
            try:
                raw = self.codec.dumps(value)
            except Exception:  # noqa: BLE001 - a codec of the application may raise anything
                return None
            if type(name) is not str or type(raw) is not bytes:
                return None
            if raw != stored and not (same and self._is_form_only(name, raw)):
                changed[name] = raw
        return changed

    def changed_names(self, session: Session) -> set[str]:
        """Return the names of all attributes that this request changed, stored ones or not."""
        failed: set[str] = set()

        def note(name: Any, value: Any, error: SerializationError) -> None:
            # What cannot be stored is no change if this request was given it.
            if self.left is None or not self.left.is_restored(name, value):
                failed.add(error.attribute or error.path)

        changed = set(self.changes(session, note)) | failed
        return changed if self.left is None else changed | self.left.changed(session._peek())

    def smaller(
        self, error: SessionTooLargeError, changes: Changes, session: Session
    ) -> Changes | None:
        """Return *changes* with less in them; see ``UnserializableHandler.smaller``."""
        return self._handler.smaller(error, changes, self._named(session), self.encoded)

    def accept(self, changed: Changes, session: Session) -> None:
        """Take *changed* as stored, of this session or of what others stored beside it."""
        if not changed:
            return
        for name, raw in changed.items():
            if raw is None:
                self.encoded.pop(name, None)
                self.originals.pop(name, None)
            elif dict.__contains__(session, name):
                self.encoded[name], self.originals[name] = raw, dict.__getitem__(session, name)
            elif not self._strict and name in (values := by_text(session._decoded())):
                self.encoded[name], self.originals[name] = raw, values[name]

    def rebase(self, session: Session) -> None:
        """Take what *session* holds as stored although it is not; what cannot be is passed over."""
        values = self._named(session)
        if self._serialization.selective:
            values = self._handler.selected(values)
        self.reset()
        self.originals = dict(values)
        for name, value in values.items():
            try:
                self.encoded[name] = encode(name, value, self.codec, None)
            except SerializationError:
                continue

    # -- pieces --------------------------------------------------------------------------------

    @property
    def _handler(self) -> UnserializableHandler:
        if self.left is None:
            self.left = UnserializableHandler(
                self._serialization, self.codec, self._request.endpoint
            )
        return self.left

    def _named(self, session: Session) -> dict[str, Any]:
        """Return the attributes under the names they are stored under."""
        values = session._peek()
        return values if self._strict else by_text(values)

    def _changes(self, values: Mapping[str, Any], refused: Refused) -> Changes:
        changed: Changes = {}
        codec, encoded, originals = self.codec, self.encoded, self.originals
        endpoint = self._request.endpoint
        for name, value in values.items():
            # None never stands in for "was not there": then the encoded value is missing too.
            if name in encoded and originals.get(name) is value and id(type(value)) in IMMUTABLE:
                continue
            try:
                raw = encode(name, value, codec, endpoint, values)
            except SerializationError as error:
                instead = refused(name, value, error)
                if instead is None:
                    continue
                raw = instead
            if encoded.get(name) == raw:
                continue
            if originals.get(name) is value and self._is_form_only(name, raw):
                continue
            changed[name] = raw
        for name in encoded:
            if name not in values:
                changed[name] = None
        return changed

    def _refused(self, name: Any, value: Any, error: SerializationError) -> bytes | None:
        return self._handler.refused(self.encoded, name, value, error)

    def _is_form_only(self, name: str, raw: bytes) -> bool:
        """Return whether what is stored under *name* would be *raw* if it were written today.

        Before a deploy another codec, or another version of a registered type, wrote it in its own
        form. A request that only reads it must not write it: that would undo others' changes.
        """
        stored = self.encoded.get(name)
        if stored is None:
            return False
        try:
            return self.codec.dumps(self.codec.loads(stored)) == raw
        except Exception:  # noqa: BLE001 - as above
            return False
