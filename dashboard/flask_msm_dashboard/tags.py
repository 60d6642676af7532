"""Values as templates print them. Unknown is a dash, never 0."""

from __future__ import annotations

from markupsafe import Markup

from flask_msm.operations.state.formatting import UNKNOWN, clock, duration, iso, shown
from flask_msm.operations.state.texts import _


_DASH = Markup("&ndash;")
#: What is younger than this is as good as new, seconds.
FRESH = 10.0


def finalized(value: object) -> object:
    """Return what a template prints for *value*: unknown as a dash, text without surprises."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str) and not isinstance(value, Markup):
        return shown(value)
    return value


def age_tag(at: float | None, now: float) -> Markup:
    """Return how long ago *at* was, as a ``time`` element that the page keeps up to date."""
    if at is None:
        return _DASH
    text = _("{time} ago", time=duration(now - at))
    return Markup('<time datetime="{}" data-age>{}</time>').format(iso(at), text)


def fresh_tag(at: float | None, now: float) -> Markup | str:
    """Return how long ago *at* was, the same words for all of the last ten seconds.

    What is renewed every few seconds would otherwise be a change for every poll.
    """
    if at is not None and now - at < FRESH:
        return _("less than {time} ago", time=duration(FRESH))
    return age_tag(at, now)


def clock_tag(at: float | None, now: float) -> Markup:
    """Return the time of day of *at* as a ``time`` element."""
    if at is None:
        return _DASH
    return Markup('<time datetime="{}">{}</time>').format(iso(at), clock(at, now))


def left_tag(at: float, now: float) -> Markup:
    """Return how long it is until *at*; the element is counted down by the page."""
    text = duration(at - now) if at > now else _("a moment")
    return Markup('<time datetime="{}" data-left>{}</time>').format(iso(at), text)
