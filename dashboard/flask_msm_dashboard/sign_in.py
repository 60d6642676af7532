"""Ways to sign in that need no session: the session may be what is broken."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

from werkzeug.exceptions import TooManyRequests
from werkzeug.security import check_password_hash, generate_password_hash

from flask_msm.errors import ConfigError
from flask_msm.process.locks import ProcessLock

from .access import LOOKS_AT_REQUEST_ALONE, Access, Level
from .limits import Limiter, Limits


if TYPE_CHECKING:
    from flask import Request


#: Time in seconds a password that was right is not checked again: one check costs 70 ms.
REMEMBERED = 300.0
_MOST_REMEMBERED = 256
#: Wrong passwords from one address within a minute before it has to wait.
WRONG = Limits(pause=0.0, most=10, window=60.0)
#: All addresses together; checks cost time, and this bounds it.
WRONG_ALL = Limits(pause=0.0, most=100, window=60.0)
#: Longest time in seconds a password waits for the checks of others.
LONGEST_WAIT = 0.1
#: What proxies add, besides all headers that begin with ``X-Forwarded``.
_FORWARDED = (
    "Forwarded",
    "Via",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Host",
    "True-Client-IP",
    "CF-Connecting-IP",
)
_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


#: One check at a time in a process: each takes 70 ms of a processor and 32 MB of memory.
_turn = ProcessLock()


class BasicAuth:
    """Takes names and passwords from HTTP basic authentication.

    Args:
        users: Password hashes (``werkzeug.security.generate_password_hash``) by name.
        read: Names among them that may look and not change.
        realm: Shown by browsers that ask for the password.
        clock: Monotonic clock, seconds; for tests.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        read: Collection[str] = (),
        *,
        realm: str = "Sessions",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.challenge = f'Basic realm="{realm}", charset="UTF-8"'
        self._users = dict(users)
        if isinstance(read, str | bytes):
            # Each letter would be a name, and who may only look could change everything.
            raise ConfigError("basic_auth(read=...)", read, "a list of names")
        self._read = frozenset(read)
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        # Stands in for unknown names: one of the real ones, because how long a check takes
        # depends on the method of the hash.
        known = next(iter(self._users.values()), None)
        self._decoy = known or generate_password_hash(secrets.token_hex(16))
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()
        self._wrong = Limiter(clock)

    def __call__(self, request: Request) -> Access | None:
        """Return what the sender of *request* may do.

        Raises:
            TooManyRequests: Other passwords were being checked for too long; this one was not.
        """
        given = request.authorization
        if given is None or given.type != "basic":
            return None
        name, password = given.username or "", given.password or ""
        level: Level = "read" if name in self._read else "write"
        digest = self._digest(name, password)
        checked_at = self._checked_at(digest)
        if checked_at is None:
            right = self._is_right_guess(name, password, request.remote_addr or "")
        elif self._clock() - checked_at < REMEMBERED:
            return Access(level, name)
        else:
            right = self._is_still_right(name, password)
        if not right:
            return None
        return Access(level, name)

    def _is_right_guess(self, name: str, password: str, address: str) -> bool:
        """Check what was not right before. It counts as wrong before it is found right."""
        if self._must_wait(address):
            return False
        if not _turn.acquire(timeout=LONGEST_WAIT):
            raise TooManyRequests(retry_after=1)
        try:
            # Others have had their turn meanwhile.
            if self._must_wait(address):
                return False
            self._wrong.take(address, WRONG)
            self._wrong.take("", WRONG_ALL)
            right = self._check(name, password)
            if right:
                self._wrong.give_back(address)
                self._wrong.give_back("")
            return right
        finally:
            _turn.release()

    def _is_still_right(self, name: str, password: str) -> bool:
        """Check what was right before: no guess, so it does not wait for those of others."""
        if not _turn.acquire(blocking=False):
            # The very same password was right for the very same hash: enough for now.
            return True
        try:
            return self._check(name, password)
        finally:
            _turn.release()

    def _must_wait(self, address: str) -> bool:
        return bool(self._wrong.wait(address, WRONG) or self._wrong.wait("", WRONG_ALL))

    def _check(self, name: str, password: str) -> bool:
        # An unknown name takes as long as a known one.
        right = check_password_hash(self._users.get(name, self._decoy), password)
        if not right or name not in self._users:
            return False
        self._remember(self._digest(name, password))
        return True

    def _digest(self, name: str, password: str) -> bytes:
        text = f"{len(name)}:{name}:{self._users.get(name)}:{password}".encode(
            errors="surrogatepass"
        )
        return blake2b(text, key=self._secret).digest()

    def _checked_at(self, digest: bytes) -> float | None:
        """Return when this was found right last."""
        with self._lock:
            for known, at in self._known.items():
                if hmac.compare_digest(known, digest):
                    return at
        return None

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._known[digest] = self._clock()
            self._known.move_to_end(digest)
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)


def basic_auth(
    users: Mapping[str, str], read: Collection[str] = (), *, realm: str = "Sessions"
) -> BasicAuth:
    """Return an ``MSM_ADMIN_ACCESS`` that takes names and passwords; use it with HTTPS.

    Args:
        users: Password hashes (``werkzeug.security.generate_password_hash``) by name.
        read: Names among them that may look and not change.
        realm: Shown by browsers that ask for the password.

    Raises:
        ConfigError: *read* is one text: each letter of it would be a name.
    """
    return BasicAuth(users, read, realm=realm)


def loopback_only(request: Request) -> Access | None:
    """Let all users of this machine do everything. An ``MSM_ADMIN_ACCESS`` for development only.

    Requests that came through a proxy, or that call this machine by another name (as a page
    elsewhere could make a browser do), are refused. A proxy on this machine that adds no header
    looks like a browser on it: never use this where one stands before the application.
    """
    if any(name in request.headers for name in _FORWARDED) or any(
        name.lower().startswith("x-forwarded")
        for name in request.headers.keys()  # noqa: SIM118
    ):
        return None
    if re.sub(r":\d+$", "", request.host) not in _LOCAL_NAMES:
        return None
    try:
        local = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return None
    return Access("write", "local") if local else None


for _ask in (BasicAuth, loopback_only):
    setattr(_ask, LOOKS_AT_REQUEST_ALONE, _ask)
