"""Applications during an outage on a host that knows less than the browser has seen.

A value reported as absent may be in the cluster: a write of it then fills a gap.
"""

from __future__ import annotations

import flask_login
import pytest
from flask import flash, get_flashed_messages, session
from support.apps import NoLocalStorage, make_app

from flask_msm import regenerate
from flask_msm.cluster.mode import ModeSignal


CART = ["apple"]
BEFORE = {
    "name": "anna",
    "cart": CART,
    "csrf_token": "first",
    "_flashes": [("message", "welcome")],
    "_user_id": "7",
    "_fresh": True,
}


def contents():
    return dict(session)


class Outage:
    """A session in a cluster that cannot be reached, and this host, which knows a part of it.

    Args:
        known: What this host knows: nothing, or how the session began.
    """

    def __init__(self, known) -> None:
        self.shop = shop = make_app(MSM_MIRROR=True)
        self.store, self.mirror = shop.state.store, shop.state.store.mirror
        if known == "nothing":
            self.store.mirror = None
        shop.do(lambda: session.update(name="anna"))
        self._wait()
        self.store.mirror = None
        if known != "all":
            shop.do(lambda: session.update(BEFORE))
        else:
            self.store.mirror = self.mirror
            shop.do(lambda: session.update(BEFORE))
            self._wait()
        self.sid = shop.token().sid
        shop.outage()
        shop.state.parts.cluster.mode.signal(ModeSignal.CLUSTER_DOWN)

    def _wait(self) -> None:
        assert self.shop.state.parts.backgrounds[-1].flush(60)

    def do(self, *actions):
        for action in actions:
            self.shop.do(action)
        assert self.shop.cookie() is None or self.shop.token().sid == self.sid

    def after(self):
        """Return what the session holds when the cluster is back."""
        shop = self.shop
        shop.heal(trusted=True)
        shop.state.parts.cluster.mode.signal(ModeSignal.CLUSTER_UP)
        for key in shop.state.parts.local.dirty_keys():
            assert shop.state.store.hand_over(key, 1e9)
        return shop.ask(contents)


@pytest.fixture(params=["nothing", "how it began"])
def outage(request):
    return Outage(request.param)


def if_not_there():
    if "cart" not in session:
        session["cart"] = []


def get_or():
    cart = session.get("cart") or []
    cart.append("pear")
    session["cart"] = cart


def try_it():
    try:
        session["cart"].append("pear")
    except KeyError:
        session["cart"] = ["pear"]


def look_at_all():
    if "cart" not in dict(session):
        session["cart"] = []


def pop_and_put():
    session["cart"] = [*session.pop("cart", []), "pear"]


HABITS = {
    "setdefault": lambda: session.setdefault("cart", []).append("pear"),
    "in": if_not_there,
    "get or": get_or,
    "try": try_it,
    "keys": look_at_all,
    "pop": pop_and_put,
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS.keys())
def test_a_host_that_knows_all_of_it_knows_what_is_absent(habit):
    outage = Outage("all")

    outage.do(habit)

    cart = outage.after()["cart"]
    assert cart == (["apple"] if habit in (if_not_there, look_at_all) else ["apple", "pear"])


def test_a_value_that_the_host_knew_and_two_requests_changed_is_a_change():
    outage = Outage("how it began")

    outage.do(
        lambda: session.update(name=session["name"] + "!"),
        lambda: session.update(name=session.setdefault("name", "guest") + "?"),
    )

    assert outage.after() == {**BEFORE, "name": "anna!?"}


def test_a_message_does_not_replace_those_that_wait(outage):
    outage.do(lambda: flash("saved"))
    assert outage.shop.ask(get_flashed_messages) == ["saved"]

    assert outage.after()["_flashes"] == BEFORE["_flashes"]


def test_a_new_csrf_token_does_not_replace_the_one_in_open_forms(outage):
    def token():
        if "csrf_token" not in session:
            session["csrf_token"] = "second"
        return session["csrf_token"]

    assert outage.shop.ask(token) == "second"
    assert outage.shop.ask(token) == "second"

    assert outage.after()["csrf_token"] == "first"


def test_a_page_that_looks_for_a_user_does_not_sign_the_user_out(outage):
    manager = flask_login.LoginManager()
    outage.shop.app._got_first_request = False
    manager.init_app(outage.shop.app)
    outage.shop.app._got_first_request = True
    manager.user_loader(lambda _: flask_login.UserMixin())

    for _ in range(2):
        assert not outage.shop.ask(lambda: flask_login.current_user.is_authenticated)

    after = outage.after()
    assert (after["_user_id"], after["_fresh"]) == ("7", True)
    assert outage.shop.ask(lambda: flask_login.current_user.is_authenticated)


def test_to_sign_in_anew_is_a_change_that_stays(outage):
    def sign_in():
        session["_user_id"] = "8"
        session["_fresh"] = True

    outage.do(sign_in)

    assert outage.after() == {**BEFORE, "_user_id": "8"}


def test_a_move_during_an_outage_leaves_the_rest_where_it_was(outage):
    cookie = outage.shop.cookie()

    outage.shop.do(lambda: (regenerate(), session.update(more=1)))

    assert outage.shop.cookie() != cookie
    outage.after()
    assert outage.shop.ask(lambda: session["more"]) == 1
    assert outage.shop.ask(contents, client=outage.shop.browser(cookie)) == BEFORE


def test_all_that_was_shown_in_an_outage_goes_along_to_a_new_id(outage):
    shop, old = outage.shop, outage.shop.cookie()
    outage.do(lambda: session.update(cart=["pear"], hint="new here"))
    outage.do(lambda: session.pop("hint"))
    shown = shop.ask(contents)

    shop.do(lambda: (session.update(user=7), regenerate()))

    assert shop.token().sid != shop.token(old).sid
    assert shop.ask(contents) == {**shown, "user": 7}
    outage.after()
    assert shop.ask(contents) == {**shown, "user": 7}
    assert not shop.ask(lambda: session._detached)
    assert "user" not in shop.ask(contents, client=shop.browser(old))


def test_a_copy_older_than_the_cookie_goes_along_to_a_new_id():
    shop = make_app(nodes=1, replicas=1)
    shop.do(lambda: session.update(cart=CART))
    (node,) = shop.nodes.values()
    old = dict(node.items)
    shop.do(lambda: session.update(name="anna"))
    node.items.update(old)
    shop.views.doubted.update(shop.nodes)

    shop.do(lambda: (session.update(user=7), regenerate()))

    assert shop.ask(contents) == {"cart": CART, "user": 7}


def test_a_move_that_nothing_takes_in_an_outage_leaves_the_cookie():
    shop = make_app(MSM_LOCAL_CACHE=NoLocalStorage())
    shop.do(lambda: session.update(BEFORE))
    sid = shop.token().sid
    shop.outage()

    shop.do(lambda: (session.update(user=7), regenerate()))

    assert shop.token().sid == sid
    shop.heal(trusted=True)
    assert shop.ask(contents) == BEFORE
