"""No hook of the host reaches the dashboard; its access callable is asked in a context of it."""

from __future__ import annotations

import functools
import logging

import flask
import flask_login
import pytest
from flask import Flask, current_app, g, request, request_started, session
from flask.sessions import SecureCookieSessionInterface, SessionInterface
from flask_admin import Admin, AdminIndexView, expose
from flask_admin.menu import MenuLink
from flask_babel import Babel
from support.clock import FakeClock
from support.dashboard import Options, client_of, make_app, post, token_in, token_of
from support.fake_console import FakeConsole
from werkzeug.exceptions import TooManyRequests

from flask_msm import MemcachedSessionManager
from flask_msm_dashboard import Access, basic_auth, loopback_only, mount
from flask_msm_dashboard.security import HEADERS
from flask_msm_dashboard.sign_in import BasicAuth


def fail(*_args, **_more):
    raise RuntimeError("a hook of the host")


def has_our_headers(response):
    return dict(response.headers).items() >= HEADERS.items()


def own_check():
    if request.method == "POST" and "csrf" not in request.form:
        flask.abort(400)


def rewritten(response):
    response.headers["Content-Security-Policy"] = "default-src *"
    response.set_cookie("seen", "1")
    return response


class BrokenInterface(SessionInterface):
    open_session = save_session = fail


#: What a host may do to all of its requests, by name.
HOOKS = {
    "a login wall": lambda app: app.before_request(lambda: flask.redirect("/login")),
    "an own CSRF check": lambda app: app.before_request(own_check),
    "maintenance": lambda app: app.before_request(lambda: ("later", 503)),
    "a tenant that is not known": lambda app: app.before_request(lambda: flask.abort(404)),
    "a hook that fails": lambda app: app.before_request(fail),
    "other headers": lambda app: app.after_request(rewritten),
    "an after_request that fails": lambda app: app.after_request(fail),
    "a teardown of the request that fails": lambda app: app.teardown_request(fail),
    "a teardown of the context that fails": lambda app: app.teardown_appcontext(fail),
    "values of the address": lambda app: app.url_value_preprocessor(fail),
    "defaults of addresses": lambda app: app.url_defaults(
        lambda _, values: values.update(lang="de")
    ),
    "a context processor": lambda app: app.context_processor(fail),
    "a handler of errors": lambda app: app.register_error_handler(Exception, fail),
    "sessions that cannot be opened": lambda app: setattr(
        app, "session_interface", BrokenInterface()
    ),
    "a nonce": lambda app: app.jinja_env.globals.update(csp_nonce=fail),
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_hook_of_the_host_reaches_the_dashboard(name, when):
    app = Flask("shop")
    app.secret_key = "a secret"
    console = FakeConsole()
    steps = [lambda: HOOKS[name](app), lambda: mount(app, lambda: console, Options())]
    for step in steps if when == "before" else steps[::-1]:
        step()
    client = app.test_client()

    page = client.get("/msm-admin/nodes/n1")
    data = {"token": token_in(page.text), "node": "n1"}
    changed = post(client, "/msm-admin/act/probe", data)
    answers = [client.get(f"/msm-admin/api/v1/{path}") for path in ("health", "metrics", "state")]

    assert [answer.status_code for answer in (page, *answers)] == [200] * 4
    assert changed.status_code == 303
    assert console.calls
    for answer in (page, changed, *answers):
        assert has_our_headers(answer)
        assert "Set-Cookie" not in answer.headers
    assert "lang=de" not in page.text
    assert "lang=de" not in changed.headers["Location"]


def test_a_hook_that_shut_it_shuts_it_no_more_but_the_callable_can_ask_the_hooks():
    def after_the_hooks(request):
        return None if current_app.preprocess_request() is not None else "write"

    app, console = make_app(admin_access=after_the_hooks)
    app.before_request(lambda: None if "staff" in request.headers else flask.redirect("/login"))
    client = app.test_client()

    assert client.get("/msm-admin/").status_code == 403
    assert console.views == 0
    assert client.get("/msm-admin/", headers={"staff": "yes"}).status_code == 200


# -- the callable ----------------------------------------------------------------------------------


def test_the_callable_is_asked_in_a_request_context_of_the_host():
    seen = {}

    def ask(given):
        seen.update(
            app=current_app._get_current_object(),
            same=given is request._get_current_object(),
            kind=type(given),
            endpoint=given.endpoint,
            view_args=given.view_args,
            user=session["user"],
            body=given.get_data(),
            form=dict(given.form),
        )
        g.database = "open"
        return "write"

    class OwnRequest(flask.Request):
        pass

    app, console = make_app(session=False, admin_access=ask)
    app.request_class = OwnRequest
    given_back = []
    app.teardown_appcontext(lambda _: given_back.append(g.pop("database", None)))
    client = app.test_client()
    with client.session_transaction() as stored:
        stored["user"] = "anna"

    given_back.clear()
    response = post(
        client, "/msm-admin/act/probe", {"token": token_of(client, "probe", ""), "node": "n1"}
    )

    assert response.status_code == 303
    assert console.calls, "the form was left for the dashboard"
    assert seen == {
        "app": app,
        "same": True,
        "kind": OwnRequest,
        "endpoint": "msm_admin_act.carry_out",
        "view_args": {"action_name": "probe"},
        "user": "anna",
        "body": b"",
        "form": {},
    }
    assert given_back == ["open"]
    assert not flask.has_app_context()


def test_current_user_of_flask_login_works_in_the_callable_behind_a_login_wall():
    people = {"ann": "write", "bob": None}

    def ask(_request):
        user = flask_login.current_user
        level = people.get(user.get_id()) if user.is_authenticated else None
        return Access(level, user.get_id()) if level else None

    app, _ = make_app(session=False, admin_access=ask)
    manager = flask_login.LoginManager(app)

    @manager.user_loader
    def load(name):
        user = flask_login.UserMixin()
        user.id = name
        return user

    @app.get("/login/<name>")
    def sign_in(name):
        flask_login.login_user(load(name))
        return "in"

    @app.before_request
    def wall():
        if request.endpoint != "sign_in" and not flask_login.current_user.is_authenticated:
            return manager.unauthorized()
        return None

    answers = []
    for name in (None, "bob", "ann"):
        client = app.test_client()
        if name:
            client.get(f"/login/{name}")
        answers.append(client.get("/msm-admin/"))

    assert [answer.status_code for answer in answers] == [403, 403, 200]
    assert "Signed in as ann" in answers[-1].text


def test_session_changes_of_the_access_callable_are_not_stored():
    def ask(_request):
        session["seen"] = session.get("seen", 0) + 1
        session.permanent = True
        seen.append(session["seen"])
        return "read"

    seen = []
    app = Flask("shop")
    app.config.update(SECRET_KEY="x", TESTING=True, MSM_ADMIN_ACCESS=ask)
    MemcachedSessionManager(app)
    app.add_url_rule("/in", view_func=lambda: session.update(user="bob") or "in")
    client = app.test_client()
    client.get("/in")

    for path in ("", "?live=x", "api/v1/state"):
        response = client.get("/msm-admin/" + path)
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        assert "Cookie" not in response.vary

    assert seen == [1, 1, 1]


def test_reading_the_session_in_the_callable_is_no_use_of_it():
    clock = FakeClock()
    app = Flask("shop")
    app.config.update(
        SECRET_KEY="x",
        TESTING=True,
        MSM_IDLE_TIMEOUT=100,
        MSM_ADMIN_ACCESS=lambda _: "read" if session.get("user") else None,
    )
    MemcachedSessionManager(app, clock=clock)
    app.add_url_rule("/in", view_func=lambda: session.update(user="bob") or "in")
    client = app.test_client()
    client.get("/in")

    answers = []
    for _ in range(3):
        clock.advance(40)
        answers.append(client.get("/msm-admin/").status_code)

    assert answers == [200, 200, 403]


def test_a_session_that_cannot_be_opened_leaves_the_callable_one_that_is_empty(caplog):
    asked = []
    app, _ = make_app(
        session=False, admin_access=lambda _: asked.append(session.get("user")) or "write"
    )
    app.session_interface = BrokenInterface()

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert asked == [None]
    assert "the session cannot be opened" in caplog.text
    assert not flask.has_app_context()


def test_a_teardown_function_that_fails_after_the_callable_is_logged_and_refuses_nothing(caplog):
    app, _ = make_app(session=False)
    app.teardown_request(fail)

    assert app.test_client().get("/msm-admin/").status_code == 200
    assert "a teardown function failed" in caplog.text
    assert not flask.has_app_context()


def test_the_log_says_that_hooks_do_not_run_when_the_callable_needs_one(caplog):
    app, _ = make_app(session=False, admin_access=lambda _: g.user and "write")

    @app.before_request
    def load():
        g.user = "ann"

    assert app.test_client().get("/msm-admin/").status_code == 403
    assert "Hooks of the application do not run for the dashboard" in caplog.text


@pytest.mark.parametrize("ask", [basic_auth({"ops": "x"}), loopback_only])
def test_no_session_is_opened_for_what_looks_at_the_request_alone(ask):
    opened = []

    class Counting(SecureCookieSessionInterface):
        def open_session(self, app, request):
            opened.append(request.path)
            return super().open_session(app, request)

    app, _ = make_app(session=False, admin_access=ask)
    app.session_interface = Counting()

    app.test_client().get("/msm-admin/")

    assert opened == []


def test_a_subclass_or_wrapper_of_a_built_in_callable_is_asked_in_the_host_as_well():
    apps = []

    class Own(BasicAuth):
        def __call__(self, request):
            apps.append(current_app.name)
            return "write"

    @functools.wraps(loopback_only)
    def wrapped(request):
        apps.append(current_app.name)
        return loopback_only(request)

    for ask in (Own({"ops": "x"}), wrapped):
        client, _ = client_of(admin_access=ask)
        assert client.get("/msm-admin/").status_code == 200

    assert apps == ["shop", "shop"]


# -- the host, live --------------------------------------------------------------------------------


def test_secrets_are_read_from_the_host_when_they_are_used():
    app, console = make_app()
    client = app.test_client()
    app.config.update(SECRET_KEY="set later", SECRET_KEY_FALLBACKS=["a secret"])
    html = client.get("/msm-admin/nodes/n1").text

    app.config.update(SECRET_KEY="a secret", SECRET_KEY_FALLBACKS=[])
    old = post(client, "/msm-admin/act/probe", {"token": token_in(html), "node": "n1"})
    app.config["SECRET_KEY"] = "set later"
    new = post(client, "/msm-admin/act/probe", {"token": token_in(html), "node": "n1"})

    assert (old.status_code, new.status_code) == (403, 303)
    assert len(console.calls) == 1


def test_a_host_name_that_is_not_trusted_is_refused_without_asking():
    asked = []
    app, console = make_app(admin_access=lambda _: asked.append(1) or "write")
    app.config["TRUSTED_HOSTS"] = ["shop.example"]
    client = app.test_client()

    wrong = client.get("/msm-admin/", headers={"Host": "evil.example"})
    right = client.get("/msm-admin/", headers={"Host": "shop.example"})

    assert (wrong.status_code, wrong.mimetype) == (400, "text/plain")
    assert right.status_code == 200
    assert (len(asked), console.views) == (1, 1)


@pytest.mark.parametrize("when", ["in production", "while testing"])
def test_a_receiver_of_a_signal_that_fails_is_a_500_and_leaves_no_context(when, caplog):
    app, _ = make_app()
    app.testing = when == "while testing"
    client = app.test_client()

    with request_started.connected_to(fail):
        if app.testing:
            with pytest.raises(RuntimeError):
                client.get("/msm-admin/")
        else:
            response = client.get("/msm-admin/")
            assert response.status_code == 500
            assert "a hook of the host" not in response.text
            assert has_our_headers(response)

    assert not flask.has_app_context()
    assert client.get("/msm-admin/").status_code == 200


def test_a_failure_outside_of_all_pages_is_logged_and_shown_without_its_text(caplog):
    app, _ = make_app()

    with flask.appcontext_pushed.connected_to(fail):
        response = app.test_client().get("/msm-admin/")

    assert (response.status_code, response.text) == (500, "Internal Server Error\n")
    assert has_our_headers(response)
    assert "the dashboard failed on /msm-admin/" in caplog.text


def test_failures_are_in_the_log_of_the_host(caplog):
    app, console = make_app()
    console.view = fail

    assert app.test_client().get("/msm-admin/").status_code == 500
    assert [(r.name, r.levelno) for r in caplog.records] == [("shop", logging.ERROR)]


# -- what leads to no page -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "nothing/here"),
        ("GET", "api/v1/nothing"),
        ("POST", ""),
        ("OPTIONS", ""),
        ("OPTIONS", "act/stop"),
        ("PATCH", "act/stop"),
    ],
)
def test_strangers_learn_nothing_from_what_leads_to_no_page(method, path):
    closed, _ = client_of(admin_access=None)
    guarded, _ = client_of(admin_access=basic_auth({"ops": "x"}))

    for client, status in ((closed, 403), (guarded, 401)):
        response = client.open("/msm-admin/" + path, method=method)
        assert response.status_code == status
        assert has_our_headers(response)
        assert "Allow" not in response.headers


def test_a_path_without_a_page_is_answered_with_the_reason():
    client, _ = client_of()

    missing = client.get("/msm-admin/nothing/here")
    data = client.get("/msm-admin/api/v1/nothing")
    method = client.open("/msm-admin/policy/", method="OPTIONS")

    assert (missing.status_code, missing.mimetype) == (404, "text/html")
    assert "There is no such page." in missing.text
    assert (data.status_code, data.json["error"]["code"]) == (404, "missing")
    assert (method.status_code, method.headers["Allow"]) == (405, "GET, HEAD")
    for response in (missing, data, method):
        assert has_our_headers(response)


def test_a_busy_callable_is_answered_as_such_where_there_is_no_page_as_well():
    def ask(_request):
        raise TooManyRequests(retry_after=1)

    client, _ = client_of(admin_access=ask)

    response = client.get("/msm-admin/nothing/here")

    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")


# -- ways to it ------------------------------------------------------------------------------------


def test_the_host_can_link_to_its_pages():
    app, _ = make_app(session=False)
    # Where Flask-Babel is installed, pages of Flask-Admin itself need it; those here do not.
    Babel(app)

    class Index(AdminIndexView):
        @expose("/")
        def index(self):
            return self.render("admin/index.html")

    admin = Admin(app, index_view=Index())
    admin.add_link(MenuLink(name="Sessions", endpoint="msm_admin.index"))
    with app.test_request_context("/"):
        assert flask.url_for("msm_admin.index") == "/msm-admin/"

    assert 'href="/msm-admin/"' in app.test_client().get("/admin/").text


def test_a_page_of_the_host_below_the_dashboard_is_named_in_the_log(caplog):
    app, _ = make_app()
    app.add_url_rule("/msm-admin/extra", view_func=lambda: "theirs", endpoint="extra")
    app.add_url_rule("/msm-administration", view_func=lambda: "theirs", endpoint="other")
    client = app.test_client()

    for _ in range(2):
        assert client.get("/msm-admin/extra").status_code == 404
    assert client.get("/msm-administration").text == "theirs"

    assert [r.getMessage() for r in caplog.records] == [
        "/msm-admin/extra is below the dashboard and never reached"
    ]
