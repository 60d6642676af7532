"""Answers to requests that lead to no page: unknown paths, other methods, broken requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, TooManyRequests

from flask_msm.operations.state.texts import _


if TYPE_CHECKING:
    from .base import MsmView


_TEXTS = {
    400: "This request is broken.",
    404: "There is no such page.",
    405: "This page does not take that method.",
}


class Strays:
    """Handles requests without a view, and shows strangers no more than views do.

    Args:
        overview: Answers people.
        api: Answers programs.
    """

    def __init__(self, overview: MsmView, api: MsmView) -> None:
        self._overview = overview
        self._api = api

    def __call__(self, error: HTTPException) -> Any:
        """Return the answer to *error*."""
        if error.response is not None:
            return error.get_response()  # it has its answer already
        if error.code == 400 and error is request.routing_exception:
            # A host name that is none of ours: no page has an address there.
            return Response("Bad Request\n", 400, mimetype="text/plain")
        for_programs = request.path.startswith(f"{self._overview.context.options.admin_url}/api/")
        view = self._api if for_programs else self._overview
        try:
            operator = view.context.operator()
        except TooManyRequests as busy:
            return view.failed(busy)
        if operator is None:
            return view.inaccessible_callback("")
        status = error.code or 500
        response = view.refusal(status, _(_TEXTS.get(status, error.name)))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response
