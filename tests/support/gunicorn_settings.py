"""Settings of gunicorn for acceptance tests: each answer says how long it took in the worker.

The time is taken around the application, where neither the queue in front of the worker nor a busy
test client counts; how much of it the thread waited for a processor is told as well. What happens
to the nodes is written to the file ``EVENT_LOG``.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path


SPENT = "X-Spent"
SCHEDULED = Path("/proc/thread-self/schedstat")

worker_class = "gthread"
threads = 4
keepalive = 75
graceful_timeout = 5


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
        began, waited = time.monotonic(), waited_for_processor()

        # Flask has saved the session by the time it starts its response.
        def start(status, headers, *exc_info):
            took = f"{time.monotonic() - began:.6f} {waited_for_processor() - waited:.6f}"
            return start_response(status, [*headers, (SPENT, took)], *exc_info)

        return application(environ, start)

    return answer


def waited_for_processor() -> float:
    """Return how many seconds this thread was ready to run and had to wait, 0 if nobody says."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
