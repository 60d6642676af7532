"""Keeps other sites out: where a change comes from, its token, and the headers of each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, URLSafeTimedSerializer

from flask_msm.settings.secret_keys import secrets_of


if TYPE_CHECKING:
    from flask import Flask, Request, Response


#: Time in seconds a form may lie open.
TOKEN_LIFE = 1800
_SALT = "flask-msm-admin"

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}


def harden(response: Response) -> Response:
    """Set the headers that make an answer safe to show."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def is_same_origin(request: Request, trusted: Sequence[str]) -> bool:
    """Return whether a page of the dashboard itself, or of a *trusted* origin, sent *request*.

    Browsers say so in headers that no page can set. Something that sends neither is no browser
    that could be trusted to keep sites apart, and is refused.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if origin is not None:
        if origin in trusted:
            return True
        if origin != f"{request.scheme}://{request.host}":
            return False
    return site == "same-origin" if site is not None else origin is not None


class Tokens:
    """Signs what a form is for and who it was made for.

    The key is the application's, so any worker can check it; nothing is kept anywhere.
    """

    def make(self, app: Flask, operator: str, action: str) -> str:
        """Return the token of a form; empty without a secret key, and then nothing is taken."""
        serializer = self._serializer(app)
        return serializer.dumps([operator, action]) if serializer else ""

    def is_right(self, app: Flask, token: str, operator: str, action: str) -> bool:
        """Return whether *token* was made for this, not too long ago."""
        serializer = self._serializer(app)
        if serializer is None:
            return False
        try:
            found = serializer.loads(token, max_age=TOKEN_LIFE)
        except BadSignature:
            return False
        return bool(found == [operator, action])

    def _serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        secrets = secrets_of(app)
        if secrets is None:
            return None
        # The last one signs, all of them are taken.
        keys = [key.encode() if isinstance(key, str) else key for key in reversed(secrets)]
        return URLSafeTimedSerializer(keys, salt=_SALT)
