"""What the cookie holds: ``sid.version.renewed.flags.signature``, and ``.route`` behind it.

``version`` is the least the browser must see again, ``renewed`` the second of the last write or
refresh; both make decisions possible without asking a store.
"""

from __future__ import annotations

import re
import secrets as randomness
from binascii import b2a_base64
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from itsdangerous import Signer

from .keys import Secrets, derive


if TYPE_CHECKING:
    from hashlib import _Hash as Hash


SID_BYTES = 32
#: Longer cookie values are not looked at.
MAX_LENGTH = 256
#: So many cookies are remembered that were signed or verified in this process.
MOST_SIGNED = 4096
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
PERMANENT = "p"
LOCAL = "l"
_SHAPE = re.compile(
    r"([A-Za-z0-9_-]{43})\.([0-9a-f]{1,16})\.([0-9a-f]{1,10})\.([a-z-]{1,8})", re.ASCII
)


class Token(NamedTuple):
    """A verified cookie.

    Attributes:
        sid: Session id, a secret: a browser that sends it acts as the user.
        version: Stamp the browser must see again.
        renewed: Second (since the epoch) of the last write or refresh.
        permanent: The session outlives the browser.
        local: The session holds changes that only one process knows.
    """

    sid: str
    version: int
    renewed: int
    permanent: bool = False
    local: bool = False

    def __repr__(self) -> str:
        # Without the id: error trackers show the variables of a request that failed.
        return f"<Token of version {self.version:x}>"


def new_sid() -> str:
    """Return a session id that cannot be guessed: 32 random bytes, 43 characters."""
    return randomness.token_urlsafe(SID_BYTES)


@lru_cache(maxsize=32)
def cookie_pattern(name: str) -> re.Pattern[str]:
    """Return what finds the values of cookies of this *name* that may be tokens, in a header.

    A token needs no quotes or escapes in a cookie (RFC 6265, 4.1.1): what is written otherwise
    was not set by us. Quotes around it are allowed, because some proxies add them.
    """
    start = rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=[ \t]*"
    return re.compile(rf'{start}"?([A-Za-z0-9_.-]{{50,{MAX_LENGTH}}})"?[ \t]*(?=;|$)', re.ASCII)


def peek_flags(text: str) -> str | None:
    """Return the flags of a cookie that was *not* verified, ``None`` if it has no such shape.

    Enough to decide that nothing has to be done; not to be used for anything else.
    """
    parts = text.split(".", 5)
    return parts[3] if len(parts) > 4 else None


def sid_of(text: str) -> str | None:
    """Return the session id in a cookie that was *not* verified; ``None`` if it is none of ours.

    Any stranger can write one: to be used for counting only.
    """
    parts = text.split(".")
    if not (5 <= len(parts) <= 6 and len(text) <= MAX_LENGTH and text.isascii()):
        return None
    match = _SHAPE.fullmatch(".".join(parts[:4]))
    return match[1] if match else None


class TokenSigner:
    """Signs with the first of *secrets*, verifies with all of them."""

    def __init__(self, secrets: Secrets) -> None:
        keys = [derive(secret, b"cookie") for secret in secrets]
        self._inner, self._outer = _hmac_of(keys[0])
        # The keys are derived already, and once; itsdangerous wants the current one last.
        self._signer = Signer(keys[::-1], key_derivation="none", digest_method=sha256)
        #: What was signed or verified here of late. A flood of forged cookies costs
        #: verifications, not memory.
        self.known: dict[str, Token] = {}

    def dumps(self, token: Token, route: str | None = None) -> str:
        """Return *token* as a cookie value, with the balancer's *route* behind it."""
        flags = (PERMANENT if token.permanent else "") + (LOCAL if token.local else "") or "-"
        text = f"{token.sid}.{token.version:x}.{token.renewed:x}.{flags}"
        # What itsdangerous makes, without its twenty calls: every change of a session signs. Copies
        # of a hash, as hmac.digest() has OpenSSL look the algorithm up each time.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        signature = b2a_base64(outer.digest(), newline=False).translate(_URL_SAFE, b"=").decode()
        signed = f"{text}.{signature}.{route}" if route else f"{text}.{signature}"
        if len(self.known) >= MOST_SIGNED:
            self.known = {}
        self.known[signed] = token
        return signed

    def loads(self, text: str) -> Token | None:
        """Return the token in *text*; ``None`` for anything that was not signed here."""
        token = self.known.get(text)
        if token is not None or len(text) > MAX_LENGTH or not text.isascii():
            return token
        parts = text.split(".")
        if not 5 <= len(parts) <= 6:
            return None
        match = _SHAPE.fullmatch(".".join(parts[:4]))
        if match is None or not self._signer.validate(".".join(parts[:5])):
            return None
        sid, version, renewed, flags = match.groups()
        token = Token(sid, int(version, 16), int(renewed, 16), PERMANENT in flags, LOCAL in flags)
        return self._remembered(text, token)

    def _remembered(self, text: str, token: Token) -> Token:
        if len(self.known) >= MOST_SIGNED:
            self.known = {}
        self.known[text] = token
        return token


def _hmac_of(key: bytes) -> tuple[Hash, Hash]:
    """Return both hashes of HMAC-SHA-256 with *key* taken in (RFC 2104): to be copied."""
    block = key.ljust(sha256().block_size, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return sha256(inner), sha256(outer)


@lru_cache(maxsize=32)
def signer_for(secrets: Secrets) -> TokenSigner:
    """Return the signer of *secrets*; deriving its keys is paid once."""
    return TokenSigner(secrets)
