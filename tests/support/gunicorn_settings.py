"""Settings of gunicorn for acceptance tests: each answer has its time in the worker.

The time is taken around the application, where neither the queue in front of the worker nor a busy
test client counts; a second header has how long the thread waited for a processor, and how often
the worker had ticked when the request came. What happens to the nodes is written to the file
``EVENT_LOG``.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


SPENT = "X-Spent"
TICKS = "X-Ticks"
SCHEDULED = Path("/proc/thread-self/schedstat")

worker_class = "gthread"
threads = 4
# A tab that is not used for minutes, on a machine that is busy, finds its connection open.
keepalive = 3600
graceful_timeout = 5


_done: Counter[str] = Counter()


def post_fork(server, worker):
    """Count the ticks of the upkeep, before the application makes any."""
    # Of the version that the worker runs: the first one has it at another place.
    is_first = find_spec("flask_msm.maintenance") is None
    place = "upkeep" if is_first else "maintenance"
    monitors = import_module(f"flask_msm.{place}.monitor").Monitor

    tick = monitors.tick

    def counted(monitor, **options):
        tick(monitor, **options)
        _done["ticks"] += 1

    monitors.tick = counted


def post_worker_init(worker):
    worker.wsgi = timed(worker.wsgi)
    handler = logging.FileHandler(os.environ["EVENT_LOG"])
    handler.setFormatter(logging.Formatter("%(created).6f\t%(name)s\t%(message)s"))
    logger = logging.getLogger("flask_msm")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def timed(application):
    """Return a WSGI application that adds what *application* took to each answer."""

    def answer(environ, start_response):
        began, waited, ticks = time.monotonic(), waited_for_processor(), _done["ticks"]

        # Flask has saved the session by the time it starts its response.
        def start(status, headers, *exc_info):
            took = f"{time.monotonic() - began:.6f} {waited_for_processor() - waited:.6f}"
            more = [(SPENT, took), (TICKS, str(ticks))]
            return start_response(status, [*headers, *more], *exc_info)

        return application(environ, start)

    return answer


def waited_for_processor() -> float:
    """Return how many seconds this thread was ready to run and had to wait, 0 if unknown."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
