"""Names that are no text are stored as JSON writes them, and compared under that text."""

from __future__ import annotations

import math

import pytest
from flask import Flask, session
from support.apps import make_app
from support.backing import Backing
from support.flask_values import REFUSED, Level, Loud, Role, Text, Theme, from_flask

from flask_msm import SerializationError
from flask_msm.record.codec.names import why_refused
from flask_msm.sessions.session import ALL, Session


def contents():
    return dict(session)


NAMES = {
    "int": 42,
    "long": 2**70,
    "float": 1.5,
    "nan": math.nan,
    "inf": math.inf,
    "true": True,
    "none": None,
    "int enum": Level.HIGH,
    "str enum": Role.ADMIN,
    "old str enum": Theme.DARK,
    "str subclass": Text("é"),
    "surrogate": "\ud800",
    "tuple": (1,),
    "bytes": b"a",
    "frozenset": frozenset(),
    "too long": 10**5000,
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_is_stored_as_flasks_own_session_writes_it(case):
    name = NAMES[case]
    shop = make_app()
    # A session with this one name: Flask cannot sort names of several kinds.
    theirs = from_flask(Flask(__name__), {name: "value"}, alone=True)

    if theirs is REFUSED:
        with pytest.raises(SerializationError, match="use a text") as raised:
            shop.do(lambda: session.update({name: "value"}))
        assert raised.value.attribute is None
    else:
        shop.do(lambda: session.update({name: "value"}))
        assert shop.ask(contents) == theirs


def test_names_of_several_kinds_are_there_together():
    shop = make_app()
    shop.do(lambda: session.update({"a": 1, 42: 2, None: 3, 1.5: 4}))

    assert shop.ask(contents) == {"a": 1, "42": 2, "null": 3, "1.5": 4}
    with pytest.raises(TypeError):
        Flask(__name__).json.dumps({"a": 1, 42: 2})


def test_the_request_that_set_a_name_finds_it_as_it_set_it():
    shop = make_app()

    def view():
        session[42] = ["a"]
        session.save()
        session[42].append("b")
        assert "42" not in session
        session.save()
        del session[42]
        session[43] = 1

    shop.do(view)

    assert shop.ask(contents) == {"43": 1}


def test_a_name_that_is_set_to_what_it_was_is_no_change():
    shop = make_app()
    shop.do(lambda: session.update({42: ["a"]}))
    version = shop.token().version

    def again():
        session[42] = session.pop("42")

    shop.do(again)

    assert shop.token().version == version
    assert shop.ask(contents) == {"42": ["a"]}


@pytest.mark.parametrize("names", [(42, "42"), ("42", 42), (True, "true"), (Loud("a"), "a")])
def test_a_name_whose_text_is_a_name_already_is_refused(names):
    shop = make_app()

    with pytest.raises(SerializationError, match="the name of another attribute") as raised:
        shop.do(lambda: session.update(dict.fromkeys(names, 1)))

    assert "register the type" not in str(raised.value)
    assert shop.all_keys() == set()


def test_a_name_that_was_stored_as_text_is_refused_beside_it():
    """Flask cannot store both either; which of them is meant is for the application to decide."""
    shop = make_app()
    shop.do(lambda: session.update({42: "old"}))

    with pytest.raises(SerializationError):
        shop.do(lambda: session.update({42: "new"}))
    assert shop.ask(contents) == {"42": "old"}


@pytest.mark.parametrize("policy", ["local", "blacklist", "stop"])
def test_a_policy_has_nothing_to_do_with_names_that_have_a_text(policy):
    shop = make_app(MSM_SERIALIZATION_POLICY=policy)
    shop.do(lambda: session.update({42: 1}))

    assert shop.ask(contents) == {"42": 1}
    assert shop.state.repository.serialization.counts.kept_local == 0


def test_filter_and_blacklist_know_a_name_by_its_text():
    shop = make_app(MSM_ATTRIBUTE_FILTER="^4", MSM_BLACKLIST=["41"])
    shop.do(lambda: session.update({41: "pinned", 42: "stored", 5: "here"}))

    assert set(shop.stored(shop.key()).popitem()[1].attributes.alive()) == {"41", "42"}
    assert shop.ask(contents)["41"] is None


def test_an_unserializable_value_under_such_a_name_is_kept_under_its_text():
    shop = make_app(MSM_SERIALIZATION_POLICY="local")
    value = object()
    shop.do(lambda: session.update({42: value}))

    assert shop.ask(lambda: session["42"]) is value


def test_a_default_under_such_a_name_in_a_detached_session_fills_a_gap_only():
    shop = make_app()
    shop.do(lambda: session.update({42: "first"}))
    for node in shop.nodes.values():
        node.fail()
    visit = shop.under_way()
    assert visit.session.setdefault(42, "guess") == "guess"
    assert visit.session._detached
    shop.heal()
    visit.end()

    assert shop.ask(contents) == {"42": "first"}


def test_a_detached_session_remembers_reported_names_as_text():
    detached = Session(backing=Backing({}, detached=True))
    detached[1] = "one"
    assert list(detached) == [1]
    assert detached.get(2) is None

    assert detached._told_absent == {ALL, "2"}
    assert detached._shown == {"1"}


def test_a_session_is_described_with_the_texts_of_its_names():
    shop = make_app()

    def describe():
        session.update({42: 1, "a": 2})
        return shop.manager.describe(session).attributes

    assert shop.ask(describe) == ("42", "a")


def test_with_strict_types_a_name_must_be_a_text():
    shop = make_app(MSM_STRICT_TYPES=True)

    for name in (42, None, Text("a"), Role.ADMIN, (1,)):
        with pytest.raises(SerializationError) as raised:
            shop.do(lambda name=name: session.update({name: 1}))
        assert raised.value.reason.endswith("use a text")


@pytest.mark.parametrize(
    ("name", "others", "why"),
    [
        ((1,), (), "a name must be a text, a number, a bool or None"),
        (1, (1, "1"), "the text that stands for it is the name of another attribute"),
        (1, (1, "2"), "names must be str"),
    ],
)
def test_a_refusal_of_a_name_says_what_to_use(name, others, why):
    refusal = why_refused(name, others)

    assert refusal.startswith(why)
    assert "use a text" in refusal
