"""A subclass of the session interface: Flask's hooks decide about the cookie, as with Flask."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface
from support.apps import LIFE, FakeManager, make_app
from support.clock import FakeClock

from flask_msm import ConfigError, MsmSessionInterface, regenerate


UNTIL = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


def shop_with(interface, **config):
    clock = FakeClock()
    return make_app(clock=clock, manager=FakeManager(clock=clock, interface=interface), **config)


def write(**values):
    return lambda: session.update(values)


class Hooks(MsmSessionInterface):
    """Sets each part of the cookie, by the request."""

    def get_cookie_name(self, app):
        return "tenant" if request.host == "tenant.example" else super().get_cookie_name(app)

    def get_cookie_domain(self, app):
        return "example"

    def get_cookie_path(self, app):
        return "/inside"

    def get_cookie_httponly(self, app):
        return False

    def get_cookie_secure(self, app):
        return True

    def get_cookie_samesite(self, app):
        return "Strict"

    def get_cookie_partitioned(self, app):
        return True

    def get_expiration_time(self, app, session):
        return UNTIL


def parts(line):
    """Return name and attributes of a Set-Cookie."""
    value, *attributes = line.split("; ")
    found = dict(one.partition("=")[::2] for one in attributes)
    return value.partition("=")[0], found


def ask(shop, action, cookie=None, host="shop.example", name="session"):
    headers = {"Host": host, **({"Cookie": f"{name}={cookie}"} if cookie else {})}
    return shop.do(action, client=shop.app.test_client(use_cookies=False), headers=headers)


def value_of(response):
    (line,) = response.headers.getlist("Set-Cookie")
    return line.partition(";")[0].partition("=")[2]


COOKIE = {
    "Domain": "example",
    "Path": "/inside",
    "Secure": "",
    "SameSite": "Strict",
    "Partitioned": "",
}


@pytest.mark.parametrize(
    "action",
    [write(name="eve"), lambda: session["cart"].append(1), regenerate],
    ids=["changed", "changed inside", "new id"],
)
def test_each_part_of_the_cookie_is_what_the_subclass_says(action):
    shop = shop_with(Hooks)
    cookie = value_of(ask(shop, write(cart=[])))

    (line,) = ask(shop, action, cookie).headers.getlist("Set-Cookie")

    expires = {"Expires": "Sun, 04 May 2031 03:02:01 GMT"}
    assert parts(line) == ("session", COOKIE | expires)


def test_the_cookie_is_deleted_where_the_subclass_says():
    shop = shop_with(Hooks)
    cookie = value_of(ask(shop, write(cart=[])))

    (line,) = ask(shop, lambda: session.clear(), cookie).headers.getlist("Set-Cookie")

    name, found = parts(line)
    assert name == "session"
    assert found.items() >= COOKIE.items()
    assert found["Max-Age"] == "0"


def test_the_name_of_the_cookie_may_depend_on_the_request():
    shop = shop_with(Hooks)
    seen = []

    response = ask(shop, write(name="anna"), host="tenant.example")
    (line,) = response.headers.getlist("Set-Cookie")
    look = lambda: seen.append(dict(session))  # noqa: E731
    ask(shop, look, value_of(response), host="tenant.example", name="tenant")
    ask(shop, look, value_of(response), host="tenant.example")

    assert parts(line)[0] == "tenant"
    assert seen == [{"name": "anna"}, {}]


class Never(MsmSessionInterface):
    """Sets a cookie only where the application asks for it."""

    def should_set_cookie(self, app, session):
        return "cookie" in request.args and super().should_set_cookie(app, session)


@pytest.mark.parametrize(
    "action",
    [write(name="eve"), lambda: session["cart"].append(1), regenerate],
    ids=["changed", "changed inside", "new id"],
)
def test_no_cookie_is_set_when_the_subclass_says_no_but_the_change_is_stored(action):
    shop = shop_with(Never)
    client = shop.app.test_client()
    shop.do(write(name="anna", cart=[]), "/?cookie", client=client)
    keys = shop.all_keys()

    response = shop.do(action, client=client)

    assert "Set-Cookie" not in response.headers
    changed = shop.ask(lambda: dict(session), client=client) != {"name": "anna", "cart": []}
    assert changed or shop.all_keys() != keys


def test_no_refresh_is_sent_when_the_subclass_says_no_and_each_is_when_it_asks_ours():
    shop = shop_with(Never)
    client = shop.app.test_client()
    shop.do(write(name="anna"), "/?cookie", client=client)
    shop.clock.advance(LIFE / 2)

    assert "Set-Cookie" not in shop.do(lambda: dict(session), client=client).headers
    for _ in range(5):
        response = shop.do(lambda: dict(session), "/?cookie", client=client)
        assert "Set-Cookie" in response.headers
        shop.clock.advance(LIFE / 2)


def test_a_subclass_may_extend_opening_and_saving():
    calls = []

    class Own(MsmSessionInterface):
        def __init__(self, repository, **options):
            super().__init__(repository, **options)
            calls.append("made")

        def open_session(self, app, request):
            calls.append("open")
            return super().open_session(app, request)

        def save_session(self, app, session, response):
            calls.append("save")
            super().save_session(app, session, response)

    shop = shop_with(Own)
    shop.do(write(name="anna"))

    assert calls == ["made", "open", "save"]
    assert shop.ask(lambda: dict(session)) == {"name": "anna"}


@pytest.mark.parametrize(
    ("interface", "text"),
    [
        (SecureCookieSessionInterface, "the class SecureCookieSessionInterface"),
        (SecureCookieSessionInterface(), "an object of SecureCookieSessionInterface"),
        (Flask("own").session_interface, "an object of SecureCookieSessionInterface"),
        (None, "an object of NoneType"),
        ("Hooks", "an object of str"),
    ],
    ids=["foreign class", "foreign object", "of an application", "None", "text"],
)
def test_an_interface_that_is_no_subclass_is_refused(interface, text):
    with pytest.raises(ConfigError, match=f"{text}.*subclass of flask_msm.MsmSessionInterface"):
        FakeManager(interface=interface)


def test_an_object_of_the_right_class_is_refused():
    interface = shop_with(Hooks).state.interface

    with pytest.raises(ConfigError, match="an object of Hooks"):
        FakeManager(interface=interface)
