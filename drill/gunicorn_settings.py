"""Settings of gunicorn: each answer has a header with its time in the worker.

The time is taken around the application, where neither the queue in front of the worker nor a busy
client counts. A second header has the part of it spent waiting for a processor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from drill.processor import Starvation
from drill.wrong_clock import set_clock


#: Header: seconds a request took, and how many of them it waited for a processor.
SPENT = "X-Spent"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

worker_class = "gthread"
threads = 4
# A new connection for each request: whichever worker is free takes it.
keepalive = 0
graceful_timeout = 3
loglevel = "warning"
control_socket_disable = True


# The application is imported later, by each worker.
set_clock()


def post_worker_init(worker: Any) -> None:
    """Take the time of what *worker* answers, and have events written where gunicorn writes."""
    worker.wsgi = timed(worker.wsgi)
    logging.basicConfig(format="%(created).3f %(name)s %(levelname)s %(message)s")
    logging.getLogger("flask_msm").setLevel(logging.INFO)


def timed(application: Application) -> Application:
    """Return a WSGI application that adds what *application* took to each answer."""
    starvation = Starvation()  # one for each process: this is called after the fork

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        before, began = starvation.so_far(), time.monotonic()

        # Flask has saved the session by the time it starts its response.
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            took = time.monotonic() - began
            spent = f"{took:.6f} {starvation.since(before):.6f}"
            return start_response(status, [*headers, (SPENT, spent)], *exc_info)

        return application(environ, start)

    return answer
