"""The work of one request on one session: what was read, what changed, what the cookie becomes."""

from __future__ import annotations

import logging
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from flask_msm.errors import (
    ConfigError,
    SerializationError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from flask_msm.record.hybrid_clock import milliseconds
from flask_msm.record.keys import ref_of, storage_key
from flask_msm.record.record import PARTIAL, Kind, Record
from flask_msm.record.token import Token, new_sid
from flask_msm.storage.store import Loaded, Outcome, Saved

from .changes import ChangeTracker
from .differences import Differences
from .record_builder import SLACK, Changes
from .request import Timed
from .session import ALL, PERMANENT, Contents, Session


if TYPE_CHECKING:
    from collections.abc import Callable

    from .record_builder import RecordBuilder
    from .repository import Slot


logger = logging.getLogger("flask_msm")


class Action(Enum):
    """What happens to the cookie."""

    KEEP = "keep"
    SET = "set"
    DELETE = "delete"


class Rank(IntEnum):
    """What a cookie's session turned out to be; of several cookies the lowest counts."""

    LIVES = 0
    MOVED = 1
    UNKNOWN = 2
    OVER = 3


class UnitOfWork(Differences):
    """Stands behind one ``Session``; implements ``Backing``.

    Args:
        repository: The application's sessions.
        visit: The request.

    Attributes:
        frozen: The session moved on: what is seen here is not written any more.
        cookie_due: What the cookie holds has changed, so that the browser has to get it.
    """

    frozen = cookie_due = False
    # What the stores are known to hold, and what each node was seen to hold.
    _record: Record | None = None
    _loaded: Loaded | None = None
    _failed = _ending = False
    # Trusted nodes hold it, but without what was not seen when it was written.
    _is_partial = False
    _action = Action.KEEP

    @property
    def record(self) -> Record | None:
        """What the stores are known to hold."""
        return self._record

    @property
    def sid(self) -> str | None:
        """The session id; of several cookies that of the session that counts."""
        token = self.token
        if token is not None and self.is_open:
            with Timed(self, token) as slot:
                loaded = self.repository.load(slot, at_least=token.version)
            self._choose(token, slot, loaded)
        return super().sid

    @property
    def refresh_due(self) -> bool:
        """Whether a tenth of the session's life has passed since it was last written.

        Or whether it was written with a shorter life and would end earlier by that much.
        """
        token, now = self.token, self.repository.clock.time()
        record, life = self._record, self.life
        if token is not None:
            due = now - life / 10
            if token.renewed <= due:
                return True
            if self.is_open and any(one.renewed <= due for one in self._others):
                return True
        if record is None or record.kind is not Kind.DATA:
            return False
        if now + life * SLACK - record.expires_at < life / 10:
            return False  # as of most sessions, also without asking when it ends regardless
        return self._drafts.expiry(now, record.created) - record.expires_at >= life / 10

    # -- reading -------------------------------------------------------------------------------

    def load(self) -> Contents:
        """Return what the stores hold.

        Raises:
            SessionUnavailableError: No store knows it and ``MSM_ON_UNKNOWN`` is ``error``.
        """
        self._baseline = ChangeTracker()
        self._record = self._loaded = None
        self.frozen = self._is_partial = False
        self.judge_again()
        token = self.token
        if token is None or self._ending:
            return Contents({}, detached=False)
        with Timed(self, token) as slot:
            loaded = self.repository.load(slot, at_least=token.version)
        if self.is_open:
            token, slot, loaded = self._choose(token, slot, loaded)
        if loaded.outcome is Outcome.UNKNOWN:
            self.repository.counters.detached += 1
            if self.repository.rules.on_unknown == "error":
                message = "no store knows what the session holds (MSM_ON_UNKNOWN is 'error')"
                raise SessionUnavailableError(message)
            self._loaded = loaded
            return Contents({}, detached=True)
        if loaded.record is None or not self._alive(loaded.record):
            if token.local:
                self.repository.serialization.live.discard(slot.key)
            self._forget()
            return Contents({}, detached=False)
        record = loaded.record
        partial = record.created == PARTIAL
        if partial and (loaded.nowhere_else or (loaded.certain and self._is_old(record))):
            # No store holds the rest of it: from now on this is the whole session.
            record, partial = record._replace(created=record.renewed), False
        self._is_partial = partial and loaded.certain
        self._loaded, self._record = loaded, record
        self.frozen = record.kind is Kind.ALIAS
        # The browser has seen more than the stores return: what seems absent may only be elsewhere.
        behind = not loaded.certain and record.version < token.version
        local = token.local and not self.frozen
        values = self._decoded(slot.key, record, token, local=local)
        return Contents(values, detached=partial or behind)

    def _choose(self, first: Token, slot: Slot, loaded: Loaded) -> tuple[Token, Slot, Loaded]:
        """Return which of the sessions of several cookies counts: the first that lives.

        If none lives it is one that has moved, or one whose state is unknown.

        Args:
            first: The first cookie.
            slot: Where its session is kept.
            loaded: What the stores returned for it.
        """
        found = [(self._rank(loaded), first, slot, loaded)]
        for token in self._others:
            if found[-1][0] is Rank.LIVES:
                break
            with Timed(self, token) as place:
                loaded = self.repository.load(place, at_least=token.version)
            found.append((self._rank(loaded), token, place, loaded))
        ranks = {token.sid: rank for rank, token, *_ in found}
        rank, chosen, slot, loaded = min(found, key=lambda one: one[0])
        # No cookie is given up as long as its session may be there.
        self.several = self.several and Rank.UNKNOWN not in ranks.values()
        self.is_open = rank is Rank.UNKNOWN
        rest = [token for token in (first, *self._others) if token is not chosen]
        self._others = tuple(token for token in rest if ranks.get(token.sid) is not Rank.OVER)
        self._token = chosen
        return chosen, slot, loaded

    def _rank(self, loaded: Loaded) -> Rank:
        if loaded.outcome is Outcome.UNKNOWN:
            return Rank.UNKNOWN
        if loaded.record is None or not self._alive(loaded.record):
            return Rank.OVER
        return Rank.LIVES if loaded.record.kind is Kind.DATA else Rank.MOVED

    def _is_old(self, record: Record) -> bool:
        """Return whether the rest of a part is over by now, wherever it is.

        A host that was away may have it until then, and hands it over when it is back.
        """
        return _beginning(record) + self.life * SLACK < self.repository.over_before()

    def _alive(self, record: Record) -> bool:
        repository, token = self.repository, self._token
        over = repository.over_before()
        if record.kind is Kind.DESTROYED or record.expires_at < over:
            return False
        # Used so long ago that its life is over, if that is shorter now.
        oldest = over - self.life * SLACK
        if record.renewed < oldest and (token is None or token.renewed < oldest):
            return False
        limit = repository.rules.absolute_timeout
        created = _beginning(record) if record.created == PARTIAL else record.created
        if limit is not None and created + limit < over:
            return False
        return record.pointer is None or repository.clock.time() < record.pointer.until

    # -- requests of the application -----------------------------------------------------------

    def regenerate(self) -> None:
        """Make another id for the session, which it gets with the next save."""
        if self._next_sid is None:
            self._next_sid = new_sid()

    def destroy(self) -> None:
        """End the stored session with the next save; what is set from now on is a new one."""
        self._ending = True
        self._next_sid = None
        self._baseline = ChangeTracker()

    def save(self, session: Session) -> None:
        """Store what differs from what is stored, in the middle of a request.

        Raises:
            SerializationError: Something cannot be stored; the application may mend it and go on.
        """
        if not self.visit.writable():
            return
        self.ask_life()
        try:
            self._action = self.finish(session)
        except (SerializationError, ConfigError):
            self._failed = False
            raise

    # -- writing -------------------------------------------------------------------------------

    def finish(self, session: Session) -> Action:
        """Store what is to be stored at the end of a request; return what the cookie becomes.

        Raises:
            SerializationError: Something cannot be stored; the next call does nothing.
            ConfigError: The application's own policy cannot be used; the same.
        """
        if self._failed:
            return Action.KEEP
        earlier, self._action = self._action, Action.KEEP
        try:
            action = self._store(session)
        except (SerializationError, ConfigError):
            self._failed = True
            raise
        return earlier if action is Action.KEEP else action

    def refresh(self, session: Session) -> Action:
        """Lengthen the life of a session that the application did not change."""
        detached = session.detached
        if not session.loaded:
            try:
                detached = self.load().detached
            except SessionUnavailableError:
                # The application does not look at the session: there is no reason to fail.
                return Action.KEEP
        if detached and self._record is None:
            return Action.SET
        if self._token is None or self.frozen:
            return Action.KEEP
        try:
            return self._fit(session, {}, self._update)
        except SessionTooLargeError:
            # It became too large by other means than this request: the next change raises.
            return Action.KEEP

    def changed_names(self, session: Session) -> set[str]:
        """Return what a save would change: names of attributes, and calls that end or move it."""
        names = self._changed_attributes(session)
        if self._ending:
            names.add("destroy()")
        if self._next_sid is not None:
            names.add("regenerate()")
        return names

    def _store(self, session: Session) -> Action:
        ending = self._ending
        if ending:
            self._end()
        elif self.frozen and self._next_sid is not None:
            self._part(session)
        if dict.__len__(session):
            action = self._store_values(session)
        else:
            action = Action.DELETE if ending else self._store_empty(session)
        if not self.frozen:
            self._settle()
        return action

    def _store_values(self, session: Session) -> Action:
        changes = self._changes(session)
        if changes:
            session.mark_modified()
        if self.frozen:
            self._drop(changes)
            return Action.KEEP
        asked = changes or session.modified or self._next_sid is not None
        if not (asked or self.refresh_due):
            return Action.KEEP  # it was read, as most sessions are
        return self._fit(session, changes, self._store_changes)

    def _fit(
        self, session: Session, changes: Changes, store: Callable[[Session, Changes], Action]
    ) -> Action:
        """Store *changes*, or as much of them as fits and the policy wants."""
        next_sid = self._next_sid
        while True:
            try:
                return store(session, changes)
            except SessionTooLargeError as error:
                assert self._baseline is not None  # noqa: S101  (it was loaded)
                fewer = self._leftovers.smaller(
                    error, changes, self._named(session), self._baseline
                )
            if fewer is None:
                return Action.SET if session.modified else Action.KEEP
            self._next_sid = next_sid
            changes = fewer

    def _store_changes(self, session: Session, changes: Changes) -> Action:
        if self.token is None:
            created = changes or session.modified
            return self._create(session, changes) if created else Action.KEEP
        if self._next_sid is not None:
            return self._move(session, changes)
        return self._update(session, changes)

    def _store_empty(self, session: Session) -> Action:
        if not session.modified:
            return Action.KEEP
        if session.detached and not (session.cleared and self._is_partial):
            # It is not known what was "emptied" here; only destroy() ends it unseen. What was shown
            # and taken out one by one is removed, the rest stays.
            removals = {} if session.cleared or self.frozen else self._changes(session)
            return self._update(session, removals) if removals and self.token else Action.KEEP
        if self.token is not None:
            if session.cleared:
                self._end()
            elif self.frozen:
                self._drop(self._changes(session))
                return Action.KEEP
            elif removals := self._changes(session):
                saved = self._write(removals, set())
                if saved is not None and saved.record.kind is Kind.ALIAS:
                    return self._give_way(saved.record, removals, set())
                self._forget()
        return Action.DELETE

    def _create(self, session: Session, changes: Changes, record: Record | None = None) -> Action:
        record = record or self._drafts.first(changes)
        token = Token(self._next_sid or new_sid(), record.version, int(record.renewed))
        with Timed(self, token) as slot:
            saved = self.repository.create(slot, record, endpoint=self.visit.endpoint())
        if saved is None:
            # A cookie for a session that is not stored would only hide the loss.
            return Action.KEEP
        self._next_sid = None
        self._stored(token, saved, changes, session)
        # Last, for a receiver may raise, and the session is there by now.
        self.repository.notify("created", ref_of(slot.key))
        return Action.SET

    def _update(self, session: Session, changes: Changes) -> Action:
        token = self.token
        assert token is not None  # noqa: S101  (callers looked)
        due = self.refresh_due
        if not changes and not due:
            return Action.SET if session.modified else Action.KEEP
        weak_names = self._weak_names(session, changes)
        saved = self._write(changes, weak_names, behind=session.detached)
        if saved is None:
            return Action.SET
        if saved.record.kind is Kind.DATA:
            self.repository.counters.refreshed += not changes
            self._stored(token, saved, changes, session)
            return Action.SET
        return self._give_way(saved.record, changes, weak_names)

    def _move(self, session: Session, changes: Changes) -> Action:
        """Write the session under a new id, then put an alias in place of the old one."""
        old_token, record, known = self.token, self._record, self._loaded
        assert old_token is not None  # noqa: S101  (the caller looked)
        draft = self._drafts.moved(record, changes, after=old_token.version)
        if record is None or session.detached:
            # All that this host shows goes along; the rest stays with the old id, which goes on.
            action = self._create(session, changes, draft)
            return action if self._token is not old_token else self._update(session, changes)
        token = Token(self._next_sid or new_sid(), draft.version, int(draft.renewed))
        with Timed(self, token) as slot:
            saved = self.repository.create(slot, draft, endpoint=self.visit.endpoint())
        if saved is None:
            return self._update(session, changes)
        self._next_sid = None
        with Timed(self, old_token) as old:
            moved = self.repository.move(
                old, self._drafts, record, known=known, to=slot.key, avoid=saved.failed
            )
        if moved.over:
            self.repository.counters.dropped_after_logout += bool(changes)
            self._forget()
            return Action.DELETE
        # The cookie asks for what was taken along, too.
        self._stored(token, moved.taken_along or saved, changes, session)
        if moved.lost:
            self.repository.notify("created", ref_of(slot.key))
        return Action.SET

    def _part(self, session: Session) -> None:
        """Ask for a session of its own, because the one that the cookie names has moved.

        What the request that moved it stored is of no concern to this one, and neither are the
        frozen attributes, which every request with the old cookie is shown.
        """
        if self._record is not None and self._record.kind is Kind.DATA:
            self.frozen = False  # it was read before it moved: that goes along
            return
        own = session.assigned & session.peek().keys()
        if own - {PERMANENT}:
            session.keep_only(own)
            self._forget()
            self.frozen = False

    def _give_way(self, final: Record, changes: Changes, weak_names: set[str]) -> Action:
        """Handle that another request ended or moved the session first."""
        if final.kind is Kind.DESTROYED:
            self.repository.counters.dropped_after_logout += bool(changes)
            self._forget()
            return Action.DELETE
        token = self.token
        if self._record is None or self._next_sid is not None:
            # A request that could not see the session did not begin before it moved, and what is
            # meant for an id of its own belongs to no other.
            self._drop(changes)
        elif changes and token:
            rewrite = self._drafts.rewrite(None, changes, weak_names, after=token.version)
            with Timed(self, token) as slot:
                self.repository.follow(slot, final, rewrite)
        # Do not send the new id: only the request that moved the session may (session fixation).
        self.frozen = True
        return Action.KEEP

    def _end(self) -> None:
        """Put a tombstone in place of the session and start over without one."""
        self._ending = False
        if self.token is not None:
            with Timed(self, self.token) as slot:
                self.repository.end(slot, self._drafts, self._record, known=self._loaded)
        for token in self._others:
            # Else the next request would find the session of another cookie alive.
            with Timed(self, token) as slot:
                self.repository.end(slot, self._drafts, None, known=None)
        self._others = ()
        self._forget()
        self.frozen = False

    # -- pieces --------------------------------------------------------------------------------

    @property
    def _drafts(self) -> RecordBuilder:
        return self.repository.drafts(self.life)

    def _weak_names(self, session: Session, changes: Changes) -> set[str]:
        if not session.detached:
            return set()
        told = session.told_absent
        if ALL in told:
            told = told | (changes.keys() - session.shown)
        if self._baseline is not None:
            # What was there at first is absent only because this very request took it out.
            told = told - self._baseline.encoded.keys()
        # What an earlier request of the same outage could only guess stays a guess.
        guessed = self._record.attributes.guesses() if self._record else set()
        return (told | guessed) & changes.keys()

    def _write(
        self, changes: Changes, weak_names: set[str], *, behind: bool = False
    ) -> Saved | None:
        token = self.token
        assert token is not None  # noqa: S101  (callers looked)
        rewrite = self._drafts.rewrite(
            self._record, changes, weak_names, after=token.version, behind=behind
        )
        with Timed(self, token) as slot:
            return self.repository.save(
                slot, rewrite, known=self._loaded, endpoint=self.visit.endpoint()
            )

    def _stored(self, token: Token, saved: Saved, changes: Changes, session: Session) -> None:
        """Take *saved* as what is stored, and make the cookie for it."""
        record = saved.record
        self._record, self._loaded = record, None
        if self._baseline is not None:
            self._baseline.accept(changes, self._named(session))
        permanent = bool(session.peek().get(PERMANENT)) if session.loaded else token.permanent
        if self._token is None or token.sid != self._token.sid:
            self.is_open = False  # a new session: that one counts
        version = max(token.version, record.version)
        self._token = Token(token.sid, version, int(record.renewed), permanent, token.local)

    def _drop(self, changes: Changes) -> None:
        """Leave *changes* out, which came with an id that was given up."""
        if not changes:
            return
        self.repository.counters.dropped_frozen += 1
        token = self.token
        assert token is not None  # noqa: S101  (only what has an id can have moved)
        logger.warning(
            "session %s has moved to another id: what endpoint %r changed with the old one is not"
            " stored",
            ref_of(storage_key(self.repository.rules.key_prefix, token.sid)),
            self.visit.endpoint(),
        )

    def _forget(self) -> None:
        self._token = self._record = self._loaded = None
        self._baseline = ChangeTracker()


def _beginning(part: Record) -> float:
    """Return when a part of a session was written first, seconds since the epoch."""
    return milliseconds(part.attributes.oldest()) / 1000 or part.renewed
