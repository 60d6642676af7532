"""Work that is done behind the response: a bounded queue and one thread for each process."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .ending import to_the_end
from .locks import ProcessLock


if TYPE_CHECKING:
    from .clock import Clock


#: Time in seconds for the response to leave, before the first job begins: at once it would take
#: turns with the request that asked for it, and only make that one slower.
PAUSE = 0.001

#: How often the thread looks for another job that waits, before it sleeps until it is woken.
LOOKS = 40

logger = logging.getLogger("flask_msm.background")

#: Called with the time (monotonic clock, seconds) by which it shall be done.
Job = Callable[[float], object]
#: Jobs, each with the time in seconds to rest before; ``None`` for the end.
Jobs = queue.SimpleQueue[tuple[Job | None, float]]


class WorkBehind(Protocol):
    """What is done behind responses, as those see it who end a process or wait for it."""

    def flush(self, timeout: float) -> bool:
        """Do all that waits; return whether that was done within *timeout* seconds."""
        ...

    def refuse(self) -> None:
        """Take nothing from now on: for a command line."""
        ...

    def close(self, timeout: float = 1.0) -> None:
        """Do what waits, within *timeout* seconds, then end the thread."""
        ...


class Queue(Protocol):
    """Takes jobs, as ``Background`` does."""

    def put(self, job: Job, /, *, after: float = 0.0) -> bool:
        """Queue *job*; return ``False`` when the queue is full."""
        ...


def put_alone(
    queue: Queue, lock: ProcessLock, job: Callable[[], object], *, after: float = 0.0
) -> bool:
    """Queue *job*, unless one that took *lock* waits or runs; return whether it was queued.

    The lock that was taken is released, and not the one that a forked child has in its place.
    """
    taken = lock.inner
    if not taken.acquire(blocking=False):
        return False

    def run(_: float) -> None:
        try:
            job()
        finally:
            taken.release()

    if queue.put(run, after=after):
        return True
    taken.release()
    return False


class Background:
    """Runs jobs one after another; started by the first job, once in every process.

    Args:
        clock: Its monotonic clock makes deadlines.
        deadline: Time in seconds a job may take.
        limit: How many jobs may wait; threads that come at the same moment may add one each.
    """

    def __init__(self, name: str, *, clock: Clock, deadline: float, limit: int = 1000) -> None:
        self._name = name
        self._clock = clock
        self._deadline = deadline
        self._limit = limit
        self._lock = ProcessLock()
        self._pid = 0
        self._refuses = False
        # Without a limit of its own, so that queueing a job costs a request as little as possible.
        self._jobs: Jobs = queue.SimpleQueue()
        self._resting = False
        self._hurried = threading.Event()
        self._thread: threading.Thread | None = None
        #: Whether it was logged that there is no thread.
        self._threadless = False

    def put(self, job: Job, *, after: float = 0.0) -> bool:
        """Queue *job*; return ``False`` if nothing was queued: the queue is full, or has no thread.

        Args:
            job: What is to be done.
            after: How long the thread may rest before, seconds, unless a job comes that does not
                wait. If such jobs follow each other within ``LOOKS`` times that, none wakes it.
        """
        if self._pid != os.getpid() and not self._start():
            return False
        if self._jobs.qsize() >= self._limit:
            return False
        self._add(job, after)
        return True

    def refuse(self) -> None:
        """Take no job from now on, so that no thread is started: for a command line."""
        self._refuses = True

    def flush(self, timeout: float) -> bool:
        """Wait until all that is queued now is done; return whether that came true in time.

        Args:
            timeout: Time in seconds.
        """
        if self._pid != os.getpid():
            return True
        done = threading.Event()
        self._add(lambda _: done.set())
        return done.wait(timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Do what is queued, then end the thread. The next job starts a new one."""
        thread = self._thread
        if self._pid != os.getpid() or thread is None:
            return
        self.flush(timeout)
        self._pid = 0
        atexit.unregister(self._at_exit)
        self._add(None)
        thread.join(timeout)

    def _at_exit(self) -> None:
        to_the_end(self.close)

    def _add(self, job: Job | None, after: float = 0.0) -> None:
        self._jobs.put((job, after))
        if self._resting and not after:
            self._hurried.set()

    def _start(self) -> bool:
        with self._lock:
            if self._pid == os.getpid():
                return True
            if self._refuses:
                return False
            # A fork left the thread behind; the parent does what it had queued.
            self._jobs, self._resting = queue.SimpleQueue(), False
            self._hurried = threading.Event()
            thread = threading.Thread(
                target=self._work, args=(self._jobs,), name=self._name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                # The system gives no more threads, or the process ends.
                if not self._threadless:
                    logger.warning("no work can be done behind responses: %s", error)
                self._threadless = True
                return False
            self._thread, self._threadless = thread, False
            self._pid = os.getpid()
            atexit.register(self._at_exit)
            return True

    def _work(self, jobs: Jobs) -> None:
        collected = 0.0
        while True:
            # As long as such jobs follow each other none of them wakes the thread.
            has_rested = collected > 0.0 and self._linger(jobs, collected)
            if jobs.empty():
                job, after = jobs.get()
                time.sleep(PAUSE)
            else:
                job, after = jobs.get()
            if job is None:
                return
            if after and not has_rested:
                self._rest(jobs, after)
            collected = after
            try:
                job(self._clock.monotonic() + self._deadline)
            except BaseException:  # the thread must outlive any job, also one that calls exit()
                logger.exception("a job behind the response failed")

    def _linger(self, jobs: Jobs, seconds: float) -> bool:
        """Look for a job every so many *seconds*; return whether there is one."""
        for _ in range(LOOKS):
            if not jobs.empty():
                return True
            self._rest(jobs, seconds)
        return False

    def _rest(self, jobs: Jobs, seconds: float) -> None:
        """Wait until a job comes that does not."""
        self._hurried.clear()
        self._resting = True
        # A job that came before would not be heard.
        if jobs.empty():
            self._hurried.wait(seconds)
        self._resting = False
