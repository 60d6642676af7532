"""People who sign in and out, and old cookies that are shown again to every site."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from .browser import Browser, Gate
from .visitor import sid_of


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .observations import Observations

#: Seconds between two visits, and between two rounds of old cookies, at least and at most.
_PAUSE, _ROUND = (0.1, 0.3), (0.3, 0.5)
#: Of so many times an old cookie is shown, one tries to change the session.
_CHANGES = 5
#: So many of the newest old cookies are shown in each round; at the end all of them are.
_NEWEST = 6
#: So many people sign out side by side.
_AT_ONCE = 4
_NAME = "name"


class Gone(NamedTuple):
    """A session that was ended.

    Attributes:
        cookie: The last cookie it had.
        site: Where it was ended.
        at: When that was acknowledged, monotonic time in seconds.
        phase: What was the matter then.
    """

    cookie: str
    site: str
    at: float
    phase: str


class Leavers:
    """One thread of people who come and go, one that shows what they left behind.

    Args:
        port: Where browsers send requests to.
        sites: Port by name of each site, for asking each of them directly.
        seen: Told of everything.
        gate: Holds requests back and signals the end.
    """

    def __init__(
        self, port: int, sites: Mapping[str, int], *, seen: Observations, gate: Gate
    ) -> None:
        self._port = port
        self._sites = dict(sites)
        self._seen = seen
        self._gate = gate
        self._gone: list[Gone] = []
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._come_and_go, self._haunt)
        ]

    def begin(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the last request."""
        for thread in self._threads:
            thread.join()

    def leave_during(self, block: AbstractContextManager[object]) -> None:
        """Have people sign in, and sign out side by side during *block*, alone."""
        browser = Browser(self._port, self._seen, self._gate)
        answers = [browser.ask("/sign-in", None, {_NAME: "guest"}) for _ in range(_AT_ONCE)]
        cookies = [answer.cookie for answer in answers if answer and answer.cookie]

        def leave(cookie: str) -> None:
            self._sign_out(Browser(self._port, self._seen, Gate()), cookie)

        # No other request may notice what is the matter.
        with self._gate.held(), block, ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(leave, cookies))

    def look(self, browsers: Sequence[Browser]) -> None:
        """Send all old cookies to all sites: all nodes are up, so none may be accepted."""
        for gone in self._gone:
            for browser in browsers:
                answer = browser.ask("/", gone.cookie)
                if answer and _NAME in answer.body:
                    text = f"{gone.phase}, at {gone.site}: served at {answer.site} at the end"
                    self._seen.undone.append(text)

    def _come_and_go(self) -> None:
        number = 0
        browser, direct = Browser(self._port, self._seen, self._gate), self._direct()
        while not self._gate.ending.wait(random.uniform(*_PAUSE)):
            number += 1
            self._visit(browser, direct, number)

    def _direct(self) -> list[Browser]:
        """Return a browser for each site, which takes no other site for an answer."""
        return [
            Browser(port, self._seen, self._gate, patient=False) for port in self._sites.values()
        ]

    def _visit(self, browser: Browser, direct: list[Browser], number: int) -> None:
        """Look around, sign in, do something, sign out."""
        answer = browser.ask("/set", None, {"seen": number})
        if answer is None or not answer.cookie:
            return
        before, was_apart = answer.cookie, self._seen.apart
        answer = browser.ask("/sign-in", before, {_NAME: f"guest {number}"})
        if answer is None:
            return
        what = f"{self._seen.phase}, guest {number}"
        if not answer.cookie or sid_of(answer.cookie) == sid_of(before):
            self._seen.signed_out.append(f"{what}: no new session id at {answer.site}")
            return
        apart = was_apart or self._seen.apart
        if answer.body.get("seen") != number:
            seen = self._seen.unseen if apart else self._seen.lost
            seen.append(f"{what}: what came before signing in is missing at {answer.site}")
        cookie = answer.cookie
        if number % 2:
            # Now every host has seen the session, and may have a copy of it.
            for other in direct:
                other.ask("/", cookie)
        answer = browser.ask("/set", cookie, {"last": number})
        if answer and answer.cookie is not None and sid_of(answer.cookie) != sid_of(cookie):
            how = "replaced" if answer.cookie else "deleted"
            self._seen.signed_out.append(f"{what}: the cookie was {how} at {answer.site}")
        cookie = (answer and answer.cookie) or cookie
        self._sign_out(browser, cookie)

    def _sign_out(self, browser: Browser, cookie: str) -> None:
        phase = self._seen.phase
        answer = browser.ask("/sign-out", cookie, {})
        if answer:
            self._seen.logouts += 1
            self._gone.append(Gone(cookie, answer.site, time.monotonic(), phase))

    def _haunt(self) -> None:
        shown, direct = 0, self._direct()
        while not self._gate.ending.wait(random.uniform(*_ROUND)):
            for gone in self._gone[-_NEWEST:]:
                shown += 1
                for browser in direct:
                    self._show(browser, gone, changes=shown % _CHANGES == 0)

    def _show(self, browser: Browser, gone: Gone, *, changes: bool) -> None:
        was_outage = self._seen.outage
        if changes:
            answer = browser.ask("/set", gone.cookie, {"late": 1})
        else:
            answer = browser.ask("/", gone.cookie)
        if answer is None or _NAME not in answer.body:
            return
        elsewhere = answer.site != gone.site and (was_outage or self._seen.outage)
        late = answer.sent - max(gone.at, self._seen.together)
        text = f"{gone.phase}, at {gone.site}: served at {answer.site} {late:.2f} s later"
        if elsewhere:
            self._seen.undone_elsewhere.append(text)
        elif answer.informed > max(gone.at, self._seen.together):
            self._seen.undone.append(f"{text}, {self._seen.phase}")
