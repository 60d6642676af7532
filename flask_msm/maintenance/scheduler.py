"""APScheduler, started by the first request of a process; the only module that imports it.

Not at import and not in ``init_app``: a scheduler that was started before a fork reports that it
runs and does nothing, and under the reloader the application is loaded twice.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask_msm.process.ending import to_the_end
from flask_msm.process.locks import ProcessLock


logger = logging.getLogger("flask_msm.maintenance.scheduler")

_EXECUTOR = "flask_msm"


class Scheduler:
    """Calls a job at intervals, in every process that serves requests.

    Args:
        job: What is called; it must not raise.
        name: Distinguishes applications that share a scheduler.
        interval: Time in seconds between two calls; 0 for never.
        theirs: A scheduler of the application to use instead of an own one.
    """

    def __init__(
        self,
        job: Callable[[], object],
        *,
        name: str,
        interval: float,
        leave: Callable[[], object],
        theirs: Any = None,
    ) -> None:
        self._job = job
        # Two applications may have one name.
        self._id = f"flask_msm:{name}:{id(self):x}"
        self._interval = interval
        self._leave = leave
        self._theirs = theirs
        self._own: Any = None
        self._lock = ProcessLock()
        self._pid = 0
        if interval:
            # Now, because no request should wait for it, or fail when the process has no free
            # descriptor; and forked workers can share it.
            _parts()

    @property
    def running(self) -> bool:
        """Whether the job is called in this process."""
        return self._pid == os.getpid()

    def start(self) -> bool:
        """Start in this process; return ``False`` when there is nothing to start."""
        if not self._interval:
            return False
        with self._lock:
            if self._pid == os.getpid():
                return True
            try:
                self._start()
            except RuntimeError as error:
                # uWSGI without --enable-threads raises it; requests will do the probing.
                logger.warning("no scheduler can run here: %s", error)
                return False
            self._pid = os.getpid()
            return True

    def stop(self) -> None:
        """End the job in this process; the next start begins anew."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._pid = 0
            own, self._own = self._own, None
            if own is not None:
                own.shutdown(wait=False)
            elif self._theirs is not None and self._theirs.get_job(self._id):
                self._theirs.remove_job(self._id)
        atexit.unregister(self._at_exit)

    def _start(self) -> None:
        scheduler = self._theirs
        options: dict[str, Any] = {}
        # Parts, not their names: APScheduler would look for those among what is installed.
        scheduler_class, executor_class, trigger_class = _parts()
        if scheduler is None:
            # The debug executor runs the job in the scheduler's own thread: one thread instead
            # of two, and nothing that makes the end of the process wait.
            # Without a default one APScheduler would import one that has threads.
            executors = {_EXECUTOR: executor_class(), "default": executor_class()}
            scheduler = scheduler_class(timezone=UTC, executors=executors, daemon=True)
            options["executor"] = _EXECUTOR
            # Two lines for every run would only fill the log.
            logging.getLogger(f"apscheduler.executors.{_EXECUTOR}").setLevel(logging.WARNING)
        scheduler.add_job(
            partial(self._run, os.getpid()),
            trigger_class(
                seconds=self._interval, jitter=min(self._interval / 10, 1.0), timezone=UTC
            ),
            id=self._id,
            next_run_time=datetime.now(UTC),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            replace_existing=True,
            **options,
        )
        if self._theirs is None:
            scheduler.start()
            self._own = scheduler
        elif not scheduler.running:
            scheduler.start()
        atexit.register(self._at_exit)

    def _run(self, pid: int) -> None:
        # A greenlet that calls the job goes on in a forked process, which has its own scheduler.
        if pid == os.getpid():
            self._job()

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            to_the_end(self._end)

    def _end(self) -> None:
        self.stop()
        self._leave()


def _parts() -> tuple[Any, Any, Any]:
    """Import APScheduler: applications without probes do without."""
    from apscheduler.executors.debug import DebugExecutor  # noqa: PLC0415
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415
    from apscheduler.triggers.interval import IntervalTrigger  # noqa: PLC0415

    return BackgroundScheduler, DebugExecutor, IntervalTrigger
