"""Where the dashboard stands: behind the middleware of the host, before its hooks."""

from __future__ import annotations

import functools
from urllib.parse import urljoin

import flask
import pytest
from flask import Flask
from support.dashboard import Options, post, token_in
from support.fake_console import FakeConsole
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_msm_dashboard import mount
from flask_msm_dashboard.context import STATIC


def walled(app_class=Flask):
    """Return an application that lets no request pass its hook."""
    app = app_class("shop")
    app.secret_key = "a secret"
    app.before_request(lambda: flask.redirect("/login"))
    return app


def mounted(app, **options):
    """Put the dashboard into *app*; return its console."""
    console = FakeConsole()
    mount(app, lambda: console, Options(**options))
    return console


class Middleware:
    """Says that it was there."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        environ["middleware"] = environ.get("middleware", 0) + 1
        return self.inner(environ, start_response)


class Slotted:
    __slots__ = ("_application", "_twice")

    def __init__(self, inner):
        self._application = self._twice = inner

    def __call__(self, environ, start_response):
        environ["middleware"] = environ.get("middleware", 0) + 1
        return self._twice(environ, start_response)


class Busy:
    """Holds much besides, in circles, and methods of the application that are no place."""

    def __init__(self, app):
        self.app = app
        self.log = app.log_exception
        self.make_response = app.make_response
        self.me = self
        self.others = [Middleware(print) for _ in range(5)]
        self.next = Middleware(app.wsgi_app)

    def __call__(self, environ, start_response):
        return self.next(environ, start_response)


CHAINS = {
    "none": lambda app: app.wsgi_app,
    "one": lambda app: Middleware(app.wsgi_app),
    "three": lambda app: Middleware(Slotted(Middleware(app.wsgi_app))),
    "slots": lambda app: Slotted(app.wsgi_app),
    "busy": Busy,
    "dispatcher": lambda app: Middleware(DispatcherMiddleware(app.wsgi_app, {})),
}


@pytest.mark.parametrize("later", ["none", "three", "busy"])
@pytest.mark.parametrize("first", CHAINS)
def test_the_dashboard_stands_behind_all_middleware_and_before_all_hooks(first, later):
    seen = []
    app = walled()
    app.wsgi_app = CHAINS[first](app)
    mounted(app, admin_access=lambda request: seen.append(request.environ) or "write")
    app.wsgi_app = CHAINS[later](app) if later != "busy" else Middleware(app.wsgi_app)
    client = app.test_client()

    assert client.get("/msm-admin/").status_code == 200
    assert client.get("/").status_code == 302
    count = {"none": 0, "three": 3}
    assert seen[0].get("middleware", 0) == count.get(first, 1) + count.get(later, 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_behind_a_proxy_that_ends_https_forms_are_taken(when):
    app = walled()
    steps = [
        lambda: setattr(app, "wsgi_app", ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)),
        lambda: consoles.append(mounted(app)),
    ]
    consoles = []
    for step in steps if when == "before" else steps[::-1]:
        step()
    client = app.test_client()
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
        "X-Forwarded-Prefix": "/app",
    }
    html = client.get("/msm-admin/nodes/n1", headers=headers).text
    data = {"token": token_in(html), "node": "n1"}

    plain = post(client, "/msm-admin/act/probe", data, **headers, Origin="http://shop.example")
    secure = post(client, "/msm-admin/act/probe", data, **headers, Origin="https://shop.example")

    assert (plain.status_code, secure.status_code) == (403, 303)
    assert secure.headers["Location"].startswith("/app/msm-admin/nodes/")
    assert len(consoles[0].calls) == 1


def test_a_function_around_the_host_is_told_apart_and_named_in_the_log(caplog):
    app = walled()
    inner = app.wsgi_app

    @functools.wraps(inner)
    def around(environ, start_response):
        return inner(environ, start_response)

    app.wsgi_app = around
    mounted(app)

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert app.test_client().get("/").status_code == 302
    (record,) = caplog.records
    assert "call init_app first" in record.getMessage()
    assert "wsgi_app" in record.getMessage()


def test_middleware_that_cannot_be_changed_is_named_in_the_log(caplog):
    class Frozen(Middleware):
        def __setattr__(self, name, value):
            if name in self.__dict__:
                raise AttributeError(name)
            super().__setattr__(name, value)

    app = walled()
    app.wsgi_app = Frozen(app.wsgi_app)
    mounted(app)

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert app.test_client().get("/").status_code == 302
    assert "Frozen" in caplog.text


class Unwilling:
    """A callable that shows nothing of itself."""

    def __call__(self):
        raise AssertionError

    def __getattribute__(self, name):
        raise RuntimeError(name)


def test_an_attribute_of_middleware_may_raise_when_it_is_inspected():
    seen = []
    app = walled()
    app.wsgi_app = Middleware(app.wsgi_app)
    app.wsgi_app.unwilling = Unwilling()
    app.wsgi_app.proxy = flask.current_app
    app.wsgi_app = Middleware(app.wsgi_app)
    app.wsgi_app.unwilling, app.wsgi_app.proxy = Unwilling(), flask.current_app
    mounted(app, admin_access=lambda request: seen.append(request.environ) or "write")

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert seen[0]["middleware"] == 2


def test_a_wsgi_app_from_before_leads_to_the_dashboard_behind_the_hooks(caplog):
    app = Flask("shop")
    app.secret_key = "a secret"
    older = app.wsgi_app
    console = mounted(app)
    hooks = []
    app.before_request(lambda: hooks.append(1))
    app.wsgi_app = Middleware(older)
    client = app.test_client()

    html = client.get("/msm-admin/nodes/n1").text
    response = post(client, "/msm-admin/act/probe", {"token": token_in(html), "node": "n1"})

    assert response.status_code == 303
    assert console.calls
    assert len(hooks) == 2
    (record,) = caplog.records
    assert "Wrap the app.wsgi_app of after init_app" in record.getMessage()
    assert client.get("/msm-admin/nothing").status_code == 404


def test_a_class_with_a_wsgi_app_of_its_own_stands_behind_it():
    class Shop(Flask):
        def wsgi_app(self, environ, start_response):
            start_response("204 No Content", [])
            return []

    app = walled(Shop)
    mounted(app)
    client = app.test_client()

    assert client.get("/msm-admin/").status_code == 200
    assert client.get("/").status_code == 204


def test_only_what_is_below_the_prefix_is_the_dashboards():
    app = Flask("shop")
    app.secret_key = "a secret"
    mounted(app)
    app.add_url_rule("/<path:path>", view_func=lambda path: f"theirs: {path}", endpoint="any")
    client = app.test_client()

    assert client.get("/msm-adminx").text == "theirs: msm-adminx"
    assert client.get("/x/msm-admin/").text == "theirs: x/msm-admin/"
    assert client.get("/msm-admin/nothing").status_code == 404
    assert client.get("/msm-admin", follow_redirects=True).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/shop"])
@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/msm-admin", "/msm-admin/"),
        ("/msm-admin/history", "/msm-admin/history/"),
        ("/msm-admin/history?range=7d", "/msm-admin/history/?range=7d"),
    ],
)
def test_a_missing_slash_is_a_redirect_that_a_proxy_need_not_know_of(prefix, path, there):
    app = Flask("shop")
    app.secret_key = "a secret"
    mounted(app)

    moved = app.test_client().get(path)

    # The proxy took its prefix away, and says neither that nor its own name.
    shown = urljoin(f"https://example.org{prefix}{path}", moved.headers["Location"])
    assert moved.status_code == 308
    assert shown == f"https://example.org{prefix}{there}"
    assert app.test_client().get(there).status_code == 200


@pytest.mark.parametrize("path", ["/msm-admin//nodes/", "/msm-admin//nodes", "/msm-admin//"])
def test_a_doubled_slash_is_no_page_and_no_redirect(path):
    """The address of one would be absolute, and a proxy may hide host and prefix."""
    app = Flask("shop")
    app.secret_key = "a secret"
    mounted(app)

    response = app.test_client().get(path)

    assert (response.status_code, response.headers.get("Location")) == (404, None)


def test_files_are_sent_in_full_also_where_the_server_sends_those_of_the_host():
    app = Flask("shop", static_folder=STATIC)
    app.secret_key = "a secret"
    app.config["USE_X_SENDFILE"] = True
    mounted(app)
    client = app.test_client()

    with client.get("/static/msm.css") as theirs, client.get("/msm-admin/static/msm.css") as ours:
        assert "X-Sendfile" in theirs.headers
        assert "X-Sendfile" not in ours.headers
        assert ours.data == (STATIC / "msm.css").read_bytes()
        assert ours.mimetype == "text/css"


def test_under_a_prefix_of_the_server_behind_a_login_wall():
    app = walled()
    console = mounted(app)
    outer = Flask("outer")
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/shop": app})
    client = outer.test_client()

    html = client.get("/shop/msm-admin/nodes/n1").text
    response = post(client, "/shop/msm-admin/act/probe", {"token": token_in(html), "node": "n1"})

    assert response.headers["Location"].startswith("/shop/msm-admin/nodes/?applied=")
    assert console.calls
    assert client.get("/shop/").status_code == 302
    assert client.get("/msm-admin/").status_code == 404
