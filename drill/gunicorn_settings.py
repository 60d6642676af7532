"""Settings of gunicorn: each answer has a header with its time in the worker.

The time is taken around the application, where neither the queue in front of the worker nor a busy
client counts; with it comes the part of it spent waiting for a processor. A second header says
since when the upkeep of the worker has ticked so often that it must know of every logout.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import Any

from werkzeug.test import create_environ, run_wsgi_app

from drill.processor import Starvation


#: Header: seconds a request took, and how many of them it waited for a processor.
SPENT = "X-Spent"
#: Header: monotonic time in seconds; the worker must know of every logout before it.
INFORMED = "X-Informed"
#: What a worker asks itself when it starts.
FIRST = "/worker"
#: Ticks after which a worker knows of a logout: two, and a request of one second may have begun
#: four ticks of the drill before. Seconds would say nothing of a machine that is busy.
_TICKS = 6

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

worker_class = "gthread"
threads = 4
# A new connection for each request: whichever worker is free takes it.
keepalive = 0
graceful_timeout = 3
loglevel = "warning"
control_socket_disable = True

#: When the newest ticks began that have ended; only read after the fork.
_ticks: deque[float] = deque([0.0] * _TICKS, maxlen=_TICKS)


def on_starting(server: Any) -> None:
    """Prepare what all workers of a site have in common, before gunicorn forks."""
    del server
    if find_spec("drill.wrong_clock"):  # the first version, which an act upgrades, has none
        import_module("drill.wrong_clock").set_clock()
    for name in ("flask_msm_dashboard", "drill.app"):
        import_module(name)


def post_fork(server: Any, worker: Any) -> None:
    """Take note of the ticks of the upkeep, before the application makes any."""
    del server, worker
    place = "maintenance" if find_spec("flask_msm.maintenance") else "upkeep"
    monitor = import_module(f"flask_msm.{place}.monitor").Monitor
    tick = monitor.tick

    def noted(self: Any, **options: Any) -> None:
        began = time.monotonic()
        tick(self, **options)
        _ticks.append(began)

    monitor.tick = noted


def post_worker_init(worker: Any) -> None:
    """Take the time of what *worker* answers, and have events written where gunicorn writes.

    Its first request is one of its own, which begins its upkeep: workers that are started at once
    begin at once.
    """
    logging.basicConfig(format="%(created).3f %(process)d %(name)s %(levelname)s %(message)s")
    logging.getLogger("flask_msm").setLevel(logging.INFO)
    first = partial(run_wsgi_app, worker.wsgi, create_environ(FIRST))
    # Not here: gunicorn ends a worker that takes long to start.
    Thread(target=first, daemon=True).start()
    worker.wsgi = timed(worker.wsgi)


def timed(application: Application) -> Application:
    """Return a WSGI application that adds what *application* took to each answer."""
    starvation = Starvation()  # one for each process: this is called after the fork

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        before, began, informed = starvation.so_far(), time.monotonic(), f"{_ticks[0]:.6f}"

        # Flask has saved the session by the time it starts its response.
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            took = time.monotonic() - began
            spent = f"{took:.6f} {starvation.since(before):.6f}"
            more = [(SPENT, spent), (INFORMED, informed)]
            return start_response(status, [*headers, *more], *exc_info)

        return application(environ, start)

    return answer
