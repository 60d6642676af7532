"""A session cannot be read: no error, the same id, and nothing is overwritten."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, session
from support.apps import LIFE, FakeManager, NoLocalStorage, make_app, receiving

from flask_msm import SessionUnavailableError, destroy, session_relocated
from flask_msm.record.record import PARTIAL, Kind, join, lagging


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


def clear():
    session.clear()


@pytest.fixture
def shop():
    made = make_app()
    made.do(write(name="anna", cart=["apple"]))
    made.operations()
    return made


def spare(shop):
    return next(node for node in shop.nodes if node not in shop.homes())


def test_without_any_node_the_session_looks_empty_and_keeps_its_id(shop):
    sid = shop.token().sid
    shop.outage()

    assert shop.ask(lambda: (contents(), session.sid, session.new)) == ({}, sid, False)
    assert shop.token().sid == sid


def test_a_new_session_that_nothing_takes_gets_no_cookie():
    shop = make_app(MSM_LOCAL_CACHE=NoLocalStorage())
    shop.outage()

    response = shop.do(write(name="anna"))

    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers


def test_an_outage_without_local_storage_is_logged_once_for_many_requests(caplog):
    shop = make_app(MSM_LOCAL_CACHE=NoLocalStorage())
    shop.do(write(name="anna"))
    caplog.set_level(logging.WARNING, "flask_msm")
    shop.outage()

    for number in range(10):
        shop.do(lambda: dict(session))
        shop.do(write(number=number))

    kinds = [(record.levelname, record.name) for record in caplog.records]
    assert sorted(kinds) == [("ERROR", "flask_msm.events"), ("WARNING", "flask_msm")]
    assert shop.token().sid not in caplog.text


def test_when_the_nodes_return_everything_is_still_there(shop):
    shop.outage()
    for number in range(20):
        shop.do(lambda: dict(session))
        shop.do(lambda n=number: session.update(number=n))

    shop.heal()

    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"], "number": 19}


def test_an_untouched_permanent_session_outlives_an_outage_at_its_refresh():
    shop = make_app()
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    shop.outage()
    shop.clock.advance(LIFE / 2)

    response = shop.do()
    shop.heal()

    assert response.status_code == 200
    assert shop.ask(lambda: session["name"]) == "anna"


@pytest.mark.parametrize(
    "empty",
    [
        clear,
        lambda: (session.update(a=1), session.clear()),
        lambda: (session.update(a=1), session.pop("a")),
    ],
    ids=["clear", "write and clear", "write and pop"],
)
@pytest.mark.parametrize("nodes_left", [0, 1])
def test_emptying_a_detached_session_is_not_a_logout(shop, empty, nodes_left):
    shop.outage(*(shop.homes() if nodes_left else ()))

    response = shop.do(empty)
    shop.heal()

    assert "Set-Cookie" not in response.headers
    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"]}


def test_destroying_a_detached_session_is_a_logout(shop):
    cookie = shop.cookie()
    shop.outage(*shop.homes())

    shop.do(destroy)
    shop.heal()

    assert shop.ask(contents, client=shop.browser(cookie)) == {}
    assert {record.kind for record in shop.records(cookie).values()} == {Kind.DESTROYED}


# -- what is written while a node is left --------------------------------------------------------


def test_a_write_of_a_detached_session_goes_to_a_node_that_is_left_and_is_joined_later(shop):
    shop.outage(*shop.homes())

    shop.do(write(more=1))
    shop.heal()

    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"], "more": 1}
    assert set(shop.homes()) <= set(shop.records())


def test_a_value_set_without_reading_wins_over_the_stored_one(shop):
    shop.outage(*shop.homes())

    shop.do(write(cart=["pear"]))
    shop.heal()

    assert shop.ask(lambda: session["cart"]) == ["pear"]


def if_not_there():
    if "cart" not in session:
        session["cart"] = []


def get_or():
    session["cart"] = session.get("cart", [])


def look_at_all():
    if not session:
        session["cart"] = []


def try_it():
    try:
        session["cart"].append("pear")
    except KeyError:
        session["cart"] = ["pear"]


HABITS = {
    "setdefault": lambda: session.setdefault("cart", []).append("pear"),
    "in": if_not_there,
    "get": get_or,
    "truth": look_at_all,
    "try": try_it,
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS.keys())
def test_a_value_provided_for_a_gap_fills_a_gap_only(shop, habit):
    shop.outage(*shop.homes())

    shop.do(habit)
    shop.heal()

    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"]}


@pytest.mark.parametrize("nodes_left", [0, 1])
@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS.keys())
def test_a_gap_is_filled_where_something_was_taken_out_before_the_outage(shop, habit, nodes_left):
    shop.do(lambda: session.pop("cart"))
    shop.outage(*(shop.homes() if nodes_left else ()))

    shop.do(habit)
    shop.heal()

    assert "cart" in shop.ask(contents)


@pytest.mark.parametrize("nodes_left", [0, 1])
@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS.keys())
def test_a_gap_is_filled_where_something_was_taken_out_in_the_outage(shop, habit, nodes_left):
    shop.outage(*(shop.homes() if nodes_left else ()))
    shop.do(write(cart=["pear"]))
    shop.do(lambda: session.pop("cart"))

    shop.do(habit)

    assert "cart" in shop.ask(contents)
    shop.heal()
    assert "cart" in shop.ask(contents)


@pytest.mark.parametrize("nodes_left", [0, 1])
def test_a_guess_that_was_filled_in_and_taken_out_again_stays_out(shop, nodes_left):
    shop.do(lambda: session.pop("cart"))
    shop.outage(*(shop.homes() if nodes_left else ()))

    shop.do(HABITS["setdefault"])
    shop.do(lambda: session.pop("cart"))
    shop.heal()

    assert shop.ask(contents) == {"name": "anna"}


def test_only_names_that_were_asked_for_are_weak(shop):
    shop.outage(*shop.homes())

    shop.do(lambda: (session.setdefault("cart", []), session.update(name="eve")))
    shop.heal()

    assert shop.ask(contents) == {"name": "eve", "cart": ["apple"]}


@pytest.mark.parametrize("first", [HABITS["setdefault"], write(more=1)], ids=["weak", "other"])
def test_a_later_request_of_the_same_outage_fills_a_gap_only_as_well(shop, first):
    shop.outage(*shop.homes())

    shop.do(first)
    shop.do(lambda: session.setdefault("cart", []).append("plum"))
    shop.heal()

    assert shop.ask(lambda: session["cart"]) == ["apple"]


def append_if_there():
    if "cart" in session:
        session["cart"].append("plum")


SEEN = {
    "in": (append_if_there, ["pear", "plum"]),
    "setdefault": (lambda: session.setdefault("cart", []).append("plum"), ["pear", "plum"]),
    "get": (lambda: session.update(cart=[*session.get("cart", []), "plum"]), ["pear", "plum"]),
    "truth": (lambda: session.update(cart=["plum"]) if session else None, ["plum"]),
    "all": (lambda: session.update(cart=[*dict(session)["cart"], "plum"]), ["pear", "plum"]),
    "pop": (lambda: session.pop("cart"), None),
    "pop and look": (lambda: (session.pop("cart"), list(session)), None),
    "pop and ask": (lambda: (session.pop("cart"), session.setdefault("cart", ["plum"])), ["plum"]),
    "pop, look, put": (
        lambda: (session.pop("cart"), list(session), session.update(cart=["plum"])),
        ["plum"],
    ),
    "pop and put": (lambda: session.update(cart=[*session.pop("cart"), "plum"]), ["pear", "plum"]),
}


@pytest.mark.parametrize("nodes_left", [0, 1])
@pytest.mark.parametrize(("second", "cart"), SEEN.values(), ids=SEEN.keys())
def test_a_value_that_a_later_request_of_the_outage_read_and_changed_is_a_change(
    shop, second, cart, nodes_left
):
    """The first request set it without looking, so the second one is shown no guess."""
    shop.outage(*(shop.homes() if nodes_left else ()))

    shop.do(write(cart=["pear"]))
    shop.do(second)
    shop.heal()

    assert shop.ask(contents) == {"name": "anna"} | ({} if cart is None else {"cart": cart})


@pytest.mark.parametrize("nodes_left", [0, 1])
@pytest.mark.parametrize("first", ["setdefault", "get"])
@pytest.mark.parametrize("second", [one for one, _ in SEEN.values()], ids=SEEN.keys())
def test_a_change_made_to_a_provisional_value_is_provisional(shop, first, second, nodes_left):
    shop.outage(*(shop.homes() if nodes_left else ()))

    shop.do(HABITS[first])
    shop.do(second)
    shop.heal()

    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"]}


@pytest.mark.parametrize("nodes_left", [0, 1])
def test_a_guess_that_a_request_overrides_without_looking_is_one_still(shop, nodes_left):
    """A third request cannot know which of two requests looked."""
    shop.outage(*(shop.homes() if nodes_left else ()))

    shop.do(HABITS["setdefault"])
    shop.do(write(cart=["pear"]))
    shop.heal()

    assert shop.ask(contents) == {"name": "anna", "cart": ["apple"]}


def is_detached():
    return bool(contents()) and session._detached


@pytest.fixture
def part():
    """A shop with a session of which nodes that are trusted hold a part only."""
    shop = make_app(MSM_MIRROR=False)
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    for home in shop.homes():
        shop.nodes[home].put(shop.key(), b"rubbish")
    shop.do(lambda: (write(more=1)(), setattr(session, "permanent", True)))
    assert {record.created for record in shop.records().values()} == {PARTIAL}
    return shop


def test_a_part_that_nodes_hold_is_not_taken_for_the_whole(part):
    part.do(lambda: session.setdefault("name", "guest"))

    assert part.ask(is_detached)
    assert {record.created for record in part.records().values()} == {PARTIAL}
    # Another host turns out to have the rest.
    key, rest = part.key(), make_app()
    rest.do(write(name="anna"))
    theirs = next(iter(rest.records().values()))._replace(version=1)
    for node_id, held in part.stored(key).items():
        joined = join(held, theirs)
        sealed = part.state.parts.envelope.seal(joined, key)
        part.nodes[node_id].put(key, sealed)
    assert part.ask(contents) == {"name": "anna", "more": 1, "_permanent": True}


def test_clearing_a_part_that_nodes_hold_is_a_logout(part):
    key = part.key()

    part.do(clear)

    assert not part.cookie()
    assert {record.kind for record in part.stored(key).values()} == {Kind.DESTROYED}


def test_a_part_that_nodes_hold_lives_on_while_it_is_used(part):
    for _ in range(4):
        part.clock.advance(LIFE / 2)
        part.do()

    assert part.ask(lambda: session["more"]) == 1


def test_a_part_is_taken_for_the_whole_when_the_rest_is_over_wherever_it_is(part):
    part.do()
    for _ in range(2):
        part.clock.advance(LIFE / 2)
        part.do()
    assert part.ask(is_detached)

    part.clock.advance(LIFE / 5)
    part.do()

    assert not part.ask(is_detached)


def test_a_part_ends_as_the_whole_would_that_began_with_it():
    shop = make_app(MSM_MIRROR=False, MSM_ABSOLUTE_TIMEOUT=LIFE)
    shop.do(write(name="anna"))
    for home in shop.homes():
        shop.nodes[home].put(shop.key(), b"rubbish")
    shop.do(write(more=1))
    for _ in range(2):
        shop.clock.advance(LIFE / 2 - 1)
        assert shop.ask(contents) == {"more": 1}

    shop.clock.advance(3)

    assert shop.ask(contents) == {}


def test_a_session_without_changes_that_no_store_has_any_more_is_whole():
    shop = make_app(MSM_MIRROR=False)
    shop.do(write(name="anna"))
    key = shop.key()
    began = {record.created for record in shop.records().values()}
    for node_id, held in shop.stored(key).items():
        shop.nodes[node_id].put(key, shop.state.parts.envelope.seal(lagging(held), key))

    assert not shop.ask(is_detached)
    shop.do(write(more=1))

    assert {record.created for record in shop.records().values()} == began


def test_an_older_copy_lives_on_while_it_is_used_though_the_browser_saw_a_newer_one():
    shop = make_app(MSM_MIRROR=False)
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    old = {node_id: node.items[shop.key()] for node_id, node in shop.nodes.items() if node.items}
    shop.do(write(more=1))
    for node_id, item in old.items():
        shop.nodes[node_id].items[shop.key()] = item
    shop.views.doubted.update(shop.nodes)

    for _ in range(4):
        shop.clock.advance(LIFE / 2)
        shop.do()

    assert shop.ask(contents) == {"name": "anna", "_permanent": True}


def test_the_signal_tells_that_a_session_lives_elsewhere(shop):
    ref = shop.ask(lambda: session.ref)
    shop.outage(shop.homes()[0])

    with receiving(session_relocated) as relocated:
        shop.do(write(more=1))

    assert relocated == [(shop.app, {"ref": ref})]


# -- MSM_ON_UNKNOWN = "error" --------------------------------------------------------------------


def test_an_application_may_ask_for_an_error_instead():
    shop = make_app(MSM_ON_UNKNOWN="error", MSM_MIRROR=False, testing=False)
    shop.do(write(name="anna"))
    shop.outage()

    response = shop.do(contents)

    assert response.status_code == 503
    assert "Set-Cookie" not in response.headers
    shop.heal()
    assert shop.ask(contents) == {"name": "anna"}


@pytest.mark.parametrize("first", [True, False], ids=["before init_app", "after it"])
def test_the_page_of_the_application_is_shown_wherever_it_was_registered(first):
    app = Flask("shop")
    app.config.update(SECRET_KEY="test", MSM_NODES="n1:127.0.0.1:1", MSM_ON_UNKNOWN="error")
    app.config.update(MSM_PROBE_INTERVAL=0, MSM_LOCAL_CACHE="simple")

    def register():
        app.register_error_handler(SessionUnavailableError, lambda _: ("our page", 418))

    if first:
        register()
    FakeManager(app)
    if not first:
        register()

    @app.get("/")
    def view():
        raise SessionUnavailableError

    assert app.test_client().get("/").text == "our page"


def test_a_request_that_does_not_look_gets_no_error_even_when_a_refresh_is_due():
    shop = make_app(MSM_ON_UNKNOWN="error")
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))
    shop.outage()
    shop.clock.advance(LIFE / 2)

    assert shop.do().status_code == 200


# -- faults in a store ---------------------------------------------------------------------------


class FaultError(Exception):
    pass


def break_nodes(shop):
    for node in shop.nodes.values():
        node.fail(FaultError("a bug"))


@pytest.mark.parametrize("view", [contents, write(more=1)], ids=["read", "write"])
def test_a_fault_in_the_store_is_raised_in_tests(shop, view):
    break_nodes(shop)

    with pytest.raises(FaultError):
        shop.do(view)


def test_a_fault_in_the_store_costs_no_request_and_is_logged_once(caplog):
    shop = make_app(testing=False)
    shop.do(write(name="anna"))
    sid = shop.token().sid
    break_nodes(shop)

    answers = [shop.do(view).status_code for view in (contents, write(more=1)) * 5]

    faults = [record for record in caplog.records if record.exc_info]
    assert answers == [200] * 10
    assert [record.exc_info[0] for record in faults] == [FaultError]
    assert shop.token().sid == sid
    shop.heal()
    assert shop.ask(contents) == {"name": "anna"}


def test_a_value_set_before_the_whole_session_is_read_is_not_provisional(shop):
    """A view that sets something and returns ``dict(session)`` did not read that it is absent."""
    shop.outage()
    shop.do(lambda: (session.update(name="berta"), dict(session)))

    shop.heal()

    assert shop.ask(lambda: session["name"]) == "berta"


def test_a_value_set_after_the_whole_session_was_read_as_empty_is_provisional(shop):
    shop.outage()
    shop.do(lambda: (dict(session), session.update(name="berta")))

    shop.heal()

    assert shop.ask(lambda: session["name"]) == "anna"
