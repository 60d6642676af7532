"""Old cookies, sent again and again to every worker after the logout."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from typing import NamedTuple, Self

from flask_msm.testing.memcached import wait_until

from .tab import PATIENCE, Tab
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
        ticks: How often the upkeep of the worker had ticked since then when the request came. What
            a worker has to know after two of them it learns late on a machine that is busy.
        worker: Which worker showed it.
        label: What was the matter with the nodes at the time of the logout.
        body: What it showed.
    """

    late: float
    ticks: int
    worker: str
    label: str
    body: dict[str, object]


class _Cookie(NamedTuple):
    value: str
    since: float
    label: str
    #: Ticks of each worker just after the logout.
    ticks: dict[Worker, int]


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
        self._cookies: list[_Cookie] = []
        self._changed = threading.Condition()
        self._held = False
        self._busy = 0
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

    def add(self, cookie: str, at: float | None, label: str) -> None:
        """Replay a cookie.

        Args:
            cookie: The cookie.
            at: When its logout was acknowledged (monotonic clock, seconds); ``None`` for just now.
            label: What was the matter with the nodes then.
        """
        since = time.monotonic() if at is None else at
        self._cookies.append(_Cookie(cookie, since, label, self._ticks()))

    def go_on(self, ticks: int) -> None:
        """Replay until the upkeep of every worker has ticked so many times more."""
        goal = {worker: count + ticks for worker, count in self._ticks().items()}
        wait_until(
            lambda: all(map(int.__ge__, self._ticks(goal).values(), goal.values())),
            f"{ticks} ticks of every worker",
            PATIENCE + 10 * ticks,
        )

    @contextmanager
    def paused(self):
        """Replay nothing while the block runs."""
        with self._changed:
            self._held = True
            assert self._changed.wait_for(lambda: not self._busy, PATIENCE), "a replay hangs"
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    def report(self) -> str:
        """Return what happened, in words."""
        late: dict[str, list[float]] = {cookie.label: [] for cookie in self._cookies}
        for served in self.served:
            late[served.label].append(served.late)
        return f"{len(self._cookies)} logouts, {self.asked} replays; " + "; ".join(
            f"{label}: served {len(found)}, the last {max(found, default=0.0):.2f} s after logout"
            for label, found in late.items()
        )

    def _ticks(self, workers: Iterable[Worker] | None = None) -> dict[Worker, int]:
        with Tab() as tab:
            return {
                worker: tab.ask(worker, "/pid").ticks
                for worker in workers or self._rotation.workers()
            }

    def _work(self) -> None:
        turn = 0
        with Tab() as tab:
            while not self._ending.wait(0.01):
                turn += 1
                for index, cookie in enumerate(list(self._cookies)):
                    writes = (turn + index) % WRITES == 0
                    with self._turn(), self._rotation.worker() as worker:
                        self._send(tab, worker, cookie, writes=writes)

    @contextmanager
    def _turn(self):
        with self._changed:
            assert self._changed.wait_for(lambda: not self._held, PATIENCE), "a pause hangs"
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _send(self, tab: Tab, worker: Worker, cookie: _Cookie, *, writes: bool) -> None:
        late = time.monotonic() - cookie.since
        body = {"late": late} if writes else None
        try:
            answer = tab.ask(worker, "/set" if writes else "/get", cookie.value, body)
        except Exception as error:  # noqa: BLE001  (a visitor saw it, of any kind)
            self.failed.append(f"{worker.url}: {error!r}")
            return
        self.asked += 1
        if answer.status != 200 or answer.body is None:
            self.failed.append(f"{worker.url}: status {answer.status}")
        elif "name" in answer.body:
            ticks = answer.ticks - cookie.ticks.get(worker, 0)
            self.served.append(Served(late, ticks, worker.url, cookie.label, answer.body))
