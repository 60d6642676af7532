"""A small balancer for machines without HAProxy."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from harness.processes import HOST


#: Seconds a site may take to answer.
_TIMEOUT = 60.0
#: So often a request is sent in all.
_ATTEMPTS = 4
#: Headers that belong to one connection.
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")
_ROUTE = re.compile(r"\.([A-Za-z0-9_-]{1,32})\Z")


class SmallBalancer:
    """Does of HAProxy what the drill needs.

    Args:
        sites: Port by name of each site.
        affinity: Whether the name at the end of a cookie decides where a browser goes.

    Attributes:
        port: Where browsers find it.
    """

    def __init__(self, sites: Mapping[str, int], *, affinity: bool) -> None:
        self._sites = dict(sites)
        self._affinity = affinity
        self._turn = count()
        #: Appending is safe without a lock, counting up is not.
        self._again: list[None] = []
        self._server = _Server((HOST, 0), _Handler)
        self._server.sites = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def choose(self, cookie: str, attempt: int) -> int:
        """Return the port of the site for a browser with *cookie*, at first or again."""
        route = _ROUTE.search(cookie)
        if attempt:
            self._again.append(None)
        elif self._affinity and route and route[1] in self._sites:
            return self._sites[route[1]]
        ports = list(self._sites.values())
        return ports[next(self._turn) % len(ports)]

    def sent_again(self) -> int:
        """Return how many requests were sent once more because a connection broke."""
        return len(self._again)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    sites: SmallBalancer


class _Handler(BaseHTTPRequestHandler):
    """Hands one request on, and its answer back."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._hand_on()

    def do_POST(self) -> None:
        self._hand_on()

    def log_message(self, *_: Any) -> None:
        """Say nothing: requests carry cookies."""

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for attempt in range(_ATTEMPTS):
            port = self.server.sites.choose(self.headers.get("Cookie", ""), attempt)
            with suppress(OSError, http.client.HTTPException):
                return self._hand_back(*self._ask(port, body))
        return self._hand_back(503, [], b"")

    def _ask(self, port: int, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _hand_back(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
