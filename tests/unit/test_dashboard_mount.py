"""The dashboard beside other parts of an application."""

from __future__ import annotations

import re

import flask
import pytest
from flask import Flask
from flask_admin import Admin, AdminIndexView, BaseView, expose
from support.dashboard import Options, make_app, post, token_in
from support.fake_console import FakeConsole
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_msm import MemcachedSessionManager
from flask_msm_dashboard import mount
from flask_msm_dashboard.pages import MsmAdmin
from flask_msm_dashboard.views import OverviewView


class Index(AdminIndexView):
    @expose("/")
    def index(self):
        return "theirs"


class OpenView(BaseView):
    @expose("/")
    def index(self):
        return "open to all"


@pytest.mark.parametrize("url", ["/admin", "/"])
@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_the_dashboard_works_beside_an_admin_of_the_application(url, first):
    app = Flask("shop")
    app.secret_key = "x"
    steps = [
        lambda: Admin(app, index_view=Index(url=url), url=url),
        lambda: mount(app, FakeConsole, Options()),
    ]
    for step in steps if first == "theirs" else steps[::-1]:
        step()
    client = app.test_client()

    assert client.get("/admin/" if url == "/admin" else "/").text == "theirs"
    assert "All sessions are safe" in client.get("/msm-admin/").text
    with client.get("/msm-admin/static/msm.css") as style:
        assert style.status_code == 200


def test_links_follow_the_prefix_of_each_request():
    app, _ = make_app()
    outer = Flask("outer")
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/v1": app, "/v2": app})
    client = outer.test_client()

    for prefix in ("/v1", "/v2", "/v1"):
        html = client.get(f"{prefix}/msm-admin/").text
        links = re.findall(r'(?:href|src)="(/[^"]+)"', html)
        assert all(link.startswith(f"{prefix}/msm-admin/") for link in links)


def test_a_change_leads_back_under_the_prefix():
    app, _ = make_app()
    outer = Flask("outer")
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/v1": app})
    client = outer.test_client()
    html = client.get("/v1/msm-admin/nodes/n1").text

    response = post(client, "/v1/msm-admin/act/probe", {"token": token_in(html), "node": "n1"})

    assert response.status_code == 303
    assert response.headers["Location"].startswith("/v1/msm-admin/nodes/?applied=")


def test_views_that_would_be_open_are_refused():
    app, _ = make_app()
    index = OverviewView(app.extensions["dashboard"].context, path="", name="Overview")
    admin = MsmAdmin(url="/msm-admin", endpoint="msm_admin", index_view=index)

    with pytest.raises(TypeError, match="MsmView"):
        admin.add_view(OpenView(endpoint="x"))


def test_a_page_that_polls_does_not_keep_a_session_alive():
    app = Flask("shop")
    app.config.update(
        SECRET_KEY="x",
        TESTING=True,
        MSM_ADMIN_ACCESS="flask_msm_dashboard:loopback_only",
    )
    MemcachedSessionManager(app)

    @app.get("/sign-in")
    def sign_in():
        flask.session.permanent = True
        flask.session["user"] = 1
        return ""

    client = app.test_client()
    client.get("/sign-in")
    for path in ("", "?live=x", "nodes/", "policy/", "act/stop", "api/v1/state", "api/v1/health"):
        response = client.get("/msm-admin/" + path)
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        assert "Cookie" not in response.vary
    assert "Set-Cookie" in client.get("/nothing-of-ours").headers, "as Flask does"


def test_a_fault_of_ours_is_not_run_twice():
    """The base class calls a view again when it raises TypeError."""
    app, console = make_app()
    calls = []

    def broken():
        calls.append(1)
        raise TypeError

    console.view = broken
    app.test_client().get("/msm-admin/")

    assert len(calls) == 1
