"""What every run of gunicorn has in common; read by gunicorn, not imported.

A file rather than options: gunicorn ignores a setting here that its version does not know.
"""

from __future__ import annotations

from typing import Any


# Threads, because browsers open connections ahead of time and would occupy a worker with each.
worker_class = "gthread"
threads = 4
loglevel = "warning"
graceful_timeout = 2
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Make *worker* known to the others before its first request."""
    # Not before: the folder of the application is only now where modules are looked for.
    from example_app.extensions import msm  # noqa: PLC0415

    msm.start(worker.wsgi)
