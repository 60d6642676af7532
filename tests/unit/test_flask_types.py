"""What Flask's own session takes is taken, and comes back at least as exact as from there."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import json
import threading
from pathlib import Path

import pytest
from flask import Flask, session
from flask.json.provider import DefaultJSONProvider, JSONProvider
from markupsafe import Markup
from support.apps import FakeManager, make_app
from support.clock import FakeClock
from support.codec_values import SECRET, assert_silent, codec, numbered, refusal
from support.flask_values import (
    CASES,
    REFUSED,
    Colour,
    Day,
    Item,
    Lazy,
    Loud,
    Measure,
    Moment,
    Point,
    Role,
    Text,
    Token,
    alike,
    from_flask,
    table,
)

from flask_msm import SerializationError
from flask_msm.record.codec.msgpack import MsgpackCodec


def comes_back(value, **options):
    """Return what the next request gets of *value*."""
    shop = make_app(**options)
    try:
        shop.do(lambda: session.update(name=value))
    except SerializationError:
        return REFUSED
    return shop.ask(lambda: session["name"])


def exact(value, out):
    """Return whether *out* has all that *value* has."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    return out == value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_value_that_flask_takes_comes_back_at_least_as_exact(case):
    theirs = from_flask(Flask(__name__), case.value)
    ours = comes_back(case.value)

    assert alike(ours, case.out)
    if theirs is not REFUSED:
        assert alike(ours, theirs) or exact(case.value, ours)


def test_the_table_in_the_documentation_is_what_comes_back():
    app = Flask(__name__)
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    rows = table([(case, comes_back(case.value), from_flask(app, case.value)) for case in CASES])
    shown = page.split("|---|---|---|\n")[1].split("\n\n")[0].splitlines()

    assert shown == rows, "\n".join(["the table in docs/python.md should be", *rows])


TAKEN = [
    case for case in CASES if case.out is not REFUSED and not dataclasses.is_dataclass(case.value)
]


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.label)
def test_the_stored_bytes_are_those_the_version_before_writes_for_the_plain_value(case):
    assert codec.dumps(case.value) == codec.dumps(case.out)


def test_the_request_that_set_a_value_keeps_its_own_object_and_a_change_inside_is_found():
    shop = make_app()

    def sign_in():
        token = Token(scope=["a"])
        session["token"] = token
        session.save()
        token["scope"].append("b")
        token.refreshed = True
        assert session["token"] is token

    shop.do(sign_in)

    assert shop.ask(lambda: session["token"]) == {"scope": ["a", "b"]}


# -- what the JSON provider of the application knows -----------------------------------------------


class Provider(DefaultJSONProvider):
    @staticmethod
    def default(value):
        if isinstance(value, collections.deque):
            return {"items": list(value), "first": Item("a"), "by": Role.ADMIN}
        if isinstance(value, Colour):
            return value.name
        return DefaultJSONProvider.default(value)


class OtherProvider(JSONProvider):
    """As one that is made with another library: without ``default``."""

    def dumps(self, obj, **kwargs):
        return json.dumps(obj, default=repr)

    def loads(self, s, **kwargs):
        return json.loads(s)


def with_json(provider):
    # After init_app, as an application may do.
    return lambda app: setattr(app, "json", provider(app))


def test_a_value_that_flask_has_no_tag_for_goes_to_the_json_provider():
    app = Flask(__name__)
    app.json = Provider(app)
    value = [collections.deque([1, (2,)]), Colour.RED]
    back = comes_back(value, setup=with_json(Provider))

    assert from_flask(app, value) == [
        {"items": [1, [2]], "first": {"sku": "a", "tags": []}, "by": "admin"},
        "RED",
    ]
    assert back == [{"items": [1, (2,)], "first": {"sku": "a", "tags": []}, "by": "admin"}, "RED"]


def test_a_json_provider_without_default_is_asked_as_a_whole():
    app = Flask(__name__)
    app.json = OtherProvider(app)
    value = {"a": 1j}

    assert from_flask(app, value) == {"a": "1j"}
    assert comes_back(value, setup=with_json(OtherProvider)) == {"a": "1j"}


def test_a_value_that_the_codec_takes_is_not_passed_to_the_json_provider():
    class Broken(DefaultJSONProvider):
        @staticmethod
        def default(value):
            raise AssertionError

    value = [case.value for case in TAKEN]

    assert comes_back(value, setup=with_json(Broken)) == [case.out for case in TAKEN]


def test_one_manager_of_two_applications_asks_the_provider_of_each():
    manager = FakeManager(clock=FakeClock())
    one = make_app(manager=manager, setup=with_json(Provider), name="one")
    two = make_app(manager=manager, name="two")
    one.do(lambda: session.update(colour=Colour.RED))

    assert one.ask(lambda: session["colour"]) == "RED"
    with pytest.raises(SerializationError):
        two.do(lambda: session.update(colour=Colour.RED))


def test_a_type_registered_after_the_start_is_known():
    registered = MsgpackCodec()
    shop = make_app(manager=FakeManager(clock=FakeClock(), codec=registered))
    registered.register(Colour, "colour", lambda colour: colour.value, Colour)
    shop.do(lambda: session.update(colour=Colour.RED))

    assert shop.ask(lambda: session["colour"]) is Colour.RED


def failing_with(error):
    def fail(*_):
        raise error

    return fail


DEFAULTS = {
    "nothing": (failing_with(TypeError(SECRET)), "not a type the codec takes"),
    "error": (failing_with(ValueError(SECRET)), "provider raised ValueError"),
    "the same": (lambda value: value, "200 containers"),
    "around it": (lambda value: [value], "200 containers"),
    "something else": (lambda value: {"a": threading.Lock()}, "200 containers"),
}


@pytest.mark.parametrize("case", DEFAULTS)
def test_a_json_provider_that_has_nothing_is_an_error_without_the_value(case):
    default, reason = DEFAULTS[case]
    error = refusal({"x": 1j}, MsgpackCodec().bound(strict=False, default=default))

    assert error.path.startswith(".x")
    assert reason in error.reason
    assert_silent(error)


# -- classes that are not what they seem -----------------------------------------------------------


failing = failing_with(LookupError(SECRET))


FAILING = {
    "items raises": lambda: type("Mapping", (dict,), {"items": failing})(a=1),
    "items are no pairs": lambda: type("Items", (dict,), {"items": lambda self: [1, 2]})(a=1),
    "list raises": lambda: type("Rows", (list,), {"__iter__": failing})(),
    "tuple raises": lambda: type("Pair", (tuple,), {"__iter__": failing})(),
    "html raises": lambda: type("Html", (), {"__html__": failing})(),
    "getattr raises": lambda: type("Asked", (), {"__getattr__": failing})(),
    "class raises": lambda: type("Proxy", (), {"__class__": property(failing)})(),
    "class with __html__": lambda: Markup,
}


@pytest.mark.parametrize("case", FAILING)
def test_a_class_whose_methods_fail_is_refused_without_the_value_in_the_error(case):
    error = refusal([FAILING[case]()])

    assert error.path == "[0]"
    assert_silent(error)


IN_SETS = [{Lazy()}, {Point(1, Lazy())}, {Token}, frozenset({Colour.RED})]


@pytest.mark.parametrize("value", IN_SETS, ids=numbered(IN_SETS))
def test_a_set_holds_only_what_compares_as_its_plain_value(value):
    """Two items must not become one, and each must be hashable when it comes back."""
    assert refusal(value).path.startswith("{…}")


def test_items_in_registered_objects_in_a_set_are_taken():
    registered = MsgpackCodec()
    registered.register(Colour, "colour", lambda _: Token(a=Lazy()), lambda _: Colour.RED)

    assert registered.loads(registered.dumps({Colour.RED})) == {Colour.RED}
    assert "{…}" in refusal([{Colour.RED, Lazy()}], registered).path


ONE_KEY = [{Loud("a"): 1, Loud("a"): 2}, {Loud("a"): 1, "a": 2}]


@pytest.mark.parametrize("value", ONE_KEY, ids=numbered(ONE_KEY))
def test_keys_that_would_become_one_are_refused(value):
    assert "as one" in refusal(value).reason


def test_keys_come_back_as_what_they_are_plain():
    value = {Text("é"): 1, Text("\ud800"): 2, Measure(1.5): 3, Role.ADMIN: 4, 5: 6}

    assert alike(codec.loads(codec.dumps(value)), {"é": 1, "\ud800": 2, 1.5: 3, "admin": 4, 5: 6})


def test_dates_are_taken_while_a_test_stops_the_clock(monkeypatch):
    """As freezegun does: the classes of the standard library are subclasses meanwhile."""
    moment, day = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), dt.date(2026, 1, 2)
    written = codec.dumps([moment, day])
    monkeypatch.setattr(dt, "datetime", Moment)
    monkeypatch.setattr(dt, "date", Day)
    stopped = [Moment(2026, 1, 2, 3, 4, tzinfo=dt.UTC), Day(2026, 1, 2)]

    assert codec.dumps(stopped) == written
    assert codec.loads(written) == stopped
    assert codec.dumps(codec.loads(written)) == written


# -- MSM_STRICT_TYPES ------------------------------------------------------------------------------

CHANGED = [case for case in CASES if type(case.out) is not type(case.value)]


@pytest.mark.parametrize("case", CHANGED, ids=lambda case: case.label)
def test_strict_types_refuse_what_would_come_back_as_another_type(case):
    assert comes_back(case.value, MSM_STRICT_TYPES=True) is REFUSED
    assert comes_back([case.value], MSM_STRICT_TYPES=True) is REFUSED


KEPT = [case for case in CASES if case.out is case.value]


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.label)
def test_strict_types_take_what_comes_back_as_it_is(case):
    assert alike(comes_back(case.value, MSM_STRICT_TYPES=True), case.value)


def test_the_error_of_a_refused_subclass_names_what_to_store():
    shop = make_app(MSM_STRICT_TYPES=True)

    with pytest.raises(SerializationError) as raised:
        shop.do(lambda: session.update(token=Token(a=1)))

    assert raised.value.reason == (
        "a subclass of dict, which would come back as plain dict; store dict(value)"
    )
