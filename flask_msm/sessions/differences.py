"""What one request's session holds beside what is stored, and what of it is to be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_msm.record.codec.names import by_text

from .changes import ChangeTracker
from .request import Identity
from .unserializable import UnserializableHandler


if TYPE_CHECKING:
    from flask_msm.errors import SerializationError
    from flask_msm.record.record import Record
    from flask_msm.record.token import Token

    from .changes import Refused
    from .record_builder import Changes
    from .session import Session


class Differences(Identity):
    """Compares a session with what is stored, in view of what cannot be stored at all.

    Args:
        repository: The application's sessions.
        visit: The request.
    """

    _baseline: ChangeTracker | None = None
    # Made when there is something that cannot be stored, or must not be.
    _left: UnserializableHandler | None = None

    def rebase(self, session: Session) -> None:
        """Take what *session* holds now as what is stored."""
        if self._baseline is None:
            return
        values = self._named(session)
        if self.repository.serialization.selective:
            values = self._leftovers.selected(values)
        self._baseline.rebase(values, self.repository.codec)

    def differs(self, values: dict[Any, Any]) -> bool:
        """Return whether one of *values*, of this session, is not what is stored."""
        if self._baseline is None:
            return False
        if not self.repository.rules.strict_types:
            values = by_text(values)
        serialization, stored = self.repository.serialization, self._baseline
        if serialization.selective:
            # The others are not stored as they are: nothing inside of them is a change.
            pins, shared = serialization.pins, self._leftovers.is_shared
            values = {name: v for name, v in values.items() if shared(name) and name not in pins}
        return any(
            stored.differs(name, value, self.repository.codec) for name, value in values.items()
        )

    def _named(self, session: Session) -> dict[str, Any]:
        """Return the attributes under the names they are stored under."""
        values = session.peek()
        return values if self.repository.rules.strict_types else by_text(values)

    @property
    def _leftovers(self) -> UnserializableHandler:
        if self._left is None:
            repository = self.repository
            self._left = UnserializableHandler(
                repository.serialization, repository.codec, self.visit.endpoint()
            )
        return self._left

    def _decoded(self, key: str, record: Record, token: Token, *, local: bool) -> dict[str, Any]:
        """Return the attributes of *record* decoded, and take them for what is stored.

        Args:
            key: Storage key of the session.
            record: What is stored.
            token: What the browser has seen.
            local: Whether this process may hold objects that belong in their place.
        """
        baseline = self._baseline = ChangeTracker()
        stored = record.attributes.alive()
        if self.repository.serialization.attribute_filter is not None:
            shared = self._leftovers.is_shared
            stored = {name: raw for name, raw in stored.items() if shared(name)}
        values = baseline.decode(stored, self.repository.codec)
        if not local:
            return values
        sure = record.version >= token.version
        return self._leftovers.restore(key, values, baseline, sure=sure, life=self.life)

    def _changes(self, session: Session, refused: Refused | None = None) -> Changes:
        if self._baseline is None:
            return {}
        repository, values = self.repository, self._named(session)
        if self._left is not None or repository.serialization.selective:
            values = self._leftovers.begin(values)
        changes = self._baseline.changes(
            values, repository.codec, self.visit.endpoint(), refused or self._refused
        )
        return changes if self._left is None else self._left.without_held(changes, values)

    def _refused(self, name: Any, value: Any, error: SerializationError) -> bytes | None:
        assert self._baseline is not None  # noqa: S101  (it is asking)
        return self._leftovers.refused(self._baseline, name, value, error)

    def _changed_attributes(self, session: Session) -> set[str]:
        """Return the names of all attributes that this request changed, stored ones or not."""
        failed: set[str] = set()

        def note(name: Any, value: Any, error: SerializationError) -> None:
            # What cannot be stored is no change if this request was given it.
            if self._left is None or not self._left.is_restored(name, value):
                failed.add(error.attribute or error.path)

        changed = set(self._changes(session, note)) | failed
        return changed if self._left is None else changed | self._left.changed(session.peek())

    def _settle(self) -> None:
        """Keep here what could not be stored, and mark the cookie accordingly."""
        if self._left is None:
            return
        local = self._left.settle(self.key, life=self.life)
        if local is not None and self._token is not None:
            self._token = self._token._replace(local=local)
