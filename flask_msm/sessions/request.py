"""The request of a session: its cookies, the life of sessions, the time it may spend on stores."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from flask_msm.cluster.lost_sessions import Reason
from flask_msm.record.hybrid_clock import milliseconds
from flask_msm.record.keys import storage_key
from flask_msm.record.record import BEHIND, PARTIAL, Kind, as_whole
from flask_msm.storage.store import Outcome

from .record_builder import SLACK
from .repository import Budget, Repository


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.record.attributes import Entries
    from flask_msm.record.record import Record
    from flask_msm.record.token import Token
    from flask_msm.storage.store import Loaded


class Rank(IntEnum):
    """What a cookie's session turned out to be; of several cookies the lowest counts."""

    LIVES = 0
    MOVED = 1
    UNKNOWN = 2
    OVER = 3


class RequestContext(Budget):
    """What a session knows of its request; the cookies are read at first need.

    It has a budget of its own, from when a store is asked for the first time.

    Attributes:
        repository: The application's sessions; a subclass sets it.
        before_store: To be called before a store is asked: begins maintenance in this process.
        token: The verified cookie, and after a save what it shall become. Of several cookies it is
            the first one until the session is loaded. Known once ``judge`` was called.
        others: Sessions of the other verified cookies, in the order of the cookies.
        several: The browser sent more than one verified cookie of the session's name.
        is_open: They are of several sessions, and it was not found out which of these counts.
        life: Time in seconds a session lives without a request, as it was asked for last.
    """

    # On the class, because most requests need none of it.
    repository: Repository
    before_store: Callable[[], object]
    token: Token | None = None
    others: tuple[Token, ...] = ()
    several = is_open = False
    life = 0.0
    _asks_stores = False
    _cookies: tuple[Token, ...] | None = None
    # What was made of the cookies, and with which life; ``None``: nothing yet.
    _verdict: Token | None = None
    _judged_life: float | None = None

    # -- what the request itself knows ---------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Whether this request may store anything."""
        raise NotImplementedError

    def read_cookies(self) -> tuple[Token, ...]:
        """Return the verified cookies of the session's name, as the browser sent them."""
        raise NotImplementedError

    def read_life(self) -> float:
        """Return the time in seconds a session lives without a request."""
        raise NotImplementedError

    # -- what follows from it ------------------------------------------------------------------

    @property
    def cookies(self) -> tuple[Token, ...]:
        """The verified cookies as they came, however old they are."""
        if self._cookies is None:
            self._cookies = self.read_cookies()
        return self._cookies

    def judge(self) -> Token | None:
        """Return which cookie counts, found out anew if the application set another life since.

        Applications do so before each request, and touch the session before: a worker that has
        just started knows the life of its configuration until then.
        """
        life = self.life = self.read_life()
        before = self._judged_life
        if before == life or (before is not None and self.token is not self._verdict):
            return self.token
        self._judged_life = life
        if before is not None:
            self.several, self.is_open, self.others = False, False, ()
        tokens = self._cookies
        if tokens is None:
            tokens = self._cookies = self.read_cookies()
        # What is too old to be anywhere is not asked for in any store. No life is over that is not
        # over now.
        repository = self.repository
        if tokens[1:] or (tokens and tokens[0].renewed < repository.clock.time() - life * SLACK):
            oldest = repository.over_before() - life * SLACK
            several, first = len(tokens) > 1, tokens[0]
            tokens = _newest([token for token in tokens if token.renewed >= oldest])
            if several:
                self.several, self.others, self.is_open = True, tokens[1:], len(tokens) > 1
            if not tokens:
                repository.losses.note(Reason.EXPIRED, self.key(first.sid))
        self.token = self._verdict = tokens[0] if tokens else None
        return self.token

    def known_token(self) -> Token | None:
        """Return which cookie counts, without asking again how long sessions live."""
        return self.judge() if self._judged_life is None else self.token

    def key(self, sid: str) -> str:
        """Return the storage key of the session *sid*."""
        return storage_key(self.repository.rules.key_prefix, sid)

    @property
    def token_permanent(self) -> bool | None:
        """The permanence in the verified cookie; ``None`` without one."""
        token = self.known_token()
        if token is None:
            return None
        return token.permanent or (self.is_open and any(one.permanent for one in self.others))

    @property
    def cookie_permanent(self) -> bool | None:
        """The permanence in the first verified cookie, however old it is."""
        cookies = self.cookies
        return cookies[0].permanent if cookies else None

    @property
    def is_local(self) -> bool:
        """Whether the session holds changes that only this process knows."""
        token = self.known_token()
        return token is not None and token.local

    def is_refresh_due(self, record: Record | None) -> bool:
        """Return whether a tenth of the session's life has passed since it was last written.

        Or whether it was written with a shorter life and would end earlier by that much.

        Args:
            record: What the stores are known to hold.
        """
        repository, token, life = self.repository, self.token, self.life
        now = repository.clock.time()
        if token is not None:
            due = now - life / 10
            if token.renewed <= due:
                return True
            if self.is_open and any(one.renewed <= due for one in self.others):
                return True
        if record is None or record.kind is not Kind.DATA:
            return False
        return now + life * SLACK - record.expires_at >= life / 10

    # -- which session it is ---------------------------------------------------------------------

    def place(self, token: Token) -> tuple[str, Budget]:
        """Return the storage key of the session of *token*, and the time left for stores."""
        rules = self.repository.rules
        if not self._asks_stores:
            self.before_store()
            self.left = rules.request_deadline
            self._asks_stores = True
        return storage_key(rules.key_prefix, token.sid), self

    def begin_anew(self) -> None:
        """Have the whole time for stores again, as a request that just begins."""
        self._asks_stores = False

    def load(self, token: Token) -> Loaded:
        """Return what the stores hold of the session of *token*."""
        return self.repository.load(*self.place(token), at_least=token.version)

    def choose(self, first: Token, loaded: Loaded) -> tuple[Token, Loaded]:
        """Return which of the sessions of several cookies counts: the first that lives.

        If none lives it is one that has moved, or one whose state is unknown.
        """
        found = [(self._rank(loaded), first, loaded)]
        for token in self.others:
            if found[-1][0] is Rank.LIVES:
                break
            loaded = self.load(token)
            found.append((self._rank(loaded), token, loaded))
        ranks = {token.sid: rank for rank, token, _ in found}
        rank, chosen, loaded = min(found, key=lambda one: one[0])
        # No cookie is given up as long as its session may be there.
        self.several = self.several and Rank.UNKNOWN not in ranks.values()
        self.is_open = rank is Rank.UNKNOWN
        rest = [token for token in (first, *self.others) if token is not chosen]
        self.others = tuple(token for token in rest if ranks.get(token.sid) is not Rank.OVER)
        self.token = chosen
        return chosen, loaded

    def _rank(self, loaded: Loaded) -> Rank:
        if loaded.outcome is Outcome.UNKNOWN:
            return Rank.UNKNOWN
        if loaded.record is None or not self.is_alive(loaded.record):
            return Rank.OVER
        return Rank.LIVES if loaded.record.kind is Kind.DATA else Rank.MOVED

    def plain_entries(self, token: Token, loaded: Loaded) -> Entries | None:
        """Return the attributes if they may be decoded one by one, as nearly always.

        The session lives, it was seen as a whole, and each attribute is what is stored.
        """
        record, repository = loaded.record, self.repository
        if record is None or record.kind is not Kind.DATA or record.created >= BEHIND:
            return None
        if token.local or not (loaded.certain or record.version >= token.version):
            return None
        # No life is over that is not over now.
        now = repository.clock.time()
        lives = record.expires_at >= now and token.renewed >= now - self.life * SLACK
        lives = lives and repository.rules.absolute_timeout is None
        if not lives and not self.is_alive(record):
            return None
        entries, weak, _ = record.attributes
        serialization = repository.serialization
        if weak or serialization.attribute_filter is not None or serialization.pins.names:
            return None
        for _, encoded in entries.values():
            if encoded is not None:
                return entries
        return None

    def is_old(self, record: Record) -> bool:
        """Return whether the rest of a part is over by now, wherever it is.

        A host that was away may have it until then, and hands it over when it is back.
        """
        return _beginning(record) + self.life * SLACK < self.repository.over_before()

    def is_alive(self, record: Record) -> bool:
        """Return whether *record* is that of a session that has not ended."""
        repository, token = self.repository, self.token
        over = repository.over_before()
        if record.kind is Kind.DESTROYED or record.expires_at < over:
            return False
        # Used so long ago that its life is over, if that is shorter now.
        oldest = over - self.life * SLACK
        if record.renewed < oldest and (token is None or token.renewed < oldest):
            return False
        limit = repository.rules.absolute_timeout
        created = _beginning(record)
        if limit is not None and created + limit < over:
            return False
        return record.pointer is None or repository.clock.time() < record.pointer.until


def _newest(tokens: list[Token]) -> tuple[Token, ...]:
    """Return *tokens* with one for each session, the newest."""
    by_sid: dict[str, Token] = {}
    for token in tokens:
        known = by_sid.get(token.sid, token)
        by_sid[token.sid] = max(known, token, key=lambda one: (one.version, one.renewed))
    return tuple(by_sid.values())


def _beginning(record: Record) -> float:
    """Return when a session began, seconds since the epoch; or a part, if that is all there is."""
    if record.created != PARTIAL:
        return as_whole(record).created
    return milliseconds(record.attributes.oldest()) / 1000 or record.renewed
