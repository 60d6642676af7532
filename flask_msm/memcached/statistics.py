"""The reply to ``stats``, alone or with the replies to what was sent with it. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .protocol import END, check_line, expect_end
from .wire import ProtocolError, UnsupportedError


if TYPE_CHECKING:
    from .protocol import Look, ManyLooks


STATS_LIMIT = 1024 * 1024
#: Statistics as far as their lines are complete; and the name and the text of each.
_LINES = re.compile(rb"(?:STAT [!-~]{1,250} [^\r\n]{0,1750}\r\n)*")
_STATISTIC = re.compile(r"STAT ([!-~]+) ([^\r\n]*)\r\n")


class Statistics:
    """The reply to ``stats``."""

    __slots__ = ("_found", "_received", "_size")

    def __init__(self) -> None:
        self._received = b""
        self._found: dict[str, str] = {}
        self._size = 0

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        rest = self.take(data)
        if rest is None:
            return False
        expect_end(rest, 0)
        return True

    def take(self, data: bytes) -> bytes | None:
        """Take the next bytes; return those behind the reply, ``None`` while it goes on.

        Raises:
            UnsupportedError: The peer gives none.
        """
        received = self._received + data
        lines = _LINES.match(received)
        end = lines.end() if lines else 0
        self._size += end
        if self._size > STATS_LIMIT:
            raise ProtocolError("statistics beyond every limit")
        self._found.update(_STATISTIC.findall(received[:end].decode("ascii", "replace")))
        if received.startswith(END, end):
            return received[end + len(END) :]
        if received.startswith(b"ERROR\r\n", end):
            # Proxies and guarded servers answer so; sessions can live there all the same.
            raise UnsupportedError
        check_line(received, end)
        self._received = received[end:]
        return None

    def outcome(self, horizon: int) -> dict[str, str]:  # noqa: ARG002
        """Return the statistics by name."""
        return self._found

    def reset(self) -> None:
        """Forget what came in."""
        self._received = b""
        self._found = {}
        self._size = 0


class Probe(NamedTuple):
    """What a node answered to a probe: its statistics, and what is there, by key."""

    statistics: dict[str, str]
    looks: dict[str, Look]


class StatisticsAndLooks:
    """The reply to ``stats`` and those to the looks that were sent with it."""

    __slots__ = ("_counted", "_looks", "_statistics")

    def __init__(self, looks: ManyLooks) -> None:
        self._looks = looks
        self._statistics = Statistics()
        self._counted = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether all replies are there."""
        if not self._counted:
            rest = self._statistics.take(data)
            if rest is None:
                return False
            self._counted, data = True, rest
        return self._looks.feed(data)

    def outcome(self, horizon: int) -> Probe:
        """Return the statistics, and what is there."""
        return Probe(self._statistics.outcome(horizon), self._looks.outcome(horizon))

    def reset(self) -> None:
        """Forget what came in."""
        self._statistics.reset()
        self._looks.reset()
        self._counted = False
