"""A token in every form, kept in the session: a POST without it is refused."""

from __future__ import annotations

import hmac
import secrets

from flask import Flask, abort, request, session


FIELD = "csrf"


def protect(app: Flask) -> None:
    """Check every POST of *app* and give templates ``csrf_token()``."""
    app.before_request(_check)
    app.jinja_env.globals.update(csrf_token=token)


def token() -> str:
    """Return the token of this session; the first form that is shown makes it."""
    if FIELD not in session:
        session[FIELD] = secrets.token_urlsafe(16)
    kept: str = session[FIELD]
    return kept


def _check() -> None:
    if request.method != "POST":
        return
    kept = session.get(FIELD, "")
    given = request.form.get(FIELD, "")
    if not kept or not hmac.compare_digest(kept.encode(), given.encode()):
        abort(400, "This form is out of date. Go back, reload the page and try again.")
