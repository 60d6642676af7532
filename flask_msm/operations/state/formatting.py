"""Numbers and times as people read them. Unknown is a dash, never 0."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from urllib.parse import quote

from .texts import _


UNKNOWN = "\N{EN DASH}"
_DAY = 86400
#: Longest name that is shown whole, in characters.
MAX_NAME = 120
MAX_TEXT = 300


def shown(text: str) -> str:
    r"""Return *text* with control, bidi and other invisible characters as ``\x..`` escapes.

    Names of attributes, hosts and errors come from the network and from visitors.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str | None, limit: int = MAX_NAME) -> str | None:
    """Return the first line of *text*, at most *limit* characters of it."""
    if text is None:
        return None
    line = text.split("\n", 1)[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(text: object) -> str:
    """Return *text*, quoted, as a part of an address."""
    return quote(str(text), safe="", errors="replace")


def number(value: float | None, digits: int = 0) -> str:
    """Return *value* with separators."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def milliseconds(value: float | None) -> str:
    """Return *value* (seconds) in milliseconds, with as many digits as mean something."""
    if value is None:
        return UNKNOWN
    found = value * 1000
    return f"{found:,.0f}" if found >= 100 else f"{found:.1f}" if found >= 1 else f"{found:.2g}"


def class_of(seconds: float | None) -> str:
    """Return the upper bound of a class of latencies in milliseconds, without false digits."""
    return UNKNOWN if seconds is None else f"{seconds * 1000:g}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return the ratio *value* in percent; almost all is not all."""
    if value is None:
        return UNKNOWN
    if value < 1:
        value = min(value, 1 - 0.1**digits / 100)
    return f"{value * 100:.{digits}f}"


def size(value: float | None) -> str:
    """Return *value* (bytes) in the unit that fits; powers of 1024, as memcached counts them."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def duration(seconds: float) -> str:
    """Return a length of time, rounded down to one unit."""
    seconds = max(0, seconds)
    if seconds < 60:
        return _("{n} s", n=int(seconds))
    if seconds < 3600:
        return _("{n} min", n=int(seconds // 60))
    if seconds < _DAY:
        return _("{n} h", n=int(seconds // 3600))
    return _("{n} d", n=int(seconds // _DAY))


def iso(at: float) -> str:
    """Return *at* (seconds since the epoch) for machines."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return ""


def minute(at: float) -> str:
    """Return *at* (seconds since the epoch) to the minute, for people."""
    return f"{iso(at)[:16].replace('T', ' ')} UTC"


def utc(at: float) -> datetime | None:
    """Return *at* as a time; ``None`` when no calendar has it."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def clock(at: float, now: float) -> str:
    """Return the time of day; the date if *at* is not within a day of *now*."""
    when = utc(at)
    if when is None:
        return UNKNOWN
    return f"{when:%H:%M:%S}" if abs(now - at) < _DAY else f"{when.day} {when:%b}"
