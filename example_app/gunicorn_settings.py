"""What every run of gunicorn has in common; read by gunicorn, not imported.

A file rather than options: gunicorn ignores a setting here that its version does not know.
"""

from __future__ import annotations


# Threads, because browsers open connections ahead of time and would occupy a worker with each.
worker_class = "gthread"
threads = 4
loglevel = "warning"
graceful_timeout = 2
control_socket_disable = True
