"""A visitor whose session is larger than the nodes take, and what becomes of it."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from .browser import Browser


if TYPE_CHECKING:
    from .browser import Gate
    from .observations import Observations

#: Bytes of a text that does not get smaller than three quarters of it.
_SIZE = 800_000
#: Seconds between two rounds of clicks.
_PAUSE = 0.2
_NAME = "heavy visitor"


class HeavyVisitor:
    """One browser whose session has a picture that is too large for the nodes.

    Args:
        port: Where it sends requests to.
        raises: The policy is ``raise``: the picture is refused, and all else goes on.
        seen: Told of everything.
        gate: Holds its requests back and signals the end.
    """

    def __init__(self, port: int, *, raises: bool, seen: Observations, gate: Gate) -> None:
        self._port = port
        self._raises = raises
        self._seen = seen
        self._gate = gate
        self._thread = threading.Thread(target=self._click_on, daemon=True)

    def begin(self) -> None:
        """Begin to click."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the last click."""
        self._thread.join()

    def _click_on(self) -> None:
        # Most of the time goes into the picture itself, also while nodes fail.
        browser = Browser(self._port, self._seen, self._gate, timed=False)
        answer = browser.ask("/sign-in", None, {"name": _NAME})
        cookie = answer and answer.cookie
        known: dict[str, object] = {"name": _NAME}
        number = 0
        while cookie and not self._gate.ending.wait(_PAUSE):
            number += 1
            cookie = self._put(browser, cookie, {"small": number}, known)
            picture = secrets.token_urlsafe(_SIZE)[:_SIZE]
            cookie = self._put(browser, cookie, {"picture": picture}, known)
            answer = browser.ask("/", cookie)
            if answer:
                self._compare(answer.body, known, "read")

    def _put(
        self, browser: Browser, cookie: str, change: dict[str, object], known: dict[str, object]
    ) -> str:
        """Change the session; return the cookie it has now."""
        refused = self._raises and "picture" in change
        answer = browser.ask("/set", cookie, change, too_large="picture" if refused else None)
        if answer is None:
            return cookie
        if refused:
            self._seen.failed.append(f"{self._seen.phase}, {_NAME}: the picture was not refused")
        known.update(change)
        self._compare(answer.body, known, "changed")
        return answer.cookie or cookie

    def _compare(self, body: dict[str, object], known: dict[str, object], what: str) -> None:
        missing = [name for name, value in known.items() if body.get(name) != value]
        if missing:
            lost = self._seen.signed_out if "name" in missing else self._seen.lost
            lost.append(f"{self._seen.phase}, {_NAME}, {what}: no {', '.join(missing)}")
