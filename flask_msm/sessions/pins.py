"""Attributes stored as ``None`` without trying: from the configuration, or by operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import MAX_NAME, short_name


if TYPE_CHECKING:
    from collections.abc import Iterable


#: Most names that are pinned at run time.
MAX_PINS = 200
#: Who pinned what ``MSM_BLACKLIST`` names.
CONFIG = "MSM_BLACKLIST"


class Pin(NamedTuple):
    """A name that is pinned.

    Of the configuration *at* is 0.
    """

    name: str
    who: str = CONFIG
    why: str = ""
    at: float = 0.0


class Pins:
    """The pinned names as this worker knows them.

    Operators cannot unpin those that are configured. *names* is replaced whole.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = {short_name(name): Pin(short_name(name)) for name in configured}
        self._chosen: dict[str, Pin] = {}
        self.names = frozenset(self._configured)

    def __contains__(self, name: object) -> bool:
        if type(name) is not str:
            return False
        return (name if len(name) <= MAX_NAME else short_name(name)) in self.names

    def all(self) -> list[Pin]:
        """Return all pins, by name."""
        both = {**self._chosen, **self._configured}
        return [both[name] for name in sorted(both)]

    def set_chosen(self, pins: Iterable[Pin]) -> None:
        """Take *pins*, the newest of them if they are too many, for all that operators pinned."""
        newest = sorted(pins, key=lambda pin: pin.at, reverse=True)[:MAX_PINS]
        chosen = {(name := short_name(pin.name)): pin._replace(name=name) for pin in newest}
        self._chosen = chosen
        self.names = frozenset(chosen) | frozenset(self._configured)
