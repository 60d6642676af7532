"""Sessions through whole requests: how often nodes are asked, and what is saved."""

from __future__ import annotations

import threading

import pytest
from flask import session
from flask.sessions import NullSession, SecureCookieSession
from support.apps import LIFE, make_app, set_cookie

from flask_msm import Session


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


@pytest.fixture
def shop():
    """An application whose browser has a session with a name and a cart."""
    made = make_app()
    made.do(write(name="anna", cart={"items": [1]}))
    made.operations()
    return made


# -- how often nodes are asked -------------------------------------------------------------------


def test_an_untouched_request_asks_no_node(shop):
    shop.do()

    assert shop.operations() == []


def test_an_anonymous_request_asks_no_node_even_when_it_reads():
    shop = make_app()

    response = shop.do(lambda: session.get("name"))

    assert shop.operations() == []
    assert "Set-Cookie" not in response.headers


def test_reading_costs_one_operation(shop):
    shop.do(lambda: (session["name"], session.get("x"), dict(session)))

    assert shop.operations() == ["gets"]


@pytest.mark.parametrize(
    "view",
    [
        write(name="anna"),
        lambda: (session["name"], setattr(session, "modified", True)),
        lambda: session.__setitem__("cart", {"items": [1]}),
        lambda: (session["cart"]["items"].append(2), session["cart"]["items"].pop()),
        lambda: (session.update(more=1), session.pop("more")),
    ],
    ids=["same value", "modified", "equal value", "changed and back", "added and removed"],
)
def test_writing_what_is_stored_already_costs_one_operation(shop, view):
    shop.do(view)

    assert shop.operations() == ["gets"]


def test_modified_without_reading_asks_no_node(shop):
    shop.do(lambda: setattr(session, "modified", True))

    assert shop.operations() == []


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(1, ["cas", "gets"]), (2, ["cas", "cas", "gets", "gets"])],
)
def test_a_changed_write_costs_a_read_and_a_cas_for_each_copy(replicas, expected):
    shop = make_app(replicas=replicas)
    shop.do(write(name="anna"))
    shop.operations()

    shop.do(write(name="eve"))

    assert shop.operations() == expected
    assert len(shop.records()) == replicas


def test_the_first_write_of_a_session_costs_one_operation_for_each_copy():
    shop = make_app()

    shop.do(write(name="anna"))

    assert shop.operations() == ["add", "add"]
    assert len(shop.records()) == 2


def test_a_permanent_session_is_refreshed_without_being_touched_when_that_is_due():
    shop = make_app()
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    shop.operations()

    shop.clock.advance(LIFE / 10 - 1)
    shop.do()
    before = shop.operations()
    shop.clock.advance(1)
    response = shop.do()

    assert before == []
    assert shop.operations() == ["cas", "cas", "gets", "gets"]
    assert set_cookie(response)


def test_another_session_is_refreshed_only_when_it_is_touched(shop):
    shop.clock.advance(LIFE / 10)
    shop.do()
    before = shop.operations()

    response = shop.do(lambda: session.get("name"))

    assert before == []
    assert shop.operations() == ["cas", "cas", "gets", "gets"]
    assert set_cookie(response)
    assert response.headers["Vary"] == "Cookie"


# -- what is saved -------------------------------------------------------------------------------


def test_changes_that_were_suppressed_are_not_saved_and_later_ones_are(shop):
    def view():
        session["name"] = "eve"
        session["cart"]["items"].append(2)
        session.modified = False
        session["more"] = 1

    shop.do(view)

    assert shop.ask(contents) == {"name": "anna", "cart": {"items": [1]}, "more": 1}


def test_only_what_changed_is_written_over_the_changes_of_a_parallel_request(shop):
    slow = shop.under_way()
    slow.session["name"] = "eve"
    shop.do(lambda: session["cart"]["items"].append(2))

    slow.end()

    assert shop.ask(contents) == {"name": "eve", "cart": {"items": [1, 2]}}


def test_a_change_is_saved_although_the_view_failed():
    shop = make_app(testing=False)
    shop.app.logger.disabled = True

    response = shop.do(lambda: (write(name="anna")(), 1 / 0))

    assert response.status_code == 500
    assert shop.ask(contents) == {"name": "anna"}


def test_saving_in_the_middle_of_a_request_is_seen_by_others_at_once():
    shop = make_app()
    seen = []

    def view():
        session["step"] = 1
        session.save()
        seen.append(set(shop.live_keys()))
        session["step"] = 2
        session.save()
        assert session.new is False
        session["step"] = 3

    response = shop.do(view)

    assert len(seen[0]) == 1
    assert seen[0] == shop.live_keys()
    assert shop.ask(lambda: session["step"]) == 3
    assert set_cookie(response)


def test_the_cookie_is_sent_when_everything_was_saved_in_the_middle():
    shop = make_app()

    def view():
        session["step"] = 1
        session.save()
        session.save()

    assert set_cookie(shop.do(view))
    assert shop.ask(contents) == {"step": 1}


def test_a_stream_that_has_used_up_its_time_for_stores_has_all_of_it_after_reload(
    shop, monkeypatch
):
    store, given = shop.state.repository.store, []
    load = store.load

    def noted(key, *, deadline, **options):
        given.append(deadline - shop.clock.monotonic())
        return load(key, deadline=deadline, **options)

    def view():
        for _ in range(2):
            assert session["name"] == "anna"
            session._backing.request.left = 0.0
            session.reload()

    monkeypatch.setattr(store, "load", noted)
    shop.do(view)

    assert given == pytest.approx([shop.state.settings.request_deadline] * 2)


def test_reload_shows_what_a_parallel_request_wrote(shop):
    slow = shop.under_way()
    slow.session["name"] = "lost"
    shop.do(write(name="eve"))

    slow.session.reload()

    assert slow.session["name"] == "eve"
    assert slow.session.modified is False


# -- unplanned calls of save_session -------------------------------------------------------------


@pytest.mark.parametrize("foreign", [None, NullSession(), SecureCookieSession({"a": 1}), {}])
def test_a_session_of_another_interface_is_left_alone(shop, foreign):
    response = shop.app.response_class()

    shop.app.session_interface.save_session(shop.app, foreign, response)

    assert shop.operations() == []
    assert "Set-Cookie" not in response.headers


def test_a_session_that_stands_for_itself_is_left_alone(shop):
    response = shop.app.response_class()

    shop.app.session_interface.save_session(shop.app, Session({"a": 1}), response)

    assert "Set-Cookie" not in response.headers


# -- the ways of Flask ---------------------------------------------------------------------------


def test_an_async_view_reads_and_writes():
    def setup(app):
        @app.get("/async")
        async def asynchronous():
            session["thread"] = threading.get_ident()
            return session["name"]

    shop = make_app(setup=setup)
    shop.do(write(name="anna"))

    assert shop.client.get("/async").text == "anna"
    assert "thread" in shop.ask(contents)


def test_without_a_secret_key_it_is_flasks_null_session():
    shop = make_app(SECRET_KEY=None)

    assert shop.ask(lambda: session.get("name")) is None
    with pytest.raises(RuntimeError, match="secret_key"):
        shop.do(write(name="anna"))
    assert shop.operations() == []


def test_the_cookie_name_may_change_between_requests(shop):
    cookie = shop.cookie()
    shop.app.config["SESSION_COOKIE_NAME"] = "other"

    assert shop.ask(contents, client=shop.browser(cookie))["name"] == "anna"
