"""Every response carries the session headers Flask's own session would give it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask, Response, request, session

from flask_msm import MemcachedSessionManager, MsmSessionInterface
from flask_msm.interface import SessionCookie


def nothing():
    pass


def read():
    session.get("name")


def read_flag():
    _ = session.modified


def write():
    session["name"] = "new"


def write_same():
    session["name"] = "anna"


def mark_modified():
    session.modified = True


def unmark():
    session["name"] = "new"
    session.modified = False


def set_permanent():
    session.permanent = True


def unset_permanent():
    session.permanent = False


def clear():
    session.clear()


def pop_all():
    for name in list(session):
        session.pop(name)


def pop_missing():
    session.pop("missing", None)


def setdefault_there():
    session.setdefault("name", "other")


def update_nothing():
    session.update()


def replace_contents():
    session.clear()
    session["other"] = 1


def fail():
    session["name"] = "new"
    raise RuntimeError("the view failed")


ACTIONS = [
    nothing,
    read,
    read_flag,
    write,
    write_same,
    mark_modified,
    unmark,
    set_permanent,
    unset_permanent,
    clear,
    pop_all,
    pop_missing,
    setdefault_there,
    update_nothing,
    replace_contents,
    fail,
]

CONFIGS = [
    {},
    {
        "SESSION_COOKIE_NAME": "sid",
        "SESSION_COOKIE_DOMAIN": "example.com",
        "SESSION_COOKIE_PATH": "/shop",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": False,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_PARTITIONED": True,
    },
    {"APPLICATION_ROOT": "/app"},
]


def build(action, *, ours, config, interface=MsmSessionInterface):
    app = Flask(__name__)
    app.config.update(SECRET_KEY="test", PERMANENT_SESSION_LIFETIME=timedelta(days=3), **config)
    if ours:
        MemcachedSessionManager(app, interface=interface)

    @app.get("/shop/start/<int:permanent>")
    def start(permanent):
        if permanent:
            session.permanent = True
        session["name"] = "anna"
        return "ok"

    @app.get("/shop/act")
    def act():
        action()
        return "ok"

    return app


def answer(app, *, existing, permanent):
    """Return what a browser sees: the attributes of the cookie, and Vary."""
    client = app.test_client(use_cookies=False)
    cookie = None
    base = "https://www.example.com"
    if existing:
        started = client.get(f"/shop/start/{int(permanent)}", base_url=base)
        cookie = started.headers["Set-Cookie"].partition(";")[0]
    headers = {"Cookie": f"other=1; {cookie}"} if cookie else {}
    response = client.get("/shop/act", base_url=base, headers=headers)
    name = app.config["SESSION_COOKIE_NAME"]
    cookies = []
    for line in response.headers.getlist("Set-Cookie"):
        parts = line.split("; ")
        assert parts[0].startswith(name + "=")
        value = parts[0].partition("=")[2]
        attributes = [
            "Expires" if part.startswith("Expires") and value else part for part in parts[1:]
        ]
        cookies.append((bool(value), sorted(attributes)))
    return response.status_code, cookies, response.headers.getlist("Vary")


@pytest.mark.parametrize("config", CONFIGS, ids=["default", "all set", "application root"])
@pytest.mark.parametrize("refresh", [True, False], ids=["refresh", "no refresh"])
@pytest.mark.parametrize(
    ("existing", "permanent"),
    [(False, False), (True, False), (True, True)],
    ids=["new", "existing", "permanent"],
)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.filterwarnings("ignore:The view failed")
def test_headers_equal_those_of_flask(action, existing, permanent, refresh, config):
    config = {**config, "SESSION_REFRESH_EACH_REQUEST": refresh}
    theirs, ours = (build(action, ours=ours, config=config) for ours in (False, True))
    for app in (theirs, ours):
        app.logger.disabled = True

    expected = answer(theirs, existing=existing, permanent=permanent)

    assert answer(ours, existing=existing, permanent=permanent) == expected


def change_inside():
    session["cart"]["items"].append(1)


def test_a_change_inside_a_value_is_saved_and_sends_the_cookie():
    app = build(change_inside, ours=True, config={})

    @app.get("/shop/fill")
    def fill():
        session["cart"] = {"items": []}
        return "ok"

    @app.get("/shop/show")
    def show():
        return session["cart"]

    client = app.test_client()
    client.get("/shop/fill")

    response = client.get("/shop/act")

    assert "Set-Cookie" in response.headers
    assert response.headers["Vary"] == "Cookie"
    assert client.get("/shop/show").json == {"items": [1]}


def test_a_wrong_cookie_setting_raises_before_anything_is_written():
    app = build(write, ours=True, config={"SESSION_COOKIE_SAMESITE": "wrong"})
    app.testing = True
    stored = app.extensions["msm"].store

    with pytest.raises(ValueError, match="SameSite"):
        app.test_client().get("/shop/act")

    assert stored.shelf is None or not stored.shelf.cache.digests()


@pytest.mark.parametrize(
    ("existing", "permanent"), list(itertools.product([True, False], repeat=2))
)
def test_an_application_that_decides_about_the_cookie_itself_is_obeyed(existing, permanent):
    class Always(MsmSessionInterface):
        def should_set_cookie(self, app, session):
            return True

    app = build(read, ours=True, config={}, interface=Always)

    _, cookies, _ = answer(app, existing=existing, permanent=permanent)

    assert len(cookies) == (1 if existing else 0)


@pytest.mark.parametrize("expires", [None, 0, 1, 0.4, 31 * 86_400])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"domain": "shop.example", "path": "/cart", "secure": True},
        {"samesite": "None", "secure": True, "partitioned": True},
        {"httponly": False, "samesite": "Lax"},
    ],
)
@pytest.mark.parametrize("name", ["session", "__Host-session", "s.1"])
def test_the_cookie_is_what_werkzeug_makes_of_it_also_the_second_time(name, parameters, expires):
    usual = {"path": "/", "domain": None, "secure": False, "httponly": True}
    usual |= {"samesite": None, "partitioned": False} | parameters
    cookie = SessionCookie(name, usual, ())
    start = datetime(2026, 1, 31, 23, 59, 58, 300_000, tzinfo=UTC)
    for value, later in (("first.1.-", 0.0), ("second.2.-", 0.6), ("third.3.p", 60.0)):
        at = None if expires is None else start + timedelta(seconds=later + expires)
        wanted = Response()
        wanted.set_cookie(name, value, expires=at, **usual)

        before, behind = cookie.texts if at is None else cookie.expiring(at)

        assert [before + value + behind] == wanted.headers.getlist("Set-Cookie")


def test_a_response_that_sets_cookies_in_its_own_way_is_obeyed():
    class Marked(Response):
        def set_cookie(self, key, value="", **options):
            super().set_cookie(f"marked-{key}", value, **options)

    app = make_msm()
    app.response_class = Marked

    response = app.test_client().get("/")

    assert response.headers["Set-Cookie"].startswith("marked-session=")


def test_a_cookie_setting_that_changes_while_the_application_runs_counts_at_once():
    app = make_msm()
    client = app.test_client()
    assert "Path=/;" in client.get("/").headers["Set-Cookie"] + ";"

    app.config.update(SESSION_COOKIE_PATH="/shop", SESSION_COOKIE_NAME="cart")
    header = client.get("/").headers["Set-Cookie"]

    assert header.startswith("cart=")
    assert header.endswith("Path=/shop")


def test_a_subclass_that_names_the_cookie_by_request_is_asked_every_time():
    class Interface(MsmSessionInterface):
        def get_cookie_path(self, app):
            return f"/{request.args['tenant']}"

    app = make_msm(interface=Interface)
    client = app.test_client()

    paths = [client.get(f"/?tenant={name}").headers["Set-Cookie"][-2:] for name in "ab"]

    assert paths == ["/a", "/b"]


def make_msm(**options):
    app = Flask("shop")
    app.config.update(SECRET_KEY="secret " * 5, TESTING=True, MSM_ADMIN=False)
    MemcachedSessionManager(app, **options)

    @app.get("/")
    def change():
        session["number"] = session.get("number", 0) + 1
        return ""

    return app
