"""Many sessions of one size: some of them are read again and again, the others never again."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from .browser import Browser


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .browser import Gate
    from .observations import Observations

#: Bytes of text in each session: memcached keeps items of about one size together, and of these
#: it throws out the one that was not used for longest.
_SIZE = 20_000
#: So often a browser reads in one round.
_READS = 4
#: So many requests are on their way at the same time.
_THREADS = 4
_NAME = "name"


class Crowd:
    """Browsers that only read, and people who come once.

    Args:
        port: Where browsers send requests to.
        readers: How many go on reading.
        seen: Told of everything.
        gate: Holds their requests back.
    """

    def __init__(self, port: int, readers: int, *, seen: Observations, gate: Gate) -> None:
        self._port = port
        self._seen = seen
        self._gate = gate
        self._cookies: dict[str, str] = {}
        self._each(self._begin, [f"reader {number}" for number in range(readers)])

    def come_once(self, people: int) -> None:
        """Let so many people sign in who never come back."""
        self._each(self._sign_in, ["passer-by"] * people)

    def read(self) -> None:
        """Let each reader click a few times; one that is not known any more was signed out."""

        def clicks(browser: Browser, name: str) -> None:
            for _ in range(_READS):
                self._look(browser, name)

        self._each(clicks, self._cookies)

    def look_from(self, port: int, gate: Gate) -> None:
        """Ask a site directly for the sessions of all readers."""
        browser = Browser(port, self._seen, gate)
        for name in self._cookies:
            self._look(browser, name)

    def _begin(self, browser: Browser, name: str) -> None:
        cookie = self._sign_in(browser, name)
        if cookie:
            self._cookies[name] = cookie

    def _sign_in(self, browser: Browser, name: str) -> str | None:
        ballast = secrets.token_urlsafe(_SIZE)[:_SIZE]
        answer = browser.ask("/sign-in", None, {_NAME: name, "ballast": ballast})
        return answer and answer.cookie

    def _look(self, browser: Browser, name: str) -> None:
        answer = browser.ask("/", self._cookies[name])
        if answer and (answer.body.get(_NAME) != name or answer.cookie == ""):
            text = f"{self._seen.phase}, {name}: the session is gone at {answer.site}"
            self._seen.signed_out.append(text)

    def _each(self, act: Callable[[Browser, str], object], names: Iterable[str]) -> None:
        browser = Browser(self._port, self._seen, self._gate)
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(partial(act, browser), list(names)))
