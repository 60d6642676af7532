from __future__ import annotations

import logging
import threading

import pytest
from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface
from support.apps import FakeManager, make_app, set_cookie
from support.clock import FakeClock

from flask_msm import (
    ConfigError,
    MemcachedSessionManager,
    destroy,
    read_only,
    regenerate,
    session_created,
)
from flask_msm.record.record import Kind
from flask_msm.settings.secret_keys import _log_ignored, secrets_of


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


# -- several applications ------------------------------------------------------------------------


def test_one_manager_serves_several_applications():
    clock = FakeClock()
    manager = FakeManager(clock=clock)
    shops = [
        make_app(name=name, manager=manager, clock=clock, SECRET_KEY=name) for name in ("a", "b")
    ]
    for shop in shops:
        shop.do(write(name=shop.app.name))

    assert [shop.ask(contents) for shop in shops] == [{"name": "a"}, {"name": "b"}]
    prefixes = [next(iter(shop.all_keys()))[:6] for shop in shops]
    assert prefixes == ["msm:a:", "msm:b:"]


def test_a_cookie_of_another_application_is_no_cookie():
    first, second = make_app(SECRET_KEY="one"), make_app(SECRET_KEY="two")
    first.do(write(name="anna"))

    browser = second.browser(first.cookie())

    assert second.ask(contents, client=browser) == {}
    assert second.operations() == []


def test_setting_an_application_up_twice_is_refused():
    shop = make_app()

    with pytest.raises(ConfigError, match="once"):
        shop.manager.init_app(shop.app)
    with pytest.raises(ConfigError, match="once"):
        MemcachedSessionManager(shop.app)


def test_an_application_that_could_not_be_set_up_is_as_before_and_can_be_tried_again():
    app = Flask("shop")
    app.config.update(SECRET_KEY="test", MSM_ADMIN_ACCESS="no.such:thing")
    flasks = app.session_interface

    with pytest.raises(ConfigError, match="MSM_ADMIN_ACCESS"):
        MemcachedSessionManager(app)

    assert app.session_interface is flasks
    app.config["MSM_ADMIN_ACCESS"] = None
    MemcachedSessionManager(app)


def test_an_application_that_has_answered_requests_keeps_its_sessions_when_it_is_too_late():
    app = Flask("shop")
    app.secret_key = "test"
    app.test_client().get("/")
    flasks = app.session_interface

    for admin in (True, False):
        app.config["MSM_ADMIN"] = admin
        with pytest.raises(AssertionError, match="setup method"):
            MemcachedSessionManager(app)

    assert app.session_interface is flasks


def test_asking_for_an_application_that_was_not_set_up_is_refused():
    with pytest.raises(ConfigError, match="set up"):
        MemcachedSessionManager().state(Flask("other"))


def test_setting_up_opens_no_connection_and_starts_no_thread():
    before = threading.active_count()

    shop = make_app(MSM_BACKUP_ASYNC=True)

    assert threading.active_count() == before
    assert shop.operations() == []


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("MSM_REPLICAS", 0, "MSM_REPLICAS"),
        ("MSM_REPLICAS", "many", "MSM_REPLICAS"),
        ("MSM_NODES", "n1:host:port:more:x", "MSM_NODES"),
        ("MSM_TIMEOUT", float("nan"), "MSM_TIMEOUT"),
        ("MSM_ON_UNKNOWN", "ignore", "MSM_ON_UNKNOWN"),
        ("MSM_IGNORE_PATTERN", "(", "MSM_IGNORE_PATTERN"),
        ("MSM_BACKUP_ASYNC", "maybe", "MSM_BACKUP_ASYNC"),
        ("MSM_REPLICA", 2, "MSM_REPLICAS"),
    ],
)
def test_a_wrong_setting_is_named_when_the_application_is_set_up(key, value, named):
    app = Flask("shop")
    app.config[key] = value

    with pytest.raises(ConfigError, match=named):
        MemcachedSessionManager(app)

    assert "msm" not in app.extensions
    assert type(app.session_interface) is SecureCookieSessionInterface


def test_switched_off_it_leaves_flasks_own_session_alone():
    shop = make_app(MSM_ENABLED=False)

    shop.do(write(name="anna"))
    shop.do(regenerate)

    assert type(shop.app.session_interface) is SecureCookieSessionInterface
    assert shop.ask(contents) == {"name": "anna"}
    shop.do(destroy)
    assert shop.ask(contents) == {}
    assert shop.cookie() is None


# -- local storage -------------------------------------------------------------------------------


def test_sessions_work_without_nodes_and_that_is_logged_once(caplog):
    caplog.set_level(logging.WARNING, "flask_msm")
    shop = make_app(nodes=0)

    for number in range(3):
        shop.do(lambda n=number: session.update(number=n))

    assert shop.ask(contents) == {"number": 2}
    assert shop.state.mode == "local"
    assert ["MSM_NODES" in record.message for record in caplog.records] == [True]


def test_without_nodes_sessions_end_and_move_as_with_them():
    shop = make_app(nodes=0)
    shop.do(write(name="anna"))
    old = shop.cookie()
    shop.do(regenerate)
    slow = shop.under_way()
    slow.session["slow"] = 1
    moved = shop.ask(contents), shop.ask(contents, client=shop.browser(old))
    last = shop.cookie()
    shop.do(destroy)
    slow.end()

    assert moved == ({"name": "anna"}, {"name": "anna"})
    assert shop.cookie() is None
    assert shop.ask(contents, client=shop.browser(last)) == {}


# -- where a session lives -----------------------------------------------------------------------


def test_a_session_can_be_described():
    shop = make_app()
    shop.do(write(name="anna", cart=[]))

    info = shop.ask(lambda: shop.manager.describe(session))

    token = shop.token()
    assert info.ref == shop.key()[-40:][:10]
    assert info.mode == "distributed"
    assert info.version == str(token.version)
    assert info.home_nodes == shop.homes()
    assert set(info.holders) == set(info.home_nodes)
    assert info.attributes == ("name", "cart")
    assert info.size == len(next(iter(shop.nodes[info.holders[0]].items.values()))[0])
    assert info.created.timestamp() == shop.clock.now
    assert info.expires_at > info.renewed
    assert token.sid not in repr(info)


def test_a_session_that_cannot_be_read_can_be_described():
    shop = make_app()
    shop.do(write(name="anna"))
    shop.outage()

    info = shop.ask(lambda: shop.manager.describe(session))

    assert info.holders == ()


# -- copies behind the response ------------------------------------------------------------------


@pytest.fixture
def behind():
    shop = make_app(MSM_BACKUP_ASYNC=True)
    yield shop
    shop.state.close()


def flush(shop):
    assert shop.background.flush(60)


def test_the_second_copy_is_written_behind_the_response(behind):
    behind.do(write(name="anna"))
    flush(behind)
    behind.do(write(name="eve"))
    flush(behind)

    first, second = behind.records().values()
    assert first == second


def test_a_response_does_not_wait_for_the_second_copy(behind):
    may_go_on = threading.Event()
    behind.background.put(lambda _: may_go_on.wait(600))

    response = behind.do(write(name="anna"))
    copies = len(behind.records())
    may_go_on.set()
    flush(behind)

    assert set_cookie(response)
    assert (copies, len(behind.records())) == (1, 2)


def test_a_logout_waits_for_all_copies(behind):
    behind.do(write(name="anna"))
    flush(behind)
    cookie = behind.cookie()
    may_go_on = threading.Event()
    behind.background.put(lambda _: may_go_on.wait(600))
    behind.do(write(name="eve"))

    behind.do(destroy)
    kinds = [record.kind for record in behind.records(cookie).values()]
    may_go_on.set()
    flush(behind)

    assert kinds == [Kind.DESTROYED] * 2
    assert [record.kind for record in behind.records(cookie).values()] == kinds


def test_a_receiver_that_raises_leaves_no_second_session_behind():
    shop = make_app(testing=False)
    shop.app.logger.disabled = True

    def refuse(sender, **_):
        raise RuntimeError("the receiver failed")

    with session_created.connected_to(refuse):
        response = shop.do(lambda: session.update(name="anna"))

    assert response.status_code == 500
    assert len(shop.live_keys()) == 1


def add_read_only_view(app):
    @app.get("/looked-at")
    @read_only
    def looked_at():
        if "change" in request.args:
            session["name"] = "eve"
        return session.get("name", "guest")


# -- what cannot work is refused at the start ----------------------------------------------------


class PlainCodec:
    """A codec that has all it needs."""

    id = 9

    def dumps(self, value):
        return str(value).encode()

    def loads(self, data):
        return data.decode()


class NoDumps:
    id = 9

    def loads(self, data):
        return data


class LargeId(PlainCodec):
    id = 300


class Falsy(NoDumps):
    def __bool__(self):
        return False


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (PlainCodec, "the class PlainCodec"),
        (NoDumps(), "NoDumps without dumps"),
        (LargeId(), "LargeId with id 300"),
        (Falsy(), "Falsy without dumps"),
    ],
    ids=["a class", "no dumps", "an id of two bytes", "a falsy object"],
)
def test_a_codec_that_cannot_work_is_refused_by_name(codec, text):
    with pytest.raises(ConfigError, match=text):
        MemcachedSessionManager(codec=codec)


NO_FALLBACKS = {
    "str": "older",
    "bytes": b"older",
    "bytearray": bytearray(b"older"),
    "an empty secret": ["older", ""],
    "no secret at all": [None],
    "a number": ["older", 12345],
    "a generator": (secret for secret in ["older"]),
    "a mapping": {"older": 1},
}


@pytest.mark.parametrize("fallbacks", NO_FALLBACKS.values(), ids=NO_FALLBACKS)
def test_fallback_secrets_that_are_no_list_of_secrets_are_refused(fallbacks):
    app = Flask("shop")
    app.config.update(TESTING=True, SECRET_KEY="test", SECRET_KEY_FALLBACKS=fallbacks)

    with pytest.raises(ConfigError, match=r"SECRET_KEY_FALLBACKS.*a list of secrets") as caught:
        MemcachedSessionManager(app)
    assert "older" not in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("fallbacks", [None, [], (), ["older"], ("older", b"oldest"), {"older"}])
def test_fallback_secrets_may_be_any_list_of_secrets_or_none(fallbacks):
    shop = make_app(SECRET_KEY="test", SECRET_KEY_FALLBACKS=fallbacks)

    assert secrets_of(shop.app) == ("test", *(fallbacks or ()))


@pytest.mark.parametrize(
    ("fallbacks", "left"),
    [("letters", ()), (bytearray(b"letters"), ()), (["older", "", None], ("older",))],
    ids=["text", "bytearray", "empty ones"],
)
def test_a_fallback_assigned_later_that_is_no_secret_verifies_no_cookie(fallbacks, left, caplog):
    shop = make_app(SECRET_KEY="test")
    shop.app.config["SECRET_KEY_FALLBACKS"] = fallbacks
    _log_ignored.cache_clear()

    assert secrets_of(shop.app) == ("test", *left)
    assert secrets_of(shop.app) == ("test", *left)
    assert caplog.text.count("SECRET_KEY_FALLBACKS must be a list of secrets") == 1
    assert "letters" not in caplog.text


def test_a_secret_that_is_a_number_is_refused_and_not_shown():
    # ``from_prefixed_env`` makes a number of a text that looks like one.
    app = Flask("shop")
    app.config.update(TESTING=True, SECRET_KEY=12345)

    with pytest.raises(ConfigError, match="SECRET_KEY is 'of type int'; allowed: a text") as caught:
        MemcachedSessionManager(app)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("life", ["3600", None, [], float("nan")], ids=repr)
def test_a_life_of_sessions_that_has_no_length_is_refused(life):
    app = Flask("shop")
    app.config.update(TESTING=True, SECRET_KEY="test", PERMANENT_SESSION_LIFETIME=life)

    with pytest.raises(ConfigError, match="PERMANENT_SESSION_LIFETIME"):
        MemcachedSessionManager(app)


@pytest.mark.parametrize(
    ("word", "tests"),
    [("false", False), ("0", False), ("No ", False), ("", False), ("true", True), ("ci", True)],
)
def test_testing_set_to_a_text_that_means_no_is_off(word, tests):
    app = Flask("shop")
    app.config.update(SECRET_KEY="test", TESTING=word, MSM_LOCAL_CACHE="simple", MSM_ADMIN=False)
    app.config["MSM_NODES"] = "n1:127.0.0.1:1"

    settings = FakeManager(app).state(app).settings

    assert (settings.probe_interval == 0) is tests


@pytest.mark.parametrize("word", ["false", "0"])
def test_a_debug_mode_set_to_a_text_that_means_no_lets_a_read_only_view_log(word, caplog):
    shop = make_app(setup=add_read_only_view)
    shop.app.config["DEBUG"] = word

    shop.do(lambda: session.update(name="anna"))
    shop.client.get("/looked-at?change=1")

    assert "nothing was saved" in caplog.text
