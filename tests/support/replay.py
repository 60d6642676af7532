"""Old cookies, sent again and again to every worker after the logout."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Self

from .tab import Tab
from .visitors import Rotation
from .workers import Worker


#: Of so many replays of a cookie on a worker one tries to change the session.
WRITES = 5
#: How many of them are sent side by side.
TABS = 3


class Served(NamedTuple):
    """A session that was shown after its logout.

    Attributes:
        late: When the request was sent, seconds after the logout was acknowledged.
        worker: Which worker showed it.
        body: What it showed.
    """

    late: float
    worker: str
    body: dict[str, object]


class Replay:
    """Replays cookies on all workers until it is left; a context manager.

    Args:
        rotation: The workers that are there.

    Attributes:
        served: Sessions that were shown after all.
        asked: How many requests were sent.
        failed: Answers that were no 200, and what broke.
    """

    def __init__(self, rotation: Rotation) -> None:
        self.served: list[Served] = []
        self.asked = 0
        self.failed: list[str] = []
        self._rotation = rotation
        self._cookies: list[tuple[str, float]] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(TABS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a replay hangs"

    def add(self, cookie: str) -> None:
        """Replay *cookie*, whose logout was acknowledged just now."""
        self._cookies.append((cookie, time.monotonic()))

    def report(self) -> str:
        """Return what happened, in words."""
        latest = max((served.late for served in self.served), default=0.0)
        return (
            f"{len(self._cookies)} logouts, {self.asked} replays, {len(self.served)} of them"
            f" served, the last one {latest:.2f} s after its logout"
        )

    def _work(self) -> None:
        turn = 0
        with Tab() as tab:
            while not self._ending.wait(0.01):
                turn += 1
                for index, (cookie, since) in enumerate(list(self._cookies)):
                    writes = (turn + index) % WRITES == 0
                    with self._rotation.worker() as worker:
                        self._send(tab, worker, cookie, since, writes=writes)

    def _send(self, tab: Tab, worker: Worker, cookie: str, since: float, *, writes: bool) -> None:
        late = time.monotonic() - since
        body = {"late": late} if writes else None
        try:
            answer = tab.ask(worker, "/set" if writes else "/get", cookie, body)
        except Exception as error:  # noqa: BLE001  (whatever it is, a visitor saw it)
            self.failed.append(f"{worker.url}: {error!r}")
            return
        self.asked += 1
        if answer.status != 200 or answer.body is None:
            self.failed.append(f"{worker.url}: status {answer.status}")
        elif "name" in answer.body:
            self.served.append(Served(late, worker.url, answer.body))
