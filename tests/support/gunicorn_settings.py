"""Settings of gunicorn for tests: what happens is written to the file ``EVENT_LOG``."""

from __future__ import annotations

import logging
import os

# Imported before gunicorn forks: each worker would do it again.
import flask_msm.extension  # noqa: F401
import flask_msm_dashboard  # noqa: F401


worker_class = "gthread"
threads = 4
keepalive = 0
graceful_timeout = 5
loglevel = "warning"


def post_worker_init(worker):
    handler = logging.FileHandler(os.environ["EVENT_LOG"])
    handler.setFormatter(logging.Formatter("%(created).6f\t%(name)s\t%(message)s"))
    logger = logging.getLogger("flask_msm")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
