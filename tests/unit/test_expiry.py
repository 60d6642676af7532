"""How long a session lives: idle, absolute, refreshed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask, session
from support.apps import LIFE, make_app


def start(shop, *, permanent=False):
    def view():
        session["name"] = "anna"
        session.permanent = permanent

    shop.do(view)
    shop.operations()


def name(shop):
    return shop.ask(lambda: session.get("name"))


@pytest.fixture
def shop():
    made = make_app()
    start(made)
    return made


def test_a_session_lives_at_least_its_idle_time(shop):
    shop.clock.advance(LIFE)

    assert name(shop) == "anna"


def test_a_session_lives_at_most_a_tenth_longer_than_its_idle_time(shop):
    shop.clock.advance(LIFE * 1.1 + 1)

    assert name(shop) is None


def test_no_node_is_asked_for_a_session_older_than_its_life(shop):
    shop.clock.advance(LIFE * 1.1 + 1)
    shop.do(lambda: session.get("name"))

    assert shop.operations() == []


def test_nodes_forget_a_session_when_it_ends(shop):
    ttls = {ttl for node in shop.nodes.values() for ttl in node.ttls.values()}

    assert all(LIFE <= ttl <= LIFE * 1.1 + 1 for ttl in ttls)


@pytest.mark.parametrize("step", [1.0, LIFE / 10 - 0.5, LIFE / 2, LIFE - 1])
def test_a_session_that_is_touched_again_and_again_never_ends(shop, step):
    for _ in range(min(200, int(LIFE * 5 / step) + 1)):
        shop.clock.advance(step)
        assert name(shop) == "anna"


def test_a_session_that_is_refreshed_in_the_middle_of_a_request_gets_its_cookie(shop):
    shop.clock.advance(LIFE / 2)

    response = shop.do(lambda: (session["name"], session.save()))

    assert "Set-Cookie" in response.headers
    assert shop.token().renewed == int(shop.clock.time())


def test_a_permanent_session_ends_untouched_when_flask_does_not_refresh_it():
    shop = make_app(SESSION_REFRESH_EACH_REQUEST=False)
    start(shop, permanent=True)

    for _ in range(4):
        shop.clock.advance(LIFE / 3)
        shop.do()

    assert shop.operations() == []
    assert name(shop) is None


@pytest.mark.parametrize(
    "touch",
    [
        lambda: setattr(session, "modified", True),
        lambda: session.permanent,
        lambda: session.sid,
    ],
    ids=["modified", "permanent", "sid"],
)
def test_touching_without_reading_keeps_a_session_alive(shop, touch):
    for _ in range(5):
        shop.clock.advance(LIFE - 1)
        shop.do(touch)

    assert name(shop) == "anna"


@pytest.mark.parametrize("share", [0.05, 0.099, 0.1, 0.5, 0.999])
def test_whenever_it_was_touched_last_a_session_lives_its_idle_time_after_that(shop, share):
    shop.clock.advance(LIFE * share)
    name(shop)
    shop.clock.advance(LIFE)

    assert name(shop) == "anna"


def test_the_idle_time_can_be_set_apart_from_flasks():
    shop = make_app(MSM_IDLE_TIMEOUT=50)
    start(shop)
    shop.clock.advance(50)
    alive = name(shop)
    shop.clock.advance(56)

    assert (alive, name(shop)) == ("anna", None)


def test_an_application_that_decides_about_the_life_time_itself_is_asked_every_time():
    class Shop(Flask):
        lives = timedelta(seconds=LIFE)

        @property
        def permanent_session_lifetime(self):
            return self.lives

    shop = make_app()
    shop.app.__class__ = Shop
    start(shop)

    shop.app.lives = timedelta(seconds=10)
    shop.clock.advance(12)

    assert name(shop) is None


def test_the_absolute_timeout_ends_a_session_that_is_in_use():
    shop = make_app(MSM_ABSOLUTE_TIMEOUT=3 * LIFE)
    start(shop)
    for _ in range(6):
        shop.clock.advance(LIFE / 2 - 1)
        assert name(shop) == "anna"

    shop.clock.advance(20)

    assert name(shop) is None


def test_after_the_absolute_end_a_session_begins_anew_under_another_id():
    shop = make_app(MSM_ABSOLUTE_TIMEOUT=100)
    start(shop)
    old = shop.token().sid
    shop.clock.advance(101)

    shop.do(lambda: session.update(name="eve"))

    assert shop.token().sid != old
    assert name(shop) == "eve"


def test_a_cookie_from_the_future_counts_as_one_of_now(shop):
    shop.clock.now -= 10 * LIFE

    assert name(shop) == "anna"
    assert shop.operations() == ["gets"]


# -- a life that is changed while sessions are there ---------------------------------------------

LONG = 31 * 86_400


def set_life(shop, seconds):
    shop.app.config["PERMANENT_SESSION_LIFETIME"] = seconds


def test_a_longer_life_is_obeyed_for_a_session_that_is_only_read_after_it(shop):
    shop.clock.advance(60)
    set_life(shop, LONG)
    assert name(shop) == "anna"

    for _ in range(5):
        shop.clock.advance(LONG - 1)
        assert name(shop) == "anna"


def test_a_longer_life_costs_one_write_for_each_session(shop):
    set_life(shop, LONG)
    name(shop)
    shop.operations()

    for _ in range(5):
        shop.clock.advance(60)
        name(shop)

    assert set(shop.operations()) == {"gets"}


def test_a_longer_life_does_not_outlive_the_absolute_timeout_and_costs_no_writes_for_it():
    shop = make_app(MSM_ABSOLUTE_TIMEOUT=2 * LIFE)
    start(shop)
    set_life(shop, LONG)
    name(shop)
    name(shop)
    shop.operations()
    for _ in range(3):
        shop.clock.advance(60)
        assert name(shop) == "anna"
    assert set(shop.operations()) == {"gets"}

    shop.clock.advance(2 * LIFE)

    assert name(shop) is None


def test_a_shorter_life_is_obeyed_at_once_and_for_what_is_written_after_it():
    shop = make_app(PERMANENT_SESSION_LIFETIME=LONG)
    start(shop)
    shop.clock.advance(100)
    set_life(shop, LIFE)
    assert name(shop) == "anna"
    shop.do(lambda: session.__setitem__("name", "berta"))

    shop.clock.advance(LIFE * 1.1 + 1)

    assert name(shop) is None


def longer(make_permanent, then):
    """Return what applications do before each request, in both orders."""

    def before():
        if make_permanent == "first":
            session.permanent = True
        then()
        if make_permanent == "last":
            session.permanent = True

    return before


@pytest.mark.parametrize("make_permanent", ["first", "last"])
@pytest.mark.parametrize("path", ["read", "write"])
def test_a_life_that_is_set_before_each_request_is_obeyed_from_the_first_one_on(
    make_permanent, path
):
    """A worker that has just started has the life of the configuration until then."""
    shop = make_app(PERMANENT_SESSION_LIFETIME=LIFE)
    shop.app.before_request(longer(make_permanent, lambda: set_life(shop, LONG)))
    start(shop, permanent=True)

    for _ in range(3):
        shop.clock.advance(LONG - 1)
        set_life(shop, LIFE)  # the worker was started again
        if path == "write":
            shop.do(lambda: session.__setitem__("other", "x"))
        set_life(shop, LIFE)
        assert name(shop) == "anna"


def test_a_session_that_begins_when_another_is_over_is_as_permanent_as_was_set():
    shop = make_app()
    shop.app.before_request(lambda: setattr(session, "permanent", True))
    start(shop, permanent=True)

    shop.clock.advance(LIFE * 1.1 + 1)
    shop.do(lambda: session.__setitem__("name", "berta"))

    assert shop.ask(lambda: (session.get("name"), session.permanent)) == ("berta", True)


def test_a_life_that_is_set_after_the_session_was_read_holds_for_what_is_written():
    shop = make_app()

    def view():
        assert session.get("name") is None
        session["name"] = "anna"
        set_life(shop, LONG)

    shop.do(view)
    shop.clock.advance(LONG - 1)

    assert name(shop) == "anna"
