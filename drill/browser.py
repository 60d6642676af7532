"""A browser: sends requests, keeps a cookie, takes note of how long it waited."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from harness.client import Client

from .app import MODE, PLACE, TOO_LARGE, WAYS
from .gunicorn_settings import INFORMED, SPENT
from .observations import Click
from .site import HANGS


if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.client import Answer as Response

    from .observations import Observations

COOKIE = "session"
#: So often a request is sent when no answer comes, and seconds in between.
_ATTEMPTS, _PAUSE = 40, 0.05


class Answer(NamedTuple):
    """A good answer.

    Attributes:
        body: What the session held after the request.
        cookie: The cookie it sets, ``""`` if it deletes it, ``None`` if it does neither.
        site: Who answered.
        mode: Where the worker kept sessions before and after it.
        sent: When the request was sent first, monotonic time in seconds.
        informed: The worker must know of every logout before this, monotonic time in seconds.
    """

    body: dict[str, object]
    cookie: str | None
    site: str
    mode: str
    sent: float
    informed: float


class Gate:
    """Lets requests through, or holds them back; safe for many threads."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self._changed = threading.Condition()
        self._inside, self._held = 0, False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Wait until requests may pass, and count as one while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no request pass while the block runs, which begins after the last one has ended."""
        with self._changed:
            self._held = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()


class Browser:
    """One tab.

    Args:
        port: Where it sends requests to.
        seen: Told of everything.
        gate: Holds its requests back at times.
        patient: Sends a request again when the connection breaks, as people do.
        timed: Its requests are counted and timed.
    """

    def __init__(
        self,
        port: int,
        seen: Observations,
        gate: Gate,
        *,
        patient: bool = True,
        timed: bool = True,
    ) -> None:
        self._timed = timed
        self._attempts = _ATTEMPTS if patient else 1
        self._seen = seen
        self._gate = gate
        self._port = port

    def ask(
        self, path: str, cookie: str | None, body: object = None, *, too_large: str | None = None
    ) -> Answer | None:
        """Send a request, a POST if there is a *body*; ``None`` when there was no good answer.

        Args:
            path: Where to.
            cookie: Of the session, if there is one.
            body: What to send.
            too_large: The attribute that makes the session too large: that it is refused by its
                name is no failure.
        """
        with self._gate.passing():
            sent, phase = time.monotonic(), self._seen.phase
            for _ in range(self._attempts):
                try:
                    client = Client({} if cookie is None else {COOKIE: cookie}, limit=HANGS)
                    response = client.send(self._port, path, body)
                except (OSError, http.client.HTTPException) as error:
                    trouble = type(error).__name__
                else:
                    # An answer of the balancer itself has no times of a worker.
                    if SPENT in response.headers:
                        if too_large and _refuses(response, too_large):
                            return None
                        return self._judge(response, sent, (phase, path))
                    trouble = f"{response.status} of the balancer"
                self._broken(f"{phase}, {path}: {trouble}")
                if self._gate.ending.wait(_PAUSE):
                    break
            if self._attempts > 1:
                self._seen.failed.append(f"{phase}, {path}: no answer")
            return None

    def _judge(self, response: Response, sent: float, what: tuple[str, str]) -> Answer | None:
        took, _, starved = response.headers[SPENT].partition(" ")
        # No less than nothing: threads wait at the same time.
        spent = max(0.0, float(took) - float(starved))
        mode = response.headers.get(MODE, "")
        if self._timed:
            ways = tuple(map(int, response.headers.get(WAYS, "").split()))
            waited = time.monotonic() - sent
            self._seen.clicks.append(Click(what[0], mode, spent, waited, ways))
        if response.status != http.HTTPStatus.OK:
            self._seen.failed.append(f"{', '.join(what)}: status {response.status}")
            return None
        cookie = response.cookies().get(COOKIE)
        place, informed = response.headers.get(PLACE, ""), float(response.headers[INFORMED])
        return Answer(response.json(), cookie, place, mode, sent, informed)

    def _broken(self, text: str) -> None:
        (self._seen.broken if self._seen.may_break else self._seen.failed).append(text)


def _refuses(response: Response, attribute: str) -> bool:
    """Return whether an answer reports that *attribute* makes the session too large."""
    is_refused = response.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return is_refused and response.json() == {TOO_LARGE: attribute}
