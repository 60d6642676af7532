"""What logs, or decodes, may look at the session while that is being read: nothing hangs."""

import logging
import threading

import pytest
from flask import has_request_context, session
from support.apps import FakeManager, make_app

from flask_msm.record.codec import MsgpackCodec


#: Time in seconds after which a request hangs.
PATIENCE = 20.0


class Basket:
    """A type of the application."""


def make_shop(decode=lambda _: 1 / 0):
    codec = MsgpackCodec()
    codec.register(Basket, "basket", lambda _: 0, decode)
    shop = make_app(manager=FakeManager(codec=codec))
    shop.do(lambda: session.update(user="anna", basket=Basket()))
    return shop


def answer(shop, action):
    """Return what *action* returns in a request."""
    found = []
    run = threading.Thread(target=lambda: found.append(shop.ask(action)), daemon=True)
    run.start()
    run.join(PATIENCE)
    assert not run.is_alive(), "the request hangs"
    return found[0]


@pytest.fixture
def on_log(caplog):
    """Let a filter of the log call what is handed in, if there is a request."""
    caplog.set_level(logging.INFO)
    handler = logging.StreamHandler()

    def add(look):
        def is_wanted(_):
            if has_request_context():
                look()
            return False

        handler.addFilter(is_wanted)
        logging.getLogger().addHandler(handler)

    yield add
    logging.getLogger().removeHandler(handler)


LOOKS = {
    "one": lambda: session.get("user"),
    "whether one is there": lambda: "user" in session,
    "all": lambda: dict(session),
    "as text": lambda: repr(session),
    "ref": lambda: session.ref,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_filter_that_looks_at_the_session_waits_for_no_request_whose_nodes_fail(
    on_log, look, caplog
):
    shop = make_shop()
    shop.use_fleet()
    on_log(look)
    shop.outage()

    assert answer(shop, lambda: session.get("user")) is None
    assert "is down" in caplog.text


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(
    "read", [lambda: session.get("basket"), lambda: len(session) - 1], ids=["get", "len"]
)
def test_what_cannot_be_decoded_is_logged_past_a_filter_that_looks_at_the_session(
    on_log, look, read, caplog
):
    shop = make_shop()
    on_log(look)

    assert not answer(shop, read)
    assert "cannot be decoded" in caplog.text
    assert answer(shop, lambda: session["user"]) == "anna"


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(
    "read", [lambda: session.get("basket"), lambda: session.copy()["basket"]], ids=["get", "copy"]
)
def test_a_decoder_that_looks_at_the_session_sees_what_is_decoded_by_then(look, read):
    def decode(_):
        look()
        return Basket()

    assert type(answer(make_shop(decode), read)) is Basket


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_filter_may_look_at_a_session_that_is_just_found_missing(on_log, look, caplog):
    shop = make_shop()
    on_log(look)
    for node in shop.nodes.values():
        node.items.clear()

    assert answer(shop, lambda: list(session)) == []
    assert "not found" in caplog.text


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_filter_may_look_at_a_session_whose_cookie_is_just_refused(on_log, look):
    shop = make_shop()
    on_log(look)
    shop.app.secret_key = "another"

    def make_permanent():
        session.permanent = True
        return list(session)

    assert answer(shop, make_permanent) == ["_permanent"]


def test_what_a_filter_sets_in_a_session_that_is_just_found_missing_is_stored(on_log):
    shop = make_shop()
    on_log(lambda: session.update(user="remembered"))
    for node in shop.nodes.values():
        node.items.clear()

    assert answer(shop, lambda: session.get("user")) == "remembered"
    assert answer(shop, lambda: session.get("user")) == "remembered"
