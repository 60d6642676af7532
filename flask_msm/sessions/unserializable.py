"""What one request could not store, and what happens to it instead.

The one place where a verdict of a policy is acted upon.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from flask_msm.errors import SerializationError, SessionTooLargeError
from flask_msm.policies import Failure, KeepLocal, Reraise, StopDistribution, StoreNone
from flask_msm.record.codec.unsupported import type_name

from .encoding import encode
from .live_objects import Kept
from .session import PERMANENT


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.record.codec.msgpack import Codec

    from .record_builder import Changes
    from .serialization import Serialization


#: A session that is too large is made smaller by one attribute so many times; then by all.
MAX_TRIES = 8


class _Remedy(Enum):
    NONE = "store None"
    LIVE = "keep the live object"


class UnserializableHandler:
    """The attributes of one session that one request does not store as they are."""

    __slots__ = ("_codec", "_endpoint", "_kept", "_key", "_restored", "_serialization", "_tries")

    def __init__(self, serialization: Serialization, codec: Codec, endpoint: str | None) -> None:
        self._serialization = serialization
        self._codec = codec
        self._endpoint = endpoint
        self._key: str | None = None
        self._restored: Mapping[Any, Kept] = {}
        self._kept: dict[Any, Kept] = {}
        self._tries = 0

    # -- reading -------------------------------------------------------------------------------

    def restore(
        self,
        key: str,
        values: dict[str, Any],
        stored: Mapping[str, bytes],
        *,
        sure: bool,
        life: float,
    ) -> dict[str, Any]:
        """Return *values* with the live objects of the session *key* in their place.

        *sure*: what is stored is at least as new as what the browser has seen.
        """
        self._key = key
        found = self._serialization.live.get(key, life=life)
        # Another request stored another value, or removed it: that is newer than the object.
        self._restored = {
            name: kept
            for name, kept in found.items()
            if not sure or not self.is_shared(name) or stored.get(name) == kept.base
        }
        if len(self._restored) < len(found):
            gone = found.keys() - self._restored.keys()
            self._serialization.live.update(key, {}, gone, life=life)
        return {**values, **{name: kept.value for name, kept in self._restored.items()}}

    def is_shared(self, name: Any) -> bool:
        """Return whether the attribute *name* is stored at all."""
        wanted = self._serialization.attribute_filter
        if wanted is None or name == PERMANENT or not isinstance(name, str):
            return True
        return wanted.search(name) is not None

    # -- writing -------------------------------------------------------------------------------

    def begin(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be stored of *values*, at the start of a save."""
        self._kept = {}
        self._tries = 0
        if not self._serialization.selective:
            return values
        return self.selected(values)

    def selected(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return *values* without what is not to be stored, and ``None`` for what is pinned."""
        shared, pins = {}, self._serialization.pins
        for name, value in values.items():
            if self.is_shared(name):
                shared[name] = None if name in pins else value
            else:
                self._kept[name] = Kept(value, None)
        return shared

    def refused(
        self, stored: Mapping[str, bytes], name: Any, value: Any, error: SerializationError
    ) -> bytes | None:
        """Return what is stored in place of *value*; ``None`` when what is stored stays.

        Raises:
            SerializationError: The policy demands it.
        """
        failure = Failure(
            attribute=error.attribute,
            path=error.path,
            type_name=error.type_name,
            error=error.raised or type(error).__qualname__,
            reason=error.reason,
            endpoint=error.endpoint,
        )
        match self._remedy(failure, error, known=self.is_restored(name, value)):
            case _Remedy.NONE:
                # There is no room for a name that is not a string.
                return self._none() if error.attribute is not None else None
            case _Remedy.LIVE:
                self._keep(name, value, stored, failure)
                return None

    def is_restored(self, name: Any, value: Any) -> bool:
        """Return whether *value* came from this process's live objects, and is no change."""
        kept = self._restored.get(name)
        return kept is not None and kept.value is value

    def changed(self, values: Mapping[Any, Any]) -> set[str]:
        """Return which names of what is not stored were set to other objects, or removed."""
        names = [name for name in values if not self.is_shared(name)]
        return {
            str(name)
            for name in (*names, *self._restored)
            if name not in values or not self.is_restored(name, values[name])
        }

    def without_held(self, changes: Changes, values: Mapping[str, Any]) -> Changes:
        """Return *changes*, or nothing if they are just what was too large before."""
        held = {
            name: kept._replace(value=values.get(name))
            for name, kept in self._restored.items()
            if kept.digest is not None and kept.digest == _digest(changes.get(name))
        }
        if held.keys() != changes.keys():
            return changes
        self._kept.update(held)
        return {}

    def smaller(
        self,
        error: SessionTooLargeError,
        changes: Changes,
        values: Mapping[str, Any],
        stored: Mapping[str, bytes],
    ) -> Changes | None:
        """Return *changes* with less in them; ``None`` when nothing is left that could be stored.

        Raises:
            SessionTooLargeError: The policy demands it, or all that was tried was of no use.
        """
        self._tries += 1
        largest = error.attribute or ""
        failure = _too_large(largest, error, values)
        match self._remedy(failure, error, known=self.is_restored(largest, values.get(largest))):
            case _Remedy.NONE:
                return self._with_none(largest, error, changes, stored)
            case _Remedy.LIVE:
                return self._without_largest(error, changes, values, stored)

    def settle(self, key: str | None, *, life: float) -> bool | None:
        """Keep what is to be kept, now that the rest was stored.

        *key* is ``None`` when the session ended.

        Returns:
            Whether the session has live objects here; ``None`` when this request does
            not know it.
        """
        live = self._serialization.live
        if self._key is not None and self._key != key:
            live.discard(self._key)
        if key is None or not (self._kept or self._restored):
            return None
        gone = self._restored.keys() - self._kept.keys() if self._key == key else ()
        before = live.dropped
        left = live.update(key, self._kept, gone, life=life)
        if live.dropped > before:
            self._serialization.note_dropped()
        return bool(left)

    # -- pieces --------------------------------------------------------------------------------

    def _remedy(self, failure: Failure, error: SerializationError, *, known: bool) -> _Remedy:
        """Ask the policy, and do what does not depend on the attribute.

        *known*: the object was kept before, by a policy that allowed it: it is no fault of this
        request.
        """
        serialization = self._serialization
        match serialization.policy.verdict(failure):
            case Reraise():
                if known:
                    return _Remedy.LIVE
                serialization.note_refused(failure)
                raise error
            case StoreNone():
                serialization.note_none(failure)
                return _Remedy.NONE
            case KeepLocal():
                return _Remedy.LIVE
            case StopDistribution():
                serialization.ask_stop(failure)
                return _Remedy.LIVE

    def _with_none(
        self, name: str, error: SessionTooLargeError, changes: Changes, stored: Mapping[str, bytes]
    ) -> Changes:
        none = self._none()
        # A record may be too large without any attribute, by what it knows of removed ones.
        if self._tries > MAX_TRIES or changes.get(name) == none or not error.attribute:
            raise error
        rest = {other: raw for other, raw in changes.items() if other != name}
        if stored.get(name) != none:
            return {**rest, name: none}
        if len(rest) == len(changes):
            raise error
        return rest

    def _without_largest(
        self,
        error: SessionTooLargeError,
        changes: Changes,
        values: Mapping[str, Any],
        stored: Mapping[str, bytes],
    ) -> Changes | None:
        sizes = {name: len(raw) for name, raw in changes.items() if raw is not None}
        if not sizes:
            return None
        names = [max(sizes, key=lambda name: sizes[name])]
        if self._tries > MAX_TRIES:
            names = list(sizes)
        for name in names:
            failure = _too_large(name, error, values)
            self._keep(name, values.get(name), stored, failure, _digest(changes[name]))
        return {name: raw for name, raw in changes.items() if name not in names}

    def _keep(
        self,
        name: Any,
        value: Any,
        stored: Mapping[str, bytes],
        failure: Failure,
        digest: bytes | None = None,
    ) -> None:
        self._serialization.note_local(failure)
        before = self._restored.get(name)
        base = before.base if before else stored.get(name)
        self._kept[name] = Kept(value, base, digest)

    def _none(self) -> bytes:
        return encode("", None, self._codec, self._endpoint)


def _digest(raw: bytes | None) -> bytes | None:
    return None if raw is None else blake2b(raw, digest_size=16).digest()


def _too_large(name: str, error: SessionTooLargeError, values: Mapping[str, Any]) -> Failure:
    return Failure(
        attribute=name,
        path=name,
        type_name=type_name(type(values[name])) if name in values else error.type_name,
        error=type(error).__qualname__,
        reason=error.reason,
        endpoint=error.endpoint,
        size=error.size,
        limit=error.limit,
    )
