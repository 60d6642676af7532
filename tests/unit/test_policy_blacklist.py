"""Policy ``blacklist``: ``None`` in place of what cannot be stored; pins; the filter."""

from __future__ import annotations

import pickle
import threading

import pytest
from flask import session
from support.apps import LIFE, make_app, receiving, set_cookie
from support.policies import (
    LOCK,
    FailingCodec,
    contents,
    make_workers,
    visit,
    warnings,
    write,
)

from flask_msm import (
    SessionTooLargeError,
    attribute_blacklisted,
    read_only,
)
from flask_msm.sessions.blacklist import MAX_ENTRIES
from flask_msm.sessions.pins import Pin


BLACKLIST = {"MSM_SERIALIZATION_POLICY": "blacklist"}
SMALL = {**BLACKLIST, "MSM_MAX_RECORD_SIZE": 1024, "MSM_COMPRESS_ABOVE": 0}


def start(**config):
    shop = make_app(**BLACKLIST, **config)
    shop.do(write(name="anna"))
    shop.operations()
    return shop


def entries(shop):
    return shop.state.repository.serialization.blacklist.all()


# -- what is stored --------------------------------------------------------------------------------


def test_none_is_stored_and_the_rest_is_distributed():
    one, other = make_workers(**BLACKLIST)

    one.do(write(name="anna", cart=[1, {"lock": LOCK}], city="Ulm"))

    expected = {"name": "anna", "cart": None, "city": "Ulm"}
    assert one.ask(contents) == expected
    assert visit(other, contents, one.cookie())[0] == expected
    assert not one.token().local


class Unhashable(type):
    """Makes classes that have no hash, as such do that compare in their own way."""

    __hash__ = None


class Odd(metaclass=Unhashable):
    """Neither can its class be hashed, nor its objects be stored."""


def test_a_value_whose_class_has_no_hash_is_replaced_by_none_also_when_it_is_saved_twice():
    shop = start()

    def view():
        session["odd"] = Odd()
        session.save()

    shop.do(view)

    assert shop.ask(contents) == {"name": "anna", "odd": None}


def test_a_stored_value_that_becomes_unserializable_is_replaced_by_none():
    shop = start()
    shop.do(write(cart=[1]))

    shop.do(lambda: session["cart"].append(LOCK))

    assert shop.ask(contents) == {"name": "anna", "cart": None}


def test_a_serializable_value_under_a_blacklisted_name_is_stored():
    shop = start()
    shop.do(write(cart=[LOCK]))

    shop.do(write(cart=[1]))

    assert shop.ask(contents) == {"name": "anna", "cart": [1]}


def test_the_same_failure_again_writes_nothing():
    shop = start()
    shop.do(write(lock=LOCK))
    version = shop.token().version
    shop.operations()

    shop.do(write(lock=LOCK))

    assert shop.operations() == ["gets"]
    assert shop.token().version == version


def test_a_name_that_json_cannot_write_is_left_out():
    shop = start()

    shop.do(lambda: session.update({(5,): 1, "city": "Ulm"}))

    assert shop.ask(contents) == {"name": "anna", "city": "Ulm"}
    assert [entry.key for entry in entries(shop)] == [(None, "tuple")]


@pytest.mark.parametrize(
    "error",
    [ValueError("4111"), RecursionError(), RuntimeError("dictionary changed size: 4111")],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_a_codec_stores_none(error, caplog):
    (shop,) = make_workers(1, codec=FailingCodec(), **BLACKLIST)

    shop.do(write(name="anna", job=error))

    assert shop.ask(contents) == {"name": "anna", "job": None}
    (entry,) = entries(shop)
    assert entry.error == type(error).__name__
    assert "4111" not in caplog.text + repr(entry)


# -- records and log lines -------------------------------------------------------------------------


def test_a_failure_is_logged_once_for_attribute_and_type_and_counted_afterwards(caplog):
    shop = start()

    for _ in range(3):
        shop.do(write(cart=[{"lock": LOCK, "card": "4111"}]))
    shop.do(write(cart=[threading.Thread()]))

    first, second = warnings(caplog)
    for part in ("attribute_blacklisted", "'cart[0].lock'", "_thread.lock", "'view'", "None is"):
        assert part in first
    assert "threading.Thread" in second
    assert "4111" not in caplog.text
    assert shop.token().sid not in caplog.text
    assert [(entry.type_name, entry.count) for entry in entries(shop)] == [
        ("threading.Thread", 1),
        ("_thread.lock", 3),
    ]
    entry = entries(shop)[1]
    assert (entry.attribute, entry.path, entry.endpoint) == ("cart", "cart[0].lock", "view")
    assert (entry.error, entry.added_by) == ("EncodeError", "blacklist")


def test_a_signal_names_the_attribute_once_and_no_session():
    shop = start()

    with receiving(attribute_blacklisted) as received:
        for _ in range(2):
            shop.do(write(cart=[LOCK]))

    assert received == [
        (shop.app, {"attribute": "cart", "type": "_thread.lock", "path": "cart[0]"})
    ]


def test_a_listener_may_fail_use_the_session_and_read_the_blacklist(caplog):
    shop = start()
    seen = []

    def listen(sender, **values):
        seen.append(len(entries(shop)))
        raise KeyError

    with attribute_blacklisted.connected_to(listen, shop.app):
        assert shop.do(write(lock=LOCK)).status_code == 200

    assert seen == [1]
    assert "a listener failed" in caplog.text
    assert shop.ask(contents) == {"name": "anna", "lock": None}


@pytest.mark.parametrize("name", ["a\x1b[2J\n", "x" * 10_000, "\ud800", "\u202eabc"])
def test_strange_names_are_shown_escaped_and_short(name, caplog):
    shop = start()

    shop.do(lambda: session.update({name: LOCK}))

    (text,) = warnings(caplog)
    assert text.isprintable()
    assert len(text) < 700
    assert shop.ask(contents) == {"name": "anna", name: None}


def test_ten_thousand_bad_attributes_leave_memory_blacklist_and_log_bounded(caplog):
    shop = start()
    serialization = shop.state.repository.serialization

    def fail(first, last):
        values = {f"attribute number {number}": LOCK for number in range(first, last)}
        shop.do(lambda: session.update(values), client=shop.browser())

    fail(0, 1_000)
    said, size = len(warnings(caplog)), pickled_size(serialization)
    for first in range(1_000, 10_000, 1_000):
        fail(first, first + 1_000)

    assert len(serialization.blacklist) == MAX_ENTRIES
    assert said == len(warnings(caplog)) == MAX_ENTRIES + 1
    assert sum(len(text) for text in warnings(caplog)) < 100_000
    assert len(serialization.blacklist.to_json()) < 100_000
    assert pickled_size(serialization) - size < 1_000
    assert serialization.counts.stored_as_none == 10_000


def pickled_size(serialization):
    """Return the size of all that is remembered of failures."""
    parts = (serialization.blacklist, serialization, serialization.live)
    held = [
        [value for name, value in vars(part).items() if isinstance(value, dict | set | int | float)]
        for part in parts
    ]
    return len(pickle.dumps(held))


# -- too large -------------------------------------------------------------------------------------


def test_of_a_session_that_is_too_large_the_largest_attribute_becomes_none(caplog):
    shop = make_app(**SMALL)

    response = shop.do(write(name="anna", big="x" * 2_000))

    assert set_cookie(response)
    assert shop.ask(contents) == {"name": "anna", "big": None}
    (text,) = warnings(caplog)
    assert "'big'" in text
    assert "allowed are 1024" in text
    (entry,) = entries(shop)
    assert (entry.type_name, entry.error) == ("builtins.str", "SessionTooLargeError")


def test_as_many_as_needed_become_none():
    shop = make_app(**SMALL)

    shop.do(write(name="anna", **{f"n{number}": "x" * 700 for number in range(5)}))

    values = shop.ask(contents)
    assert values["name"] == "anna"
    assert [value is None for value in values.values()].count(True) == 4


def test_a_session_of_many_large_values_is_refused_after_some_tries():
    shop = make_app(**SMALL)

    with pytest.raises(SessionTooLargeError):
        shop.do(write(**{f"n{number}": "x" * 50 for number in range(100)}))

    assert shop.all_keys() == set()


def test_a_large_attribute_of_a_parallel_request_may_become_none_and_is_not_removed():
    shop = make_app(**SMALL)
    shop.do(write(name="anna"))
    one, other = shop.under_way(), shop.under_way()
    one.session["small"] = "y" * 500
    other.session["big"] = "x" * 700
    other.end()

    one.session.save()
    one.session["name"] = "eve"
    one.end()

    assert shop.ask(contents) == {"name": "eve", "small": "y" * 500, "big": None}


# -- pins ------------------------------------------------------------------------------------------


def test_a_pinned_attribute_is_none_without_trying(caplog):
    tried = []

    class Codec(FailingCodec):
        def dumps(self, value):
            tried.append(value)
            return super().dumps(value)

    (shop,) = make_workers(1, codec=Codec(), MSM_BLACKLIST="card, job")

    def view():
        session.update(name="anna", card="4111", job=ValueError())
        session.save()
        return session["card"]

    assert shop.ask(view) == "4111"
    assert shop.ask(contents) == {"name": "anna", "card": None, "job": None}
    assert "4111" not in tried
    assert warnings(caplog) == []


def test_an_operator_pins_and_unpins_while_it_runs():
    shop = make_app()
    pins = shop.state.repository.serialization.pins
    shop.do(write(card="4111"))

    pins.set_chosen([Pin("card", "anna", "not in memcached", 5.0)])
    shop.do(write(card="4222"))
    assert shop.ask(contents) == {"card": None}

    pins.set_chosen([])
    shop.do(write(card="4333"))
    assert shop.ask(contents) == {"card": "4333"}


def test_a_value_stored_before_it_was_pinned_becomes_none_with_the_next_request():
    shop = make_app()
    shop.do(write(card="4111"))
    shop.state.repository.serialization.pins.set_chosen([Pin("card")])

    assert shop.ask(contents) == {"card": "4111"}

    assert shop.ask(contents) == {"card": None}


# -- the filter ------------------------------------------------------------------------------------


FILTER = {"MSM_ATTRIBUTE_FILTER": "^(name|cart)$"}


def test_an_attribute_outside_the_filter_stays_out_of_the_cluster_and_in_the_process(caplog):
    one, other = make_workers(**FILTER)
    one.do(write(name="anna", lock=LOCK, tmp=1))

    assert one.ask(contents) == {"name": "anna", "lock": LOCK, "tmp": 1}
    assert visit(other, contents, one.cookie())[0] == {"name": "anna"}
    assert one.token().local
    assert warnings(caplog) == []


def test_a_value_stored_before_there_was_a_filter_is_left_alone():
    plain, filtering = make_workers()[0], None
    plain.do(write(name="anna", tmp=1))
    nodes = plain.nodes
    filtering = make_app(
        clock=plain.clock, manager=type(plain.manager)(nodes, clock=plain.clock), **FILTER
    )

    seen, cookie = visit(filtering, contents, plain.cookie())
    assert seen == {"name": "anna"}
    _, cookie = visit(filtering, write(name="eve"), cookie)
    _, cookie = visit(filtering, lambda: setattr(session, "modified", False), cookie)

    assert visit(plain, contents, cookie)[0] == {"name": "eve", "tmp": 1}


def test_the_permanence_of_a_session_is_never_filtered():
    (shop,) = make_workers(1, **FILTER)

    shop.do(lambda: setattr(session, "permanent", True))

    assert shop.token().permanent


def watched(action, **config):
    """Return an application whose view ``/report`` is read-only and does *action*."""

    def setup(app):
        @app.get("/report")
        @read_only
        def report():
            action()
            return "ok"

    return make_app(setup=setup, **FILTER, **config)


def test_a_read_only_view_that_sets_what_is_filtered_creates_nothing(caplog):
    shop = watched(write(tmp=1, lock=LOCK))

    response = shop.client.get("/report")

    assert "Set-Cookie" not in response.headers
    assert shop.all_keys() == set()
    assert len(shop.state.repository.serialization.live) == 0
    (warning,) = warnings(caplog)
    assert "'lock'" in warning
    assert "'tmp'" in warning


@pytest.mark.parametrize(
    ("action", "names"),
    [
        (write(tmp=2), ["'tmp'"]),
        (lambda: session.pop("tmp"), ["'tmp'"]),
        (write(other=[1], name="eve"), ["'name'", "'other'"]),
        (write(name=LOCK, cart=LOCK), ["'cart'", "'name'"]),
    ],
    ids=["set", "removed", "both kinds", "two that cannot be stored"],
)
def test_each_change_of_a_read_only_view_is_named(action, names, caplog):
    shop = watched(action)
    shop.do(write(name="anna", tmp=1))
    caplog.clear()

    shop.client.get("/report")

    (warning,) = warnings(caplog)
    assert warning.endswith(f"changed the session: {', '.join(names)}; nothing was saved")
    assert shop.ask(contents) == {"name": "anna", "tmp": 1}


def test_a_read_only_view_keeps_the_session_and_what_is_filtered_alive():
    shop = watched(contents)
    shop.do(write(name="anna", tmp=1))

    for _ in range(10):
        shop.clock.advance(LIFE / 2)
        assert set_cookie(shop.client.get("/report"))

    assert shop.ask(contents) == {"name": "anna", "tmp": 1}
