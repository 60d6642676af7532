"""What is not stored: values that cannot be, requests that must not."""

from __future__ import annotations

import logging
import threading

import pytest
from flask import session
from support.apps import LIFE, deletes_cookie, make_app

from flask_msm import (
    SerializationError,
    SessionTooLargeError,
    destroy,
    read_only,
    regenerate,
)


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


def clear():
    session.clear()


def start(**config):
    shop = make_app(**config)
    shop.do(write(name="anna"))
    shop.operations()
    return shop


# -- values that cannot be stored ----------------------------------------------------------------


BAD = {
    "value": (write(lock=threading.Lock()), SerializationError, "lock"),
    "nested": (write(cart=[{"lock": threading.Lock()}]), SerializationError, "cart"),
    "name": (lambda: session.update({(5,): 1}), SerializationError, None),
    "size": (write(small=1, blob="x" * 2_000), SessionTooLargeError, "blob"),
}


@pytest.mark.parametrize(("view", "kind", "attribute"), BAD.values(), ids=BAD.keys())
def test_the_request_fails_and_what_was_stored_stays(view, kind, attribute):
    shop = start(MSM_MAX_RECORD_SIZE=1024)

    with pytest.raises(kind) as raised:
        shop.do(lambda: (write(name="eve")(), view()))

    assert raised.value.attribute == attribute
    assert raised.value.endpoint == "view"
    assert shop.ask(contents) == {"name": "anna"}
    assert shop.state.repository.counters.unexpected == 0


@pytest.mark.parametrize(("view", "kind", "attribute"), BAD.values(), ids=BAD.keys())
def test_the_error_handler_sees_what_happened_and_answers_with_the_last_good_session(
    view, kind, attribute, caplog
):
    seen = []

    def setup(app):
        @app.errorhandler(500)
        def failed(error):
            seen.append(error.original_exception)
            return "sorry", 500

    shop = start(testing=False, setup=setup, MSM_MAX_RECORD_SIZE=1024)

    response = shop.do(view)

    assert (response.status_code, response.text) == (500, "sorry")
    assert [type(error) for error in seen] == [kind]
    assert "error while handling" not in caplog.text
    assert not deletes_cookie(response)
    assert shop.ask(contents) == {"name": "anna"}


def test_a_view_that_saves_itself_can_mend_what_was_refused():
    shop = start()

    def view():
        session["lock"] = threading.Lock()
        with pytest.raises(SerializationError):
            session.save()
        del session["lock"]
        session["more"] = 1

    shop.do(view)

    assert shop.ask(contents) == {"name": "anna", "more": 1}


def test_a_move_that_is_too_large_leaves_the_session_where_it_is():
    shop = start(testing=False, MSM_MAX_RECORD_SIZE=1024)
    shop.app.logger.disabled = True
    old = shop.cookie()

    shop.do(lambda: (write(blob="x" * 2_000)(), regenerate()))

    assert shop.ask(contents, client=shop.browser(old)) == {"name": "anna"}
    assert len(shop.live_keys()) == 1


# -- ignored requests ----------------------------------------------------------------------------


IGNORE = {"MSM_IGNORE_PATTERN": r"^/static/|\.png$"}
ACTIONS = {
    "write": write(name="eve"),
    "permanent": lambda: setattr(session, "permanent", True),
    "destroy": destroy,
    "clear": clear,
    "regenerate": regenerate,
    "save": lambda: (write(name="eve")(), session.save()),
    "unserializable": write(lock=threading.Lock()),
}


@pytest.mark.parametrize("path", ["/static/a.css", "/shop/logo.png"])
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_an_ignored_request_never_writes_nor_sets_a_cookie(action, path):
    shop = start(**IGNORE)

    response = shop.do(action, path)

    assert "Set-Cookie" not in response.headers
    assert set(shop.operations()) <= {"gets"}
    assert shop.ask(contents) == {"name": "anna"}


def test_an_ignored_request_refreshes_nothing():
    shop = make_app(**IGNORE)
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    shop.operations()
    shop.clock.advance(LIFE / 2)

    response = shop.do(None, "/static/a.css")

    assert shop.operations() == []
    assert "Set-Cookie" not in response.headers


def test_other_requests_are_not_ignored():
    shop = start(**IGNORE)
    shop.do(write(name="eve"), "/about/static/page")

    assert shop.ask(contents) == {"name": "eve"}


# -- read-only views -----------------------------------------------------------------------------


def with_read_only_view(action, **config):
    def setup(app):
        @app.get("/report")
        @read_only
        def report():
            action()
            return "ok"

    return start(setup=setup, **config)


def test_a_read_only_view_may_read(caplog):
    shop = with_read_only_view(contents)

    response = shop.client.get("/report")

    assert shop.operations() == ["gets"]
    assert "Set-Cookie" not in response.headers
    assert caplog.records == []


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_a_change_in_a_read_only_view_is_logged_and_not_saved(action, caplog):
    caplog.set_level(logging.WARNING, "flask_msm")
    shop = with_read_only_view(action)

    response = shop.client.get("/report")

    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'report'" in caplog.text
    assert shop.ask(contents) == {"name": "anna"}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_a_change_in_a_read_only_view_is_an_error_in_debug_mode(action):
    shop = with_read_only_view(action, testing=False, PROPAGATE_EXCEPTIONS=False)
    shop.app.debug = True
    shop.app.logger.disabled = True

    response = shop.client.get("/report")

    assert response.status_code == 500
    assert shop.ask(contents) == {"name": "anna"}


def test_the_mark_survives_other_decorators():
    from functools import wraps

    def plain(view):
        @wraps(view)
        def wrapped(*args, **kwargs):
            return view(*args, **kwargs)

        return wrapped

    def setup(app):
        @app.get("/report")
        @plain
        @read_only
        def report():
            session["name"] = "eve"
            return "ok"

    shop = start(setup=setup)
    shop.client.get("/report")

    assert shop.ask(contents) == {"name": "anna"}
