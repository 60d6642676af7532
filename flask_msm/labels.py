"""Names of attributes as the fleet keeps and shows them: bounded, and safe to print."""

from __future__ import annotations

from hashlib import blake2b

from flask_msm.errors import shown


#: Longer names of attributes are cut, and told from others with the same start by a hash.
MAX_NAME = 120


def label(name: str) -> str:
    """Return *name*, cut to ``MAX_NAME`` characters if it is longer, different for each name."""
    if len(name) <= MAX_NAME:
        return name
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{name[: MAX_NAME - 10]}…#{digest}"


def plain(text: str, limit: int) -> str:
    """Return *text* in one line of at most *limit* characters, control characters escaped."""
    escaped = shown(text, limit)[1:-1]
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
