"""The sentences of the script, which is not translated by itself."""

from __future__ import annotations

from flask_msm.operations.state.texts import _


def script_texts() -> dict[str, str]:
    """Return the sentences the script needs."""
    return {
        "live": _("Live, {age} ago"),
        "short": _("{age} ago"),
        "paused": _("Paused, {age} old"),
        "pause": _("Pause"),
        "resume": _("Resume"),
        "stale": _("Not updating. These numbers are from {time} UTC. Trying again in {left}."),
        "out": _("You are signed out. Reload the page to sign in again."),
        "skew": _("A new version is running. Reload the page."),
        "reload": _("Reload"),
        "ago": _("{time} ago"),
        "moment": _("a moment"),
        "s": _("{n} s"),
        "min": _("{n} min"),
        "h": _("{n} h"),
        "d": _("{n} d"),
        "theme": _("Theme: {name}"),
        "system": _("as the system"),
        "light": _("light"),
        "dark": _("dark"),
        "point": _("Point at a chart: its figures stand here."),
        "most": _("at most {n} ms"),
        "lost": _("lost"),
        "kept": _("kept"),
    }
