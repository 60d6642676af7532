"""The work of one request on one session: what was read, what changed, what the cookie becomes."""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING

from flask_msm.cluster.lost_sessions import Reason
from flask_msm.errors import (
    ConfigError,
    SerializationError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from flask_msm.record.keys import ref_of, storage_key
from flask_msm.record.record import BEHIND, Kind, Record, as_whole
from flask_msm.record.token import Token, new_sid
from flask_msm.storage.store import Loaded, Outcome, Saved

from .changes import ChangeTracker
from .record_builder import Changes
from .session import ALL, PERMANENT, Contents


if TYPE_CHECKING:
    from collections.abc import Callable

    from .record_builder import RecordBuilder
    from .request import RequestContext
    from .session import Session


logger = logging.getLogger("flask_msm")

_NO_NAMES: set[str] = set()


class Action(Enum):
    """What happens to the cookie."""

    KEEP = "keep"
    SET = "set"
    DELETE = "delete"


class UnitOfWork:
    """Stands behind one ``Session``: what was read, what of it is to be written.

    Attributes:
        record: What the stores are known to hold.
        frozen: The session moved on: what is seen here is not written any more.
        cookie_due: What the cookie holds has changed, so that the browser has to get it.
        action: What the cookie becomes by what was stored in the middle of the request.
        answered: The headers of the response are made: the browser gets no other cookie.
        tracker: Compares the session with what is stored; made when that is read.
    """

    tracker: ChangeTracker
    record: Record | None = None
    frozen = cookie_due = answered = False
    # The id that the session gets with the next save.
    _next_sid: str | None = None
    # What each node was seen to hold.
    _loaded: Loaded | None = None
    _failed = _ending = False
    # Trusted nodes hold it, but without what was not seen when it was written.
    _is_partial = False
    action = Action.KEEP

    def __init__(self, request: RequestContext) -> None:
        self.request = request
        self.repository = request.repository

    # -- what the session is -------------------------------------------------------------------

    @property
    def sid(self) -> str | None:
        """The session id, ``None`` as long as nothing was stored and no id was asked for.

        Of several cookies it is that of the session that counts.
        """
        token = self.request.known_token()
        if token is not None and self.request.is_open:
            token, _ = self.request.choose(token, self.request.load(token))
        if self._next_sid is not None:
            return self._next_sid
        return token.sid if token else None

    @property
    def ref(self) -> str | None:
        """The public name of the session, ``None`` as long as it has no id."""
        sid = self.sid
        return ref_of(self.request.key(sid)) if sid else None

    # -- reading -------------------------------------------------------------------------------

    def load(self) -> Contents:
        """Return what the stores hold.

        Raises:
            SessionUnavailableError: No store knows it and ``MSM_ON_UNKNOWN`` is ``error``.
        """
        request = self.request
        self.tracker = ChangeTracker(request)
        self.record = self._loaded = None
        self.frozen = self._is_partial = False
        token = request.judge()
        if token is None or self._ending:
            return Contents({}, detached=False)
        key, budget = request.place(token)
        loaded = self.repository.load(key, budget, at_least=token.version)
        if request.is_open:
            token, loaded = self.request.choose(token, loaded)
        encoded = request.plain_entries(token, loaded)
        if encoded is not None:
            self._loaded, self.record = loaded, loaded.record
            return tuple.__new__(Contents, ({}, False, encoded))
        if loaded.outcome is Outcome.UNKNOWN:
            self.repository.counters.detached += 1
            self.repository.losses.note(Reason.NOT_KNOWN, request.key(token.sid))
            if self.repository.rules.on_unknown == "error":
                message = "no store knows what the session holds (MSM_ON_UNKNOWN is 'error')"
                raise SessionUnavailableError(message)
            self._loaded = loaded
            return Contents({}, detached=True)
        if loaded.record is None or not request.is_alive(loaded.record):
            if token.local:
                self.repository.serialization.live.discard(request.key(token.sid))
            self.repository.lost(request.key(token.sid), loaded.record)
            self._forget()
            return Contents({}, detached=False)
        record = loaded.record
        partial = record.created >= BEHIND
        if partial and (loaded.nowhere_else or (loaded.certain and request.is_old(record))):
            # No store holds the rest of it: from now on this is the whole session.
            record, partial = as_whole(record), False
        self._is_partial = partial and loaded.certain
        self._loaded, self.record = loaded, record
        self.frozen = record.kind is Kind.ALIAS
        # The browser has seen more than the stores return: what seems absent may only be elsewhere.
        behind = not loaded.certain and record.version < token.version
        live = request.key(token.sid) if token.local and not self.frozen else None
        sure = record.version >= token.version
        values = self.tracker.restore(record, live, sure=sure, life=request.life)
        return Contents(values, detached=partial or behind)

    # -- requests of the application -----------------------------------------------------------

    def regenerate(self) -> None:
        """Make another id for the session, which it gets with the next save.

        Raises:
            RuntimeError: The browser would not learn of it.
        """
        if self.answered:
            raise RuntimeError(
                "regenerate() comes too late: the response has begun, and without a cookie for the"
                " new id its user would be signed out. Call it in the view, before the response"
            )
        if self._next_sid is None:
            self._next_sid = new_sid()

    def destroy(self) -> None:
        """End the stored session with the next save; what is set from now on is a new one."""
        self._ending = True
        self._next_sid = None
        self.tracker.reset()

    def save(self, session: Session) -> None:
        """Store what differs from what is stored, in the middle of a request.

        Raises:
            SerializationError: Something cannot be stored; the application may mend it and go on.
        """
        request = self.request
        if not request.writable:
            return
        if self.answered:
            self._next_sid = None  # of a move that failed: it is not tried again without a cookie
        request.life = request.read_life()
        try:
            self.action = self.finish(session, self.tracker.plain_changes(session))
        except (SerializationError, ConfigError):
            self._failed = False
            raise

    # -- writing -------------------------------------------------------------------------------

    def finish(self, session: Session, plain: Changes | None = None) -> Action:
        """Store what is to be stored at the end of a request; return what the cookie becomes.

        Args:
            session: What is to be stored.
            plain: What ``ChangeTracker.plain_changes`` returned.

        Raises:
            SerializationError: Something cannot be stored; the next call does nothing.
            ConfigError: The application's own policy cannot be used; the same.
        """
        if self._failed:
            return Action.KEEP
        earlier, self.action = self.action, Action.KEEP
        try:
            action = None
            if plain is not None:
                session._marked = session._marked or bool(plain)
                if not session._marked and not self.request.is_refresh_due(self.record):
                    action = Action.KEEP  # it was read, as most sessions are
                else:
                    try:
                        action = self._update(session, plain)
                    except SessionTooLargeError:
                        action = None  # what is left out for it may be any attribute
            if action is None:
                action = self._store(session)
        except (SerializationError, ConfigError):
            self._failed = True
            raise
        return earlier if action is Action.KEEP else action

    def refresh(self, session: Session) -> Action:
        """Lengthen the life of a session that the application did not change."""
        detached = session._detached
        if not session._loaded:
            try:
                detached = self.load().detached
            except SessionUnavailableError:
                # The application does not look at the session: there is no reason to fail.
                return Action.KEEP
        if detached and self.record is None:
            return Action.SET
        if self.request.token is None or self.frozen:
            return Action.KEEP
        try:
            return self._fit(session, {}, self._update)
        except SessionTooLargeError:
            # It became too large by other means than this request: the next change raises.
            return Action.KEEP

    def changed_names(self, session: Session, plain: Changes | None) -> set[str]:
        """Return what a save would change: names of attributes, and calls that end or move it.

        *plain* is what ``ChangeTracker.plain_changes`` returned.
        """
        names = self.tracker.changed_names(session) if plain != {} else set()
        if self._ending:
            names.add("destroy()")
        if self._next_sid is not None:
            names.add("regenerate()")
        return names

    def _store(self, session: Session) -> Action:
        session._peek()  # what is not plain may concern all attributes
        ending = self._ending
        if ending:
            self._end()
        elif self.frozen and self._next_sid is not None:
            self._part(session)
        if dict.__len__(session):
            action = self._store_values(session)
        else:
            action = Action.DELETE if ending else self._store_empty(session)
        request, left = self.request, self.tracker.left
        if left is not None and not self.frozen:
            token = request.token
            local = left.settle(request.key(token.sid) if token else None, life=request.life)
            if local is not None and token is not None:
                request.token = token._replace(local=local)
        return action

    def _store_values(self, session: Session) -> Action:
        changes = self.tracker.changes(session)
        if changes:
            session.modified = True
        if self.frozen:
            self._drop(changes)
            return Action.KEEP
        asked = changes or session.modified or self._next_sid is not None
        if not (asked or self.request.is_refresh_due(self.record)):
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
                fewer = self.tracker.smaller(error, changes, session)
            if fewer is None:
                return Action.SET if session.modified else Action.KEEP
            self._next_sid = next_sid
            changes = fewer

    def _store_changes(self, session: Session, changes: Changes) -> Action:
        if self.request.token is None:
            created = changes or session.modified
            return self._create(session, changes) if created else Action.KEEP
        if self._next_sid is not None:
            return self._move(session, changes)
        return self._update(session, changes)

    def _store_empty(self, session: Session) -> Action:
        if not session.modified:
            return Action.KEEP
        token = self.request.token
        if session._detached and not (session._cleared and self._is_partial):
            # It is not known what was "emptied" here; only destroy() ends it unseen. What was shown
            # and taken out one by one is removed, the rest stays.
            removals = {} if session._cleared or self.frozen else self.tracker.changes(session)
            return self._update(session, removals) if removals and token else Action.KEEP
        if token is not None:
            if session._cleared:
                self._end()
            elif self.frozen:
                self._drop(self.tracker.changes(session))
                return Action.KEEP
            elif removals := self.tracker.changes(session):
                saved = self._write(removals, set())
                if saved is not None and saved.record.kind is Kind.ALIAS:
                    return self._give_way(saved.record, removals, set())
                self._forget()
        return Action.DELETE

    def _create(self, session: Session, changes: Changes, record: Record | None = None) -> Action:
        record = record or self._builder.first(changes)
        token = Token(self._next_sid or new_sid(), record.version, int(record.renewed))
        saved = self._write_first(token, record)
        if saved is None:
            # A cookie for a session that is not stored would only hide the loss.
            return Action.KEEP
        self._next_sid = None
        self._stored(token, saved, changes, session)
        # Last, for a receiver may raise, and the session is there by now.
        self.repository.notify("created", ref_of(self.request.key(token.sid)))
        return Action.SET

    def _write_first(self, token: Token, record: Record) -> Saved | None:
        key, budget = self.request.place(token)
        return self.repository.create(key, budget, record)

    def _update(self, session: Session, changes: Changes) -> Action:
        token = self.request.token
        assert token is not None  # noqa: S101  (callers looked)
        if not changes and not self.request.is_refresh_due(self.record):
            return Action.SET if session.modified else Action.KEEP
        weak_names = self._weak_names(session, changes) if session._detached else _NO_NAMES
        # As _write(), which is a call more for each change.
        request, known = self.request, self.record
        rewrite = self.repository.builder(request.life).rewrite(
            known, changes, weak_names, after=token.version, behind=session._detached
        )
        # Stores were asked before, so that this is the place.
        key = storage_key(self.repository.rules.key_prefix, token.sid)
        saved = self.repository.save(key, request, rewrite, known=self._loaded)
        if saved is None:
            return Action.SET
        if saved.record.kind is Kind.DATA:
            self.repository.counters.refreshed += not changes
            self._stored(token, saved, changes, session)
            return Action.SET
        session._peek()  # from now on nothing of it counts as stored
        return self._give_way(saved.record, changes, weak_names)

    def _move(self, session: Session, changes: Changes) -> Action:
        """Write the session under a new id, then put an alias in place of the old one."""
        old_token, record, known = self.request.token, self.record, self._loaded
        assert old_token is not None  # noqa: S101  (the caller looked)
        draft = self._builder.moved(record, changes, after=old_token.version)
        if record is None or session._detached:
            # All that this host shows goes along; the rest stays with the old id, which goes on.
            action = self._create(session, changes, draft)
            return action if self.request.token is not old_token else self._update(session, changes)
        token = Token(self._next_sid or new_sid(), draft.version, int(draft.renewed))
        saved = self._write_first(token, draft)
        if saved is None:
            return self._update(session, changes)
        self._next_sid = None
        to = self.request.key(token.sid)
        moved = self.repository.move(
            *self.request.place(old_token),
            self._builder,
            record,
            known=known,
            to=to,
            avoid=saved.failed,
        )
        if moved.over:
            self.repository.counters.dropped_after_logout += bool(changes)
            self._forget()
            return Action.DELETE
        # The cookie asks for what was taken along, too.
        self._stored(token, moved.taken_along or saved, changes, session)
        if moved.lost:
            self.repository.notify("created", ref_of(to))
        return Action.SET

    def _part(self, session: Session) -> None:
        """Ask for a session of its own, because the one that the cookie names has moved.

        What the request that moved it stored is of no concern to this one, and neither are the
        frozen attributes, which every request with the old cookie is shown.
        """
        if self.record is not None and self.record.kind is Kind.DATA:
            self.frozen = False  # it was read before it moved: that goes along
            return
        own = session._assigned & session._peek().keys()
        if own - {PERMANENT}:
            session._keep_only(own)
            self._forget()
            self.frozen = False

    def _give_way(self, final: Record, changes: Changes, weak_names: set[str]) -> Action:
        """Handle that another request ended or moved the session first."""
        if final.kind is Kind.DESTROYED:
            self.repository.counters.dropped_after_logout += bool(changes)
            self._forget()
            return Action.DELETE
        token = self.request.token
        if self.record is None or self._next_sid is not None:
            # A request that could not see the session did not begin before it moved, and what is
            # meant for an id of its own belongs to no other.
            self._drop(changes)
        elif changes and token:
            rewrite = self._builder.rewrite(None, changes, weak_names, after=token.version)
            self.repository.follow(*self.request.place(token), final, rewrite)
        # Do not send the new id: only the request that moved the session may (session fixation).
        self.frozen = True
        return Action.KEEP

    def _end(self) -> None:
        """Put a tombstone in place of the session and start over without one."""
        self._ending = False
        request, builder = self.request, self._builder
        if request.token is not None:
            place = self.request.place(request.token)
            self.repository.end(*place, builder, self.record, known=self._loaded)
        for token in request.others:
            # Else the next request would find the session of another cookie alive.
            self.repository.end(*self.request.place(token), builder)
        request.others = ()
        self._forget()
        self.frozen = False

    # -- pieces --------------------------------------------------------------------------------

    @property
    def _builder(self) -> RecordBuilder:
        return self.repository.builder(self.request.life)

    def _weak_names(self, session: Session, changes: Changes) -> set[str]:
        """Return the names of what may only fill a gap in a detached session."""
        told = session._told_absent
        if ALL in told:
            told = told | (changes.keys() - session._shown)
        # What was there at first is absent only because this very request took it out.
        told = told - self.tracker.encoded.keys()
        # What an earlier request of the same outage could only guess stays a guess.
        guessed = self.record.attributes.guesses() if self.record else set()
        return (told | guessed) & changes.keys()

    def _write(
        self, changes: Changes, weak_names: set[str], *, behind: bool = False
    ) -> Saved | None:
        request, token = self.request, self.request.token
        assert token is not None  # noqa: S101  (callers looked)
        rewrite = self.repository.builder(request.life).rewrite(
            self.record, changes, weak_names, after=token.version, behind=behind
        )
        key, budget = request.place(token)
        return self.repository.save(key, budget, rewrite, known=self._loaded)

    def _stored(self, token: Token, saved: Saved, changes: Changes, session: Session) -> None:
        """Take *saved* as what is stored, and make the cookie for it."""
        request, record = self.request, saved.record
        self.record, self._loaded = record, None
        self.tracker.accept(changes, session)
        permanent = token.permanent
        if session._loaded:
            # Asked only if there is something to see, for this is in the way of every change.
            names = session if session._undecoded is None else session._undecoded
            permanent = dict.__contains__(names, PERMANENT) or dict.__contains__(session, PERMANENT)
            permanent = permanent and session.permanent
        if request.token is None or token.sid != request.token.sid:
            request.is_open = False  # a new session: that one counts
        version = max(token.version, record.version)
        fields = token.sid, version, int(record.renewed), permanent, token.local
        request.token = tuple.__new__(Token, fields)

    def _drop(self, changes: Changes) -> None:
        """Leave *changes* out, which came with an id that was given up."""
        if not changes:
            return
        self.repository.counters.dropped_frozen += 1
        request, token = self.request, self.request.token
        assert token is not None  # noqa: S101  (only what has an id can have moved)
        logger.warning(
            "session %s has moved to another id: what endpoint %r changed with the old one is not"
            " stored",
            ref_of(request.key(token.sid)),
            request.endpoint,
        )

    def _forget(self) -> None:
        self.request.token = self.record = self._loaded = None
        self.tracker.reset()
