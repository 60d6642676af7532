"""Redis of this benchmark's own, where it is installed: Flask-Session on it is a contender."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import RedisError

from flask_msm.testing.memcached import wait_until
from harness.processes import HOST, bound, end, port_of, start


if TYPE_CHECKING:
    from contextlib import ExitStack


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
    wait_until(lambda: _answers(client), "an answer of redis-server")
    return client


def _answers(client: Redis) -> bool:
    try:
        client.ping()
    except RedisError:
        return False
    return True
