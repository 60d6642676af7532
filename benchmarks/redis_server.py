"""Redis of this benchmark's own, where it is installed: Flask-Session on it is a contender."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import RedisError

from harness.processes import HOST, bound, end, port_of, start


if TYPE_CHECKING:
    from contextlib import ExitStack

#: Time in seconds until it has to answer.
PATIENCE = 10.0


def redis(closing: ExitStack) -> Redis | None:
    """Return a client of a Redis in memory that *closing* ends; ``None`` where there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        return None
    reserved = closing.enter_context(bound())
    port = port_of(reserved)
    process = start([binary, "--bind", HOST, "--port", str(port), "--save", ""])
    closing.callback(end, process)
    client = Redis(HOST, port)
    closing.callback(client.close)
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        try:
            client.ping()
        except RedisError:
            time.sleep(0.02)
        else:
            return client
    return None
