"""An application with the dashboard over a fake console, and a client that signs in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flask import Flask
from flask.sessions import SessionInterface, SessionMixin
from support.fake_console import FakeConsole

from flask_msm_dashboard import Access, mount


ORIGIN = "http://localhost"

#: Every page that shows something, below the dashboard.
PAGES = [
    "",
    "history/",
    "nodes/",
    "nodes/n1",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
]


@dataclass
class Options:
    """Settings as the dashboard sees them."""

    admin_url: str = "/msm-admin"
    admin_access: object = field(default=lambda request: Access("write", "anna.k"))
    admin_trusted_origins: tuple[str, ...] = ()
    admin_health_public: bool = False
    admin_hide_addresses: bool = False
    admin_hide_errors: bool = False
    timeout: float = 0.25


class BrokenSession(dict, SessionMixin):
    """Raises as soon as it is read."""

    def _fail(self, *_args, **_more):
        raise AssertionError("the session was touched")

    __getitem__ = __setitem__ = __contains__ = __iter__ = __len__ = _fail
    get = pop = setdefault = items = keys = values = update = _fail

    modified = False
    accessed = False


class BrokenSessions(SessionInterface):
    """Gives out sessions that must not be touched."""

    def open_session(self, app, request):
        return BrokenSession()

    def save_session(self, app, session, response):
        pass


def make_app(console=None, *, session=True, url_prefix_first=False, **options):
    """Return an application and its console."""
    app = Flask("shop")
    app.secret_key = "a secret"
    if session:
        app.session_interface = BrokenSessions()
    console = console or FakeConsole()
    app.extensions["dashboard"] = mount(app, lambda: console, Options(**options))
    return app, console


def client_of(console=None, **options):
    app, console = make_app(console, **options)
    return app.test_client(), console


def token_in(html):
    """Return the token of the last form on a page."""
    return re.findall(r'name="token" value="([^"]+)"', html)[-1]


def fields_in(html):
    """Return the hidden fields of the form on a review page."""
    form = html[html.index('<form class="card narrow review"') :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def post(client, path, data, **headers):
    """Send a form as a browser does from a page of the dashboard."""
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", **headers}
    return client.post(path, data=data, headers={k: v for k, v in headers.items() if v is not None})


def token_of(client, action, operator="anna.k"):
    """Return the token of a form of *operator*."""
    app = client.application
    return app.extensions["dashboard"].context.tokens.make(app, operator, action)


def review(client, path):
    """Return the hidden fields of a review."""
    return fields_in(client.get("/msm-admin/act/" + path).text)
