"""``session.modified`` sees changes inside values, for those who save only then."""

from __future__ import annotations

import collections

import pytest
from flask import session
from support.apps import FakeManager, make_app
from support.clock import FakeClock
from support.flask_values import Role
from support.policies import LOCK

from flask_msm.record.codec.msgpack import MsgpackCodec


DATA = {"cart": {"items": [1]}, "tags": ["a"], "name": "anna", "age": 7, "pair": (1, [2])}


class CountingCodec:
    """Counts what it encodes."""

    id = 7

    def __init__(self):
        self.inner = MsgpackCodec()
        self.encoded = []

    def dumps(self, value):
        self.encoded.append(value)
        return self.inner.dumps(value)

    def loads(self, data):
        return self.inner.loads(data)


def start(**config):
    codec = CountingCodec()
    shop = make_app(manager=FakeManager(clock=FakeClock(), codec=codec), **config)
    shop.do(lambda: session.update(DATA))
    codec.encoded.clear()
    shop.operations()
    return shop, codec


GETS = {
    "item": lambda s: s["cart"],
    "get": lambda s: s.get("cart"),
    "setdefault": lambda s: s.setdefault("cart", {}),
    "values": lambda s: next(iter(s.values())),
    "items": lambda s: dict(s.items())["cart"],
    "copy": lambda s: s.copy()["cart"],
    "dict": lambda s: dict(s)["cart"],
    "or": lambda s: (s | {})["cart"],
}


@pytest.mark.parametrize("case", GETS)
def test_a_change_inside_a_value_is_seen_however_it_was_got(case):
    shop, _ = start()

    def view():
        cart = GETS[case](session)
        assert not session.modified
        cart["items"].append(2)
        assert session.modified
        cart["items"].pop()
        assert not session.modified
        cart["items"].append(3)

    shop.do(view)

    assert shop.ask(lambda: session["cart"]) == {"items": [1, 3]}


def test_asking_does_not_load():
    shop, _ = start()

    assert shop.ask(lambda: session.modified) is False
    assert shop.operations() == []


def test_only_values_that_were_got_and_can_change_are_compared():
    shop, codec = start()

    def view():
        assert "cart" in session
        assert list(session.keys())
        assert (session["name"], session.get("age"), session.get("more")) == ("anna", 7, None)
        assert not session.modified
        assert codec.encoded == []
        assert (session["tags"], session["pair"]) == (["a"], (1, [2]))
        assert not session.modified
        assert codec.encoded == [["a"], (1, [2])]
        return True

    assert shop.ask(view)


def test_saving_encodes_each_value_once_also_when_modified_is_read():
    shop, codec = start()

    def view():
        session["cart"]["items"].append(2)
        codec.encoded.clear()

    shop.do(view)
    assert codec.encoded.count({"items": [1, 2]}) == 1

    codec.encoded.clear()
    shop.do(lambda: session["cart"])
    assert codec.encoded.count({"items": [1, 2]}) == 1


def test_a_suppressed_state_is_compared_with_from_then_on():
    shop, _ = start()

    def view():
        session["mine"] = mine = ["x"]
        cart = session["cart"]
        cart["items"].append(2)
        session.modified = False
        assert not session.modified
        mine.append("y")
        assert session.modified
        return True

    assert shop.ask(view)
    assert shop.ask(lambda: session["cart"]) == {"items": [1]}
    assert shop.ask(lambda: session["mine"]) == ["x", "y"]


def test_a_value_that_cannot_be_stored_counts_as_changed():
    shop, _ = start(MSM_SERIALIZATION_POLICY="local")

    def view():
        session["tags"].append(LOCK)
        return session.modified

    assert shop.ask(view)
    # It is kept here, and again it cannot be compared.
    assert shop.ask(lambda: bool(session["tags"]) and session.modified)


def test_a_codec_that_fails_does_not_make_modified_raise():
    shop, codec = start()

    def view():
        tags = session["tags"]
        session.modified = False
        codec.dumps = lambda value: 1 / 0
        try:
            return bool(tags) and session.modified
        finally:
            del codec.dumps

    assert shop.ask(view)


def test_attributes_that_are_not_stored_as_they_are_do_not_count():
    shop, _ = start(MSM_BLACKLIST=["tags"], MSM_ATTRIBUTE_FILTER="^(cart|tags|pair)$")

    def view():
        session["local"] = ["a"]
        session.modified = False
        session["local"].append("b")
        assert session["tags"] is None
        assert not session.modified
        session["pair"][1].append(3)
        return session.modified

    assert shop.ask(view)


def test_values_of_names_that_are_no_text_and_of_other_types_are_compared_as_they_are_stored():
    shop = make_app()

    def view():
        session[42] = counter = collections.Counter(a=1)
        session[Role.ADMIN] = [1]
        session.modified = False
        assert not session.modified
        counter["b"] = 1
        return session.modified

    assert shop.ask(view)
    assert shop.ask(lambda: dict(session)) == {"42": {"a": 1, "b": 1}}


class TwoForms(MsgpackCodec):
    """Reads two forms, of which it writes one."""

    writes_second = False

    def dumps(self, value):
        return b"\0" * self.writes_second + super().dumps(value)

    def loads(self, data):
        return super().loads(data[1:] if data[:1] == b"\0" and len(data) > 1 else data)


@pytest.fixture
def in_the_old_form(monkeypatch):
    """Return an application whose codec writes another form since a session was stored."""
    shop = make_app(manager=FakeManager(clock=FakeClock(), codec=TwoForms()))
    shop.do(lambda: session.update(DATA))
    shop.operations()
    monkeypatch.setattr(TwoForms, "writes_second", True)
    return shop


def test_a_value_in_the_stored_form_of_before_a_deploy_is_not_written_when_it_is_read(
    in_the_old_form,
):
    shop = in_the_old_form

    def view():
        return dict(session.items()) == DATA, session.modified

    assert shop.ask(view) == (True, False)
    assert not [name for name in shop.operations() if name != "gets"]


def test_a_change_inside_a_value_in_the_form_of_before_a_deploy_is_stored(in_the_old_form):
    shop = in_the_old_form

    shop.do(lambda: session["cart"]["items"].append(2))

    assert shop.ask(lambda: dict(session)) == {**DATA, "cart": {"items": [1, 2]}}
