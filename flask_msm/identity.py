"""Who a session is according to its cookie, and the time its request may spend on stores."""

from __future__ import annotations

from typing import Any, Protocol

from .drafts import SLACK
from .record.keys import Secrets, keyring, ref_of, storage_key
from .record.token import Token
from .repository import Repository, Slot


_UNREAD: Any = object()


class Visit(Protocol):
    """What a unit has to know of the request it belongs to."""

    @property
    def secrets(self) -> Secrets:
        """The application's secrets, the current one first."""
        ...

    def token(self) -> Token | None:
        """Return the verified cookie."""
        ...

    def life(self) -> float:
        """Return the time in seconds a session lives without a request."""
        ...

    def endpoint(self) -> str | None:
        """Return the endpoint, for errors."""
        ...

    def before_store(self) -> None:
        """See to it that the process is ready to read and write sessions."""
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
    """

    __slots__ = ("_repository", "_spent", "_token", "visit")

    def __init__(self, repository: Repository, visit: Visit) -> None:
        self.visit = visit
        self._repository = repository
        self._token: Token | None = _UNREAD
        self._spent = 0.0

    @property
    def token(self) -> Token | None:
        """The verified cookie, and after a save what it shall become."""
        if self._token is _UNREAD:
            token = self.visit.token()
            if token and self._age(token) > self.visit.life() * SLACK:
                token = None  # too old to be anywhere, so nobody is asked
            self._token = token
        return self._token

    @property
    def sid(self) -> str | None:
        """The session id, ``None`` as long as nothing was stored."""
        return self.token.sid if self.token else None

    @property
    def key(self) -> str | None:
        """The storage key, ``None`` as long as nothing was stored."""
        return (
            storage_key(self._repository.rules.key_prefix, self.token.sid) if self.token else None
        )

    @property
    def ref(self) -> str | None:
        """The public name of the session, ``None`` as long as nothing was stored."""
        key = self.key
        return ref_of(key) if key else None

    @property
    def token_permanent(self) -> bool | None:
        """What the verified cookie says of the permanence; ``None`` without one."""
        return self.token.permanent if self.token else None

    @property
    def is_local(self) -> bool:
        """Whether the session holds changes that only this process knows."""
        return self.token is not None and self.token.local

    @property
    def refresh_due(self) -> bool:
        """Whether a tenth of the session's life has passed since it was last written."""
        return self.token is not None and self._age(self.token) >= self.visit.life() / 10

    def _age(self, token: Token) -> float:
        return self._repository.clock.time() - token.renewed

    def timed(self, token: Token) -> Timed:
        """Return the place of *token* for a ``with`` block, whose time the request spends."""
        return Timed(self, token)

    def slot(self, token: Token) -> Slot:
        """Return where the session of *token* is kept, and how long the store may take."""
        rules = self._repository.rules
        deadline = self._repository.clock.monotonic() + max(
            0.0, rules.request_deadline - self._spent
        )
        key = storage_key(rules.key_prefix, token.sid)
        return Slot(key, keyring(self.visit.secrets), deadline)

    def monotonic(self) -> float:
        """Return the monotonic time, seconds."""
        return self._repository.clock.monotonic()

    def spend(self, seconds: float) -> None:
        """Take *seconds* off what this request may spend on the store."""
        self._spent += seconds


class Timed:
    """Hands out a slot, and takes the time that was spent off the request's budget."""

    __slots__ = ("_began", "_identity", "_token")

    def __init__(self, identity: Identity, token: Token) -> None:
        self._identity = identity
        self._token = token
        self._began = identity.monotonic()

    def __enter__(self) -> Slot:
        self._identity.visit.before_store()
        now = self._identity.monotonic()
        self._identity.spend(now - self._began)
        self._began = now
        return self._identity.slot(self._token)

    def __exit__(self, *_: object) -> None:
        self._identity.spend(self._identity.monotonic() - self._began)
