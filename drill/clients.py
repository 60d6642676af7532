"""All simulated users who click, and what they found when everything is over."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

from flask_msm.testing.memcached import wait_until

from .browser import Browser, Gate
from .heavy import HeavyVisitor
from .leaver import Leavers
from .observations import Observations
from .visitor import PAUSE, Visitor


#: Of so many visitors one uses two tabs at the same time.
_TWO_TABS = 3
#: So often each site is asked at the end: whichever worker is free answers.
_LOOKS = 3


class Clients:
    """Visitors, and people who come and go; a context manager.

    Args:
        port: Where the balancer is.
        sites: Port by name of each site.
        visitors: How many there are.
        pause: Seconds between two clicks of one, at least and at most.

    Attributes:
        seen: What they saw.
        gate: Holds their requests back.
    """

    def __init__(
        self,
        port: int,
        sites: Mapping[str, int],
        *,
        visitors: int,
        pause: tuple[float, float] = PAUSE,
    ) -> None:
        self.seen = Observations()
        self.gate = Gate()
        self._port = port
        self._pause = pause
        self._sites = dict(sites)
        self._visitors = [self._visitor(number) for number in range(visitors)]
        self._heavy: list[HeavyVisitor] = []
        self._leavers = Leavers(port, sites, seen=self.seen, gate=self.gate)

    def __enter__(self) -> Self:
        for visitor in self._visitors:
            visitor.begin()
        self._leavers.begin()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def arrive(self, count: int) -> None:
        """Have so many more visitors."""
        so_far = len(self._visitors)
        for number in range(so_far, so_far + count):
            visitor = self._visitor(number)
            self._visitors.append(visitor)
            visitor.begin()

    def heavy(self, *, raises: bool) -> None:
        """Have a visitor whose session is too large for the nodes; *raises* is the policy."""
        visitor = HeavyVisitor(self._port, raises=raises, seen=self.seen, gate=self.gate)
        self._heavy.append(visitor)
        visitor.begin()

    def leave_during(self, block: AbstractContextManager[object]) -> None:
        """Have some people sign out during *block*; no other request is sent then."""
        self._leavers.leave_during(block)

    def end(self) -> None:
        """Let them finish what they are at."""
        self.gate.ending.set()
        for heavy in self._heavy:
            heavy.join()
        self._leavers.join()
        for visitor in self._visitors:
            visitor.join()

    def wait_clicks(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        target = len(self.seen.clicks) + count
        wait_until(lambda: len(self.seen.clicks) >= target, f"{count} more clicks")

    def look_from(self, port: int, until: float) -> None:
        """Wait until all that was acknowledged is seen by a site; what is not, is lost.

        Args:
            port: The site's.
            until: Monotonic time in seconds until which it may take.
        """
        # All clicks pause meanwhile: a later change would hide that an earlier one was lost.
        browser = Browser(port, self.seen, Gate())
        with self.gate.held():
            left = [(visitor, visitor.acknowledged()) for visitor in self._visitors]
            while left and time.monotonic() < until:
                left = [(one, wanted) for one, wanted in left if not one.sees(browser, wanted)]
            for visitor, wanted in left:
                visitor.look(browser, wanted, "after the return")

    def look_back(self, ports: Sequence[int], *, lag: float) -> None:
        """Check, when all is well and clicks pause, that all is there and no logout was undone.

        Args:
            ports: Those of all sites, each of which is asked directly.
            lag: Time in seconds in which other sites see a change, on a machine that is busy.
        """
        self.seen.phase = "at the end"
        if lag:
            for port in ports:
                self.look_from(port, time.monotonic() + lag)
        browsers = [Browser(port, self.seen, self.gate) for port in ports]
        for visitor in self._visitors:
            for browser in browsers:
                for _ in range(_LOOKS):
                    visitor.look(browser, visitor.acknowledged(), self.seen.phase)
        # There are many old cookies, and they were shown again and again already.
        self._leavers.look(browsers)

    def _visitor(self, number: int) -> Visitor:
        tabs = 2 if number % _TWO_TABS == 0 else 1
        name = f"visitor {number}"
        return Visitor(name, self._port, tabs, seen=self.seen, gate=self.gate, pause=self._pause)
