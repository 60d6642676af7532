"""An HTTP client with a cookie jar."""

from __future__ import annotations

import http.client
import json
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

from .processes import HOST


#: Seconds an answer may take.
_LIMIT = 60.0


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """Its body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return what its body holds."""
        return json.loads(self.body)

    def cookies(self) -> dict[str, str]:
        """Return the cookies it sets, ``""`` for one that it deletes."""
        lines = self.headers.get_all("Set-Cookie") or []
        return {
            name: "" if found["max-age"] == "0" else found.value
            for line in lines
            for name, found in SimpleCookie(line).items()
        }


class Client:
    """A browser that talks to any port of this machine, each time on a new connection.

    Args:
        cookies: What its jar holds at first.
        limit: Time in seconds an answer may take.

    Attributes:
        cookies: What its jar holds.
    """

    def __init__(self, cookies: dict[str, str] | None = None, limit: float = _LIMIT) -> None:
        self.cookies = dict(cookies or {})
        self._limit = limit

    def send(self, port: int, path: str, body: object = None, method: str | None = None) -> Answer:
        """Send a request, a POST of JSON if there is a *body*; keep the cookies of the answer.

        Raises:
            OSError: The connection broke, or no answer came in time.
            http.client.HTTPException: What came is no answer.
        """
        headers = {"Connection": "close"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(HOST, port, timeout=self._limit)
        try:
            connection.request(method or ("GET" if data is None else "POST"), path, data, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for name, value in answer.cookies().items():
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        return answer
