"""What all pages share: formats, error pages, headers."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from flask import Flask, Response, render_template
from werkzeug.exceptions import HTTPException

from flask_msm import SerializationError


def decorate(app: Flask) -> None:
    """Give *app* its template filters, error pages and response headers."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.add_template_filter(money)
    app.add_template_filter(moment)
    # Asked for on each page: with a preloading server the process is forked after this.
    app.jinja_env.globals.update(worker_pid=os.getpid)
    for status in (400, 404, 405, 500):
        app.register_error_handler(status, _error_page)
    app.after_request(_headers)


def money(cents: int) -> str:
    """Write a price: 3450 is €34.50."""
    return f"€{cents // 100}.{cents % 100:02d}"


def moment(at: datetime) -> str:
    """Write a point in time, in UTC."""
    return f"{at.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"


def _error_page(error: HTTPException) -> tuple[str, int]:
    status = error.code or 500
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, SerializationError):
        # It names attribute, type and endpoint, and never a value.
        error.description = str(cause)
    return render_template("error.html", error=error), status


def _headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
