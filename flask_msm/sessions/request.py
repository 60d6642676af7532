"""A session as its cookie identifies it, and the time its request may spend on stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flask_msm.record.keys import Secrets, ref_of, storage_key
from flask_msm.record.token import Token

from .record_builder import SLACK
from .repository import Repository, Slot


_UNREAD: Any = object()


class Visit(Protocol):
    """What a unit has to know of the request it belongs to."""

    @property
    def secrets(self) -> Secrets:
        """The application's secrets, the current one first."""
        ...

    def tokens(self) -> list[Token]:
        """Return the verified cookies of the session's name, as the browser sent them."""
        ...

    def life(self) -> float:
        """Return the time in seconds a session lives without a request."""
        ...

    def endpoint(self) -> str | None:
        """Return the endpoint, for errors."""
        ...

    @property
    def before_store(self) -> Callable[[], object]:
        """Starts background maintenance on first use in this process."""
        ...

    def writable(self) -> bool:
        """Return whether this request may store anything."""
        ...


class Identity:
    """The cookie of one request, read at first need.

    Args:
        repository: The application's sessions.
        visit: The request.

    Attributes:
        visit: The request.
        repository: The application's sessions.
        spent: Time in seconds this request has spent on stores.
        several: The browser sent more than one verified cookie of the session's name.
        is_open: They are of several sessions, and it was not found out which of these counts. Known
            once ``token`` was read.
        life: Time in seconds a session lives without a request. Known once ``token`` was read; the
            application may set another one in the middle of a request: it is asked again before
            the session is loaded (``judge_again``) and before it is saved (``ask_life``).
    """

    # On the class, because most requests need none of it.
    spent = 0.0
    several = is_open = False
    life = 0.0
    _token: Token | None = _UNREAD
    # Sessions of the other verified cookies, in the order of the cookies.
    _others: tuple[Token, ...] = ()
    # All cookies of the session's name; what was made of them, and with which life.
    _cookies: tuple[Token, ...] | None = None
    _verdict: Token | None = None
    _judged_life = 0.0
    # The id that the session gets with the next save.
    _next_sid: str | None = None

    def __init__(self, repository: Repository, visit: Visit) -> None:
        self.visit = visit
        self.repository = repository

    def ask_life(self) -> None:
        """Ask the application how long a session lives now."""
        self.life = self.visit.life()

    @property
    def token(self) -> Token | None:
        """The verified cookie, and after a save what it shall become.

        Of several cookies it is the first one until the session is loaded.
        """
        if self._token is _UNREAD:
            self._judge()
        return self._token

    def _judge(self) -> None:
        """Find out which cookie counts."""
        if not self.life:
            self.ask_life()
        self._judged_life = self.life
        self.several, self.is_open, self._others = False, False, ()
        # What is too old to be anywhere is not asked for in any store.
        oldest = self.repository.over_before() - self.life * SLACK
        if self._cookies is None:
            self._cookies = tuple(self.visit.tokens())
        tokens = self._cookies
        if tokens[1:]:
            tokens = _newest([token for token in tokens if token.renewed >= oldest])
            self.several, self._others = True, tokens[1:]
            self.is_open = bool(self._others)
        elif tokens and tokens[0].renewed < oldest:
            tokens = ()
        self._token = self._verdict = tokens[0] if tokens else None

    @property
    def cookies(self) -> tuple[Token, ...]:
        """The verified cookies as they came, however old they are."""
        if self._cookies is None:
            self._cookies = tuple(self.visit.tokens())
        return self._cookies

    def judge_again(self) -> None:
        """Find out which cookie counts if the application set another life since that was done.

        Applications do so before each request, and touch the session before: a worker that has
        just started knows the life of its configuration until then. To be called before the
        session is loaded.
        """
        self.life = self.visit.life()
        if self._token is self._verdict and self._judged_life not in (0.0, self.life):
            self._token = _UNREAD

    @property
    def sid(self) -> str | None:
        """The session id, ``None`` as long as nothing was stored and no id was asked for."""
        if self._next_sid is not None:
            return self._next_sid
        return self.token.sid if self.token else None

    @property
    def key(self) -> str | None:
        """The storage key, ``None`` as long as nothing was stored."""
        return storage_key(self.repository.rules.key_prefix, self.token.sid) if self.token else None

    @property
    def ref(self) -> str | None:
        """The public name of the session, ``None`` as long as it has no id."""
        sid = self.sid
        return ref_of(storage_key(self.repository.rules.key_prefix, sid)) if sid else None

    @property
    def token_permanent(self) -> bool | None:
        """The permanence in the verified cookie; ``None`` without one."""
        token = self.token
        if token is None:
            return None
        return token.permanent or (self.is_open and any(one.permanent for one in self._others))

    @property
    def cookie_permanent(self) -> bool | None:
        """The permanence in the first verified cookie, however old it is."""
        return self.cookies[0].permanent if self.cookies else None

    @property
    def is_local(self) -> bool:
        """Whether the session holds changes that only this process knows."""
        return self.token is not None and self.token.local


def _newest(tokens: list[Token]) -> tuple[Token, ...]:
    """Return *tokens* with one for each session, the newest."""
    by_sid: dict[str, Token] = {}
    for token in tokens:
        known = by_sid.get(token.sid, token)
        by_sid[token.sid] = max(known, token, key=lambda one: (one.version, one.renewed))
    return tuple(by_sid.values())


class Timed:
    """Hands out a slot, and takes the time that was spent off the request's budget."""

    __slots__ = ("_began", "_identity", "_monotonic", "_token")

    def __init__(self, identity: Identity, token: Token) -> None:
        self._identity = identity
        self._token = token
        self._monotonic = identity.repository.clock.monotonic
        self._began = self._monotonic()

    def __enter__(self) -> Slot:
        identity = self._identity
        identity.visit.before_store()
        rules, now = identity.repository.rules, self._monotonic()
        left = rules.request_deadline - identity.spent - (now - self._began)
        return Slot(
            storage_key(rules.key_prefix, self._token.sid),
            now + left if left > 0.0 else now,
        )

    def __exit__(self, *_: object) -> None:
        self._identity.spent += self._monotonic() - self._began
