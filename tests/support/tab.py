"""One tab of a browser: keeps its connections, tells what an answer said and how long it took."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

from .gunicorn_settings import SPENT, TICKS
from .workers import Worker


#: Seconds after which a request is taken to hang; far above any deadline.
PATIENCE = 60.0
COOKIE = "session"
#: How many tabs work side by side in ``in_parallel``.
TABS = 4


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        body: What the JSON says, ``None`` for something else.
        cookie: The session cookie it sets, ``""`` if it deletes it, ``None`` if it does neither.
        spent: Time in seconds the worker took, but for waiting for a processor.
        took: All the time the worker took.
        waited: Time in seconds the browser waited.
        ticks: How often the upkeep of the worker had ticked when the request came.
    """

    status: int
    body: dict[str, object] | None
    cookie: str | None
    spent: float
    took: float
    waited: float
    ticks: int


class Tab:
    """Talks to workers over connections that stay open; a context manager."""

    def __init__(self) -> None:
        self._connections: dict[int, http.client.HTTPConnection] = {}

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def ask(
        self, worker: Worker, path: str, cookie: str | None = None, body: object = None
    ) -> Answer:
        """Send a request, a POST if there is a *body*."""
        headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
        data = None
        if body is not None:
            data = json.dumps(body)
            headers["Content-Type"] = "application/json"
        began = time.monotonic()
        connection = self._connections.get(worker.port)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=PATIENCE)
            self._connections[worker.port] = connection
        try:
            connection.request("GET" if data is None else "POST", path, data, headers)
            with connection.getresponse() as response:
                raw = response.read()
        except BaseException:
            connection.close()
            raise
        found = None
        with contextlib.suppress(ValueError):
            found = json.loads(raw)
        took, _, starved = response.headers.get(SPENT, "0 0").partition(" ")
        return Answer(
            response.status,
            found if isinstance(found, dict) else None,
            _cookie(response.headers.get_all("Set-Cookie", [])),
            float(took) - float(starved),
            float(took),
            time.monotonic() - began,
            int(response.headers.get(TICKS, "0")),
        )


def in_parallel(work: Callable[[Tab, Any], Any], items: Iterable[Any]) -> list[Any]:
    """Return what *work* makes of all *items*, each with one of several tabs; in any order."""
    everything = list(items)

    def part(number: int) -> list[Any]:
        with Tab() as tab:
            return [work(tab, item) for item in everything[number::TABS]]

    with ThreadPoolExecutor(TABS) as pool:
        return [result for results in pool.map(part, range(TABS)) for result in results]


def _cookie(lines: list[str]) -> str | None:
    for line in lines:
        found = SimpleCookie(line).get(COOKIE)
        if found is not None:
            return "" if found["max-age"] == "0" else found.value
    return None
