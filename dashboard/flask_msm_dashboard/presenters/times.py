"""Times and lengths of time of the history, in UTC and in words."""

from __future__ import annotations

from flask_msm.operations.state.formatting import UNKNOWN, utc
from flask_msm.operations.state.texts import _

from .charts import DAY, HOUR


#: The highest class of latencies; what is slower is in it as well.
_SLOWEST = 1.0


def day(at: float) -> str:
    """Return the day and the minute of *at*."""
    when = utc(at)
    return UNKNOWN if when is None else f"{when:%a} {when.day} {when:%b} {when:%H:%M}"


def moment(at: float) -> str:
    """Return the day and the second of *at*."""
    when = utc(at)
    return UNKNOWN if when is None else f"{when:%a} {when.day} {when:%b}, {when:%H:%M:%S}"


def hour(at: float) -> str:
    """Return the hour and minute of *at*."""
    when = utc(at)
    return UNKNOWN if when is None else f"{when:%H:%M}"


def second(at: float) -> str:
    """Return the time of day of *at*."""
    when = utc(at)
    return UNKNOWN if when is None else f"{when:%H:%M:%S}"


def span_of(seconds: float) -> str:
    """Return a length of time in two units at most: ``17 min 4 s``."""
    left = int(max(0.0, seconds))
    parts: list[str] = []
    for size, text in ((int(DAY), "{n} d"), (int(HOUR), "{n} h"), (60, "{n} min"), (1, "{n} s")):
        count, left = divmod(left, size)
        if count and len(parts) < 2:
            parts.append(_(text, n=count))
        elif parts:
            break  # "1 d" and some seconds is a day
    return " ".join(parts) or _("0 s")


def at_most(seconds: float | None) -> str:
    """Return a latency, which is the upper bound of its class."""
    if seconds is None:
        return UNKNOWN
    if seconds >= _SLOWEST:
        return _("more than {n} ms", n=512)
    return _("at most {n} ms", n=f"{seconds * 1000:g}")
