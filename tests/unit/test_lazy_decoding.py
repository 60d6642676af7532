"""What is loaded is decoded when it is asked for, and nothing but the clock can tell.

A session of which all attributes are decoded at once does the same, and is the oracle.
"""

from __future__ import annotations

import copy
import json
import pickle
import threading

import pytest
from flask import session
from hypothesis import example, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from support.apps import FakeManager, make_app

from flask_msm import read_only
from flask_msm.record.codec import MsgpackCodec
from flask_msm.sessions.pins import Pin


class Text(str):
    """A key that equals a name without being a ``str``."""

    __slots__ = ()


class Counting:
    """A codec that counts what it decodes and encodes, and cannot decode one value."""

    id = 77

    def __init__(self) -> None:
        self.decoded = self.encoded = 0
        self._inner = MsgpackCodec()

    def dumps(self, value):
        self.encoded += 1
        return self._inner.dumps(value)

    def loads(self, data):
        self.decoded += 1
        value = self._inner.loads(data)
        if value == "cannot be decoded":
            raise ValueError(value)
        return value


def make_shop(setup=None):
    codec = Counting()
    shop = make_app(manager=FakeManager(codec=codec), setup=setup)
    shop.codec = codec
    return shop


def stored(shop):
    """Return what the first node has of the session, in the order of its attributes."""
    record = next(iter(shop.records().values()))
    return {name: raw for name, (_, raw) in record.attributes.entries.items()}


@read_only
def looks():
    return str(session["a7"]["n"])


# -- what is decoded -----------------------------------------------------------------------------


@pytest.fixture
def shop():
    shop = make_shop(lambda app: app.add_url_rule("/looks", "looks", looks))
    shop.do(lambda: session.update({f"a{n}": {"n": n} for n in range(300)}))
    shop.codec.decoded = shop.codec.encoded = 0
    return shop


def test_of_many_attributes_only_the_one_that_is_asked_for_is_decoded_and_compared(shop):
    assert shop.ask(lambda: session["a7"]) == {"n": 7}
    assert (shop.codec.decoded, shop.codec.encoded) == (1, 1)


@pytest.mark.parametrize(
    "look", [lambda: session.get("none"), lambda: "none" in session], ids=["get", "in"]
)
def test_what_is_not_there_is_found_without_decoding(shop, look):
    assert not shop.ask(look)
    assert (shop.codec.decoded, shop.codec.encoded) == (0, 0)


def test_a_value_that_is_set_unseen_is_encoded_and_nothing_is_decoded(shop):
    shop.do(lambda: session.update(a7="seven"))

    assert (shop.codec.decoded, shop.codec.encoded) == (0, 1)
    assert shop.ask(lambda: (session["a7"], session["a8"])) == ("seven", {"n": 8})


def test_what_is_set_to_what_is_stored_is_not_written(shop):
    shop.operations()

    shop.do(lambda: session.update(a7={"n": 7}))

    assert shop.operations() == ["gets"]


def test_what_is_pinned_while_a_request_runs_is_not_stored_any_more(shop):
    pins = shop.state.repository.serialization.pins

    shop.do(lambda: (session["a7"], pins.set_chosen([Pin("a8")]), session.update(a8="secret")))

    assert shop.ask(lambda: session["a8"]) is None


def test_the_first_look_at_all_decodes_each_attribute_once(shop):
    assert shop.ask(lambda: (session["a7"], len(session), dict(session), session["a8"]))[1] == 300
    assert shop.codec.decoded == 300


def test_a_read_only_view_compares_only_what_it_looked_at(shop):
    assert shop.client.get("/looks").text == "7"
    assert (shop.codec.decoded, shop.codec.encoded) == (1, 1)


def test_the_storage_is_never_a_part_without_a_mark(shop):
    def look():
        session["a7"], session["new"] = session["a8"], 1
        return list(dict.keys(session._get_current_object()))

    seen = shop.ask(look)
    assert [type(name) for name in seen if type(name) is not str] != []


def test_threads_that_look_at_one_session_see_all_of_it(shop):
    def look():
        inner, found, meet = session._get_current_object(), [], threading.Barrier(8)

        def run(number):
            meet.wait()
            found.append([inner[f"a{n}"]["n"] for n in range(300)])
            found.append(sorted(inner) if number % 2 else [inner.get("a3")])

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    found = shop.ask(look)
    assert len(found) == 16
    assert all(
        seen in (list(range(300)), sorted(f"a{n}" for n in range(300)), [{"n": 3}])
        for seen in found
    )


# -- what cannot be decoded ----------------------------------------------------------------------


@pytest.fixture
def damaged():
    shop = make_shop()
    shop.do(lambda: session.update(good=1, bad="cannot be decoded", last=2))
    return shop


@pytest.mark.parametrize(
    "look",
    [
        lambda: (session.get("bad"), session.get("bad")),
        lambda: ("bad" in session, "bad" in session),
        lambda: (session.get("bad"), list(session)),
        lambda: (list(session), session.pop("bad", None)),
    ],
    ids=["get", "in", "get and list", "list and pop"],
)
def test_what_cannot_be_decoded_is_not_there_is_named_once_and_stays(damaged, look, caplog):
    before = stored(damaged)

    damaged.do(look)

    assert caplog.text.count("session attribute 'bad' cannot be decoded") == 1
    damaged.do(lambda: session.update(good=5))
    assert stored(damaged)["bad"] == before["bad"]


def test_what_cannot_be_decoded_and_is_not_asked_for_is_not_named(damaged, caplog):
    assert damaged.ask(lambda: session["good"]) == 1
    assert "cannot be decoded" not in caplog.text


# -- as if all were decoded at once --------------------------------------------------------------


VALUES = st.sampled_from(
    [0, 1, True, 1.0, None, "", "1", b"1", (1,), [1], {}, {"x": [1, {"y": 2}]}, {1, 2}]
)
NAMES = st.sampled_from(["a", "b", "bad", "_permanent", "1", "new"])
KEYS = st.one_of(NAMES, st.sampled_from([1, None, Text("a"), Text("new")]))


def mutate(inner, key):
    """Change what is inside of a value."""
    value = inner[key]
    if isinstance(value, list):
        value.append(2)
    elif isinstance(value, dict):
        value.setdefault("x", []).append(3)
    elif isinstance(value, set):
        value.add(9)
    return value


def while_iterating(inner, key, value):
    for _ in inner:
        inner[key] = value


def suppress(inner):
    inner.modified = False


def make_permanent(inner, value):
    inner.permanent = value


def act(name, *arguments):
    return st.tuples(st.just(name), *arguments)


ACTS = {
    "getitem": lambda s, k: s[k],
    "get": lambda s, k, v: s.get(k, v),
    "in": lambda s, k: k in s,
    "set": lambda s, k, v: s.__setitem__(k, v),
    "set what it is": lambda s, k: s.__setitem__(k, s[k]),
    "mutate": mutate,
    "del": lambda s, k: s.__delitem__(k),
    "pop": lambda s, k: s.pop(k),
    "pop or": lambda s, k, v: s.pop(k, v),
    "setdefault": lambda s, k, v: s.setdefault(k, v),
    "update": lambda s, k, v: s.update({k: v}, d=v),
    "ior": lambda s, k, v: s.__ior__([(k, v)]) and None,
    "or": lambda s, k, v: s | {k: v},
    "ror": lambda s, k, v: {k: v} | s,
    "len": len,
    "bool": bool,
    "list": list,
    "reversed": lambda s: list(reversed(s)),
    "keys": lambda s: list(s.keys()),
    "values": lambda s: list(s.values()),
    "items": lambda s: list(s.items()),
    "mutate by values": lambda s: [v.append(4) for v in s.values() if isinstance(v, list)],
    "equal": lambda s, k, v: (s == {k: v}, s != {k: v}, {k: v} == s),
    "equal to itself": lambda s: s == s.copy(),
    "dict": dict,
    "unpacked": lambda s: {**s},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "json": lambda s: json.dumps(s, default=repr),
    "repr": repr,
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
    "while iterating": while_iterating,
    "permanent": lambda s: s.permanent,
    "make permanent": make_permanent,
    "modified": lambda s: s.modified,
    "suppress": suppress,
    "save": lambda s: s.save(),
    "reload": lambda s: s.reload(),
    "regenerate": lambda s: s.regenerate(),
    "destroy": lambda s: s.destroy(),
}
TAKES = {
    **dict.fromkeys(("getitem", "in", "set what it is", "mutate", "del", "pop"), (KEYS,)),
    **dict.fromkeys(
        ("get", "set", "pop or", "setdefault", "update", "ior", "or", "ror", "equal"),
        (KEYS, VALUES),
    ),
    "while iterating": (KEYS, VALUES),
    "make permanent": (st.booleans(),),
}
WALKS = st.lists(
    st.one_of(act(name, *TAKES.get(name, ())) for name in ACTS), min_size=1, max_size=10
)
CONTENTS = st.dictionaries(NAMES, VALUES, max_size=6).map(
    lambda values: {**values, **({"bad": "cannot be decoded"} if "bad" in values else {})}
)


def played(shop, contents, walk, *, eager):
    """Return all that can be seen of a session with *contents* to which *walk* happens."""
    shop.client = shop.browser()
    shop.do(lambda: session.update(copy.deepcopy(contents)))
    seen = []

    def view():
        inner = session._get_current_object()
        for name, *arguments in copy.deepcopy(walk):
            inner._load()
            if eager:
                inner._peek()
            try:
                seen.append((name, copy.deepcopy(ACTS[name](inner, *arguments))))
            except Exception as error:  # noqa: BLE001 - it is compared
                seen.append((name, type(error), str(error)))
        if eager:
            inner._peek()
        seen.append(inner.modified)

    response = None
    try:
        response = shop.do(view)
    except Exception as error:  # noqa: BLE001 - as above
        seen.append((type(error), str(error)))
    seen.append(response is not None and "Set-Cookie" in response.headers)
    seen.append(shop.ask(lambda: list(session.items())) if shop.cookie() else None)
    if shop.cookie():
        seen.append(stored(shop))
    return repr(seen)


SHOPS = []


@of_hypothesis(max_examples=150, deadline=None)
@given(CONTENTS, WALKS)
@example({"a": "x", "b": [1]}, [("set", "a", None), ("getitem", "b")])
@example({"a": 1, "b": 2}, [("set", "new", 1), ("pop", "a"), ("set", "a", 1), ("list",)])
@example({"a": 1, "b": 2}, [("pop", "a"), ("in", "a")])
@example({"a": 1, "b": 2}, [("del", "a"), ("getitem", "a")])
@example({"a": 1, "bad": "cannot be decoded"}, [("set", "bad", 1), ("list",)])
@example({"a": [1]}, [("mutate", "a"), ("save",), ("mutate", "a")])
@example({"1": 1}, [("set", 1, 2), ("getitem", "1")])
@example({"a": 1}, [("set", Text("a"), 2), ("getitem", "a")])
def test_a_session_decoded_bit_by_bit_is_one_that_is_decoded_at_once(contents, walk):
    if not SHOPS:
        SHOPS.extend((make_shop(), make_shop()))
    lazy, eager = SHOPS

    assert played(lazy, contents, walk, eager=False) == played(eager, contents, walk, eager=True)
