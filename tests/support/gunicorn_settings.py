"""Settings of gunicorn for acceptance tests: each answer says how long it took in the worker.

The time is taken around the application, where neither the queue in front of the worker nor a busy
test client counts. What happens to the nodes is written to the file ``EVENT_LOG``.
"""

from __future__ import annotations

import logging
import os
import time


SPENT = "X-Spent"

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
        began = time.monotonic()

        # Flask has saved the session by the time it starts its response.
        def start(status, headers, *exc_info):
            spent = time.monotonic() - began
            return start_response(status, [*headers, (SPENT, f"{spent:.6f}")], *exc_info)

        return application(environ, start)

    return answer
