"""Visitors who click without a pause and know what was acknowledged to them.

Each of them sets counters and never takes less for an answer than it was told before.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import NamedTuple, Self

from flask_msm.testing.memcached import wait_until

from .tab import PATIENCE, Answer, Tab, in_parallel
from .workers import Worker


#: Seconds between two clicks of a visitor, at most.
PAUSE = 0.02


class Click(NamedTuple):
    """One request that was answered.

    Attributes:
        at: When the answer came, seconds since the epoch.
        wrote: Whether it was to change the session.
        during: What was the matter with the nodes when it was sent.
        spent: Time in seconds the worker took, but for waiting for a processor.
        took: All the time the worker took.
        waited: Time in seconds the visitor waited.
    """

    at: float
    wrote: bool
    during: str
    spent: float
    took: float
    waited: float


class Rotation:
    """The workers a balancer hands requests to, and how many each has."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._lock = threading.Lock()
        self._busy = dict.fromkeys(workers, 0)
        self._used = list(self._busy)

    @contextmanager
    def worker(self):
        """Hand out a worker for one request."""
        with self._lock:
            worker = random.choice(self._used)
            self._busy[worker] += 1
        try:
            yield worker
        finally:
            with self._lock:
                self._busy[worker] -= 1

    def workers(self) -> list[Worker]:
        """Return the workers that are used now."""
        with self._lock:
            return list(self._used)

    def add(self, worker: Worker) -> None:
        """Use *worker* from now on."""
        with self._lock:
            self._busy.setdefault(worker, 0)
            self._used.append(worker)

    def remove(self, worker: Worker) -> None:
        """Send nothing more to *worker*, and wait until it has answered everything."""
        with self._lock:
            self._used.remove(worker)
        wait_until(lambda: self._busy[worker] == 0, "all is answered", PATIENCE)


class Idle(NamedTuple):
    """Someone who signed in and does not click.

    Attributes:
        shown: What their session holds.
        cookie: Its cookie.
    """

    shown: dict[str, str]
    cookie: str


def sign_in(rotation: Rotation, count: int) -> list[Idle]:
    """Let so many people sign in, with any worker."""

    def one(tab: Tab, number: int) -> Idle:
        name = {"name": f"visitor {number}"}
        with rotation.worker() as worker:
            return Idle(name, tab.ask(worker, "/set", body=name).cookie)

    return in_parallel(one, range(count))


def count_missed(rotation: Rotation, idle: Iterable[Idle]) -> int:
    """Return how many of *idle* any worker does not show as they were."""

    def is_missed(tab: Tab, visit: Idle) -> bool:
        with rotation.worker() as worker:
            answer = tab.ask(worker, "/get", visit.cookie)
        return answer.status != 200 or answer.body != visit.shown

    return sum(in_parallel(is_missed, idle))


class Load:
    """Visitors and what went wrong for them; a context manager.

    Args:
        rotation: The workers they are sent to.
        visitors: How many there are with one tab.
        two_tabs: How many there are with two tabs that they use at the same time.

    Attributes:
        during: What is the matter with the nodes at the moment, in words.
        clicks: Every request that was answered.
        lost: Changes that were acknowledged and not there later.
        stale: Changes that a browser with two tabs did not see at once: the cookie of the slower
            answer may be the older one, and then asks for less.
        signed_out: Answers that took the session away.
        failed: Answers with 5xx, and connections that broke.
    """

    def __init__(self, rotation: Rotation, *, visitors: int = 4, two_tabs: int = 2) -> None:
        self.during = "nothing"
        self.clicks: list[Click] = []
        self.lost: list[str] = []
        self.stale: list[str] = []
        self.signed_out: list[str] = []
        self.failed: list[str] = []
        self._rotation = rotation
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        tabs = [1] * visitors + [2] * two_tabs
        self.visitors = [_Visitor(self, number, count) for number, count in enumerate(tabs)]

    def __enter__(self) -> Self:
        for visitor in self.visitors:
            visitor.sign_in()
            for number in range(visitor.tabs):
                self._start(visitor.click_on, f"{number}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a visitor hangs"

    @contextmanager
    def trouble(self, text: str):
        """Say what is the matter while the block runs."""
        self.during = text
        yield
        self.during = f"after {text}"

    def wait_clicks(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        target = len(self.clicks) + count
        wait_until(lambda: len(self.clicks) >= target, f"{count} more clicks", PATIENCE)

    def complaints(self) -> list[str]:
        """Return everything that went wrong, in order of time."""
        kinds = {"lost": self.lost, "signed out": self.signed_out, "failed": self.failed}
        return sorted(f"{line} ({kind})" for kind, lines in kinds.items() for line in lines)

    def slowest(self) -> Click:
        """Return the request that took a worker longest."""
        return max(self.clicks, key=lambda click: click.spent)

    def report(self) -> str:
        """Return what happened, in words."""
        changes = sum(click.wrote for click in self.clicks)
        lines = [
            f"{len(self.clicks)} requests, {changes} of them changes",
            f"{len(self.lost)} lost, {len(self.signed_out)} signed out, {len(self.failed)} failed",
            f"{len(self.stale)} seen late by a browser with two tabs",
            f"  {'seconds':<46} median    99 %  slowest  with a busy machine  in the browser",
        ]
        for during in dict.fromkeys(click.during for click in self.clicks):
            clicks = [click for click in self.clicks if click.during == during]
            spent = sorted(click.spent for click in clicks)
            lines.append(
                f"  {during:<46} {spent[len(spent) // 2]:6.4f} {spent[len(spent) * 99 // 100]:7.3f}"
                f"  {spent[-1]:7.3f}  {max(click.took for click in clicks):19.3f}"
                f"  {max(click.waited for click in clicks):14.3f}"
            )
        return "\n".join(lines)

    def ask(self, tab: Tab, path: str, cookie: str | None, body: object = None) -> Answer:
        """Send a request to some worker and take note of how long it took."""
        during = self.during
        with self._rotation.worker() as worker:
            answer = tab.ask(worker, path, cookie, body)
        wrote = body is not None
        self.clicks.append(
            Click(time.time(), wrote, during, answer.spent, answer.took, answer.waited)
        )
        return answer

    def is_ending(self) -> bool:
        """Wait as long as a visitor thinks; return whether that was the last click."""
        return self._ending.wait(random.uniform(0, PAUSE))

    def _start(self, work: Callable[[str], None], name: str) -> None:
        thread = threading.Thread(target=work, args=(name,), daemon=True)
        self._threads.append(thread)
        thread.start()


class _Visitor:
    """One browser with a cookie that all its tabs share."""

    def __init__(self, load: Load, number: int, tabs: int) -> None:
        self.tabs = tabs
        self._load = load
        self._name = f"visitor {number}"
        self._cookie: str | None = None
        self._acknowledged: dict[str, int] = {}
        self._last_took = 0.0

    def sign_in(self) -> None:
        with Tab() as tab:
            self._cookie = self._load.ask(tab, "/set", None, {"name": self._name}).cookie
        assert self._cookie

    def click_on(self, name: str) -> None:
        """Click until the load ends; *name* is that of the tab and of its counter."""
        counter, value = f"counter {name}", 0
        with Tab() as tab:
            while not self._load.is_ending():
                body = None
                if random.random() < 0.5:
                    value += 1
                    body = {counter: value}
                if self._click(tab, body) and body:
                    self._acknowledged |= body
            # All is well by now: nothing may be missing, whichever version the cookie asks for.
            self._click(tab, None, is_last=True)

    def _click(self, tab: Tab, body: dict[str, int] | None, *, is_last: bool = False) -> bool:
        """Send one request and look at the answer; return whether it was a good one."""
        known = dict(self._acknowledged)
        where = f"{time.time():.3f} {self._name}, {body or 'read'}, {self._load.during}"
        path = "/get" if body is None else "/set"
        try:
            answer = self._load.ask(tab, path, self._cookie, body)
        except Exception as error:  # noqa: BLE001  (a visitor saw it, of any kind)
            self._load.failed.append(f"{where}: {error!r}")
            return False
        if answer.status != 200 or answer.body is None:
            self._load.failed.append(f"{where}: status {answer.status}")
            return False
        missing = {
            name: (answer.body.get(name), value)
            for name, value in known.items()
            if answer.body.get(name, -1) < value
        }
        if missing:
            is_lost = self.tabs == 1 or is_last
            (self._load.lost if is_lost else self._load.stale).append(
                f"{where}: {missing}, its last change took {self._last_took:.3f} s"
            )
        if body is not None:
            self._last_took = answer.took
        if answer.cookie == "" or answer.body.get("name") != self._name:
            self._load.signed_out.append(f"{where}: {answer.body}, cookie {answer.cookie!r}")
        if answer.cookie:
            self._cookie = answer.cookie
        return True
