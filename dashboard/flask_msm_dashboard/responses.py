"""Answers that are not pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from flask import Response, request
from flask_admin import expose
from werkzeug.routing import RequestRedirect


V = TypeVar("V", bound=Callable[..., Any])


def json_response(content: Any, status: int = 200) -> Response:
    """Return *content* as compact JSON."""
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, mimetype="application/json")


def see_other(url: str) -> Response:
    """Return a redirect to a page that shows what has become of a change."""
    response = Response("", 303)
    response.headers["Location"] = url
    # As it is: a path of ours, also behind a proxy that hides host and scheme.
    response.autocorrect_location_header = False
    return response


def stay_here(response: Response) -> Response:
    """Make the redirect to an address with a slash relative: a proxy may hide host and prefix."""
    moved = request.routing_exception
    if isinstance(moved, RequestRedirect):
        to = urlsplit(moved.new_url)
        if to.path == urlsplit(request.base_url).path + "/":
            last = to.path.split("/")[-2]
            response.headers["Location"] = urlunsplit(("", "", f"./{last}/", to.query, ""))
            response.autocorrect_location_header = False
    return response


def exposed(url: str = "/", methods: tuple[str, ...] = ("GET",)) -> Callable[[V], V]:
    """Mark a method of a view as a page at *url*; Flask-Admin's ``expose`` with types."""
    mark: Callable[[V], V] = expose(url, methods)
    return mark
