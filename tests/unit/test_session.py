"""The dictionary an application sees: lazy, honest to every reader, loaded once."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import weakref
from pathlib import Path

import pytest
from flask import render_template_string
from flask.sessions import SecureCookieSession, SessionMixin
from support.apps import make_app
from support.backing import DATA, SID, Backing

from flask_msm.sessions.session import Session


@pytest.fixture
def backing():
    return Backing()


@pytest.fixture
def session(backing):
    return Session(backing=backing)


def by_jinja(session):
    app = make_app().app
    with app.test_request_context():
        return json.loads(render_template_string("{{ s | tojson }}", s=session))


def by_keywords(session):
    def view(**values):
        return values

    return view(**session)


def updated(session):
    plain = {}
    plain.update(session)
    return plain


READERS = {
    "dict": dict,
    "unpacking": lambda s: {**s},
    "keywords": by_keywords,
    "items": lambda s: dict(s.items()),
    "keys": lambda s: {k: DATA[k] for k in s.keys()},  # noqa: SIM118
    "zip of views": lambda s: dict(zip(s.keys(), s.values(), strict=True)),
    "copy": lambda s: s.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "pickle protocol 0": lambda s: pickle.loads(pickle.dumps(s, 0)),
    "json": lambda s: json.loads(json.dumps(s)),
    "json with indent": lambda s: json.loads(json.dumps(s, indent=1, sort_keys=True)),
    "nested json": lambda s: json.loads(json.dumps([s]))[0],
    "jinja tojson": by_jinja,
    "or": lambda s: s | {},
    "reflected or": lambda s: {} | s,
    "update of a dict": updated,
    "comprehension": lambda s: {k: s[k] for k in s},
    "format_map": lambda s: {**DATA, "name": "{name}".format_map(s)},
    "percent": lambda s: {**DATA, "name": "%(name)s" % s},  # noqa: UP031
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_every_reader_sees_the_stored_attributes(session, backing, reader):
    assert backing.loads == 0

    assert reader(session) == DATA
    assert backing.loads == 1


QUESTIONS = {
    "getitem": (lambda s: s["name"], "anna"),
    "get": (lambda s: s.get("name"), "anna"),
    "get of nothing": (lambda s: s.get("x", 7), 7),
    "in": (lambda s: "name" in s, True),
    "not in": (lambda s: "x" in s, False),
    "len": (len, 2),
    "bool": (bool, True),
    "list": (list, ["name", "cart"]),
    "sorted": (sorted, ["cart", "name"]),
    "reversed": (lambda s: list(reversed(s)), ["cart", "name"]),
    "iter": (lambda s: next(iter(s)), "name"),
    "eq": (lambda s: s == DATA, True),
    "reflected eq": (lambda s: DATA == s, True),  # noqa: SIM300
    "ne": (lambda s: s != DATA, False),
    "unequal": (lambda s: s != {}, True),
    "eq of sessions": (lambda s: s == Session(backing=Backing()), True),
    "new": (lambda s: s.new, False),
    "pop": (lambda s: s.pop("name"), "anna"),
    "popitem": (lambda s: s.popitem(), ("cart", DATA["cart"])),
    "setdefault": (lambda s: s.setdefault("name", "x"), "anna"),
}


@pytest.mark.parametrize(("question", "answer"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_every_question_is_answered_from_what_is_stored(session, backing, question, answer):
    assert question(session) == answer
    assert backing.loads == 1


CHANGES = {
    "setitem": lambda s: s.__setitem__("name", "eve"),
    "delitem": lambda s: s.__delitem__("name"),
    "pop": lambda s: s.pop("name"),
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
    "update": lambda s: s.update(name="eve"),
    "ior": lambda s: s.__ior__({"name": "eve"}),
    "setdefault": lambda s: s.setdefault("more", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_loads_first_and_leaves_no_trace_of_the_placeholder(session, change):
    plain = copy.deepcopy(DATA)
    change(plain)

    change(session)

    assert dict.copy(session) == plain


@pytest.mark.parametrize(
    "change",
    [lambda s: s.update(5), lambda s: s.update([1]), lambda s: s.__setitem__([], 1)],
    ids=["no mapping", "no pairs", "no key"],
)
def test_a_change_that_raises_is_none(session, change):
    with pytest.raises(TypeError):
        change(session)

    assert not session.modified
    assert session == DATA


def test_a_template_shows_what_the_application_stored_under_any_name_but_a_documented_one(session):
    documented = {"sid", "ref", "is_local", "save", "reload", "regenerate", "destroy"}
    flasks = set(dir(SecureCookieSession)) | documented
    names = {name.lstrip("_") for name in dir(session)} - flasks
    session.update(dict.fromkeys(names, "of the application"))

    with make_app().app.test_request_context():
        for name in names:
            text = render_template_string("{{ session." + name + " }}", session=session)
            assert text == "of the application", name
    page = Path(__file__).parents[2] / "docs" / "python.md"
    assert all(f"`{name}`" in page.read_text(encoding="utf-8") for name in documented)


def test_no_method_of_dict_is_left_to_dict():
    own = set(vars(Session))
    harmless = {
        "__class_getitem__", "__delattr__", "__dir__", "__doc__", "__format__", "__ge__",
        "__getattribute__", "__getstate__", "__gt__", "__init_subclass__", "__le__", "__lt__",
        "__new__", "__reduce__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
        "__class__", "fromkeys",
    }  # fmt: skip

    assert set(dir(dict)) - own - harmless == set()


def test_code_that_reads_the_storage_itself_never_sees_an_empty_session(session):
    stored = dict(dict.items(session))

    assert len(stored) == 1
    with pytest.raises(TypeError):
        json.dumps(stored)


def test_repr_neither_loads_nor_shows_the_placeholder_or_the_sid(session, backing):
    before = repr(session)

    assert backing.loads == 0
    assert "not loaded" in before
    session._load()
    assert "'name': 'anna'" in repr(session)
    assert SID not in before + repr(session) + str(session) + f"{session}"


@pytest.mark.parametrize("how", ["copy", "copy.copy", "deepcopy", "pickle", "pickle protocol 0"])
def test_duplicates_are_plain_dictionaries_without_the_sid(session, how):
    result = READERS[how](session)

    assert type(result) is dict
    assert SID.encode() not in pickle.dumps(session)


def test_a_deep_copy_shares_no_object_with_the_session(session):
    copy.deepcopy(session)["cart"]["items"].append(3)

    assert session["cart"] == DATA["cart"]


def test_merging_gives_a_plain_dictionary_and_leaves_the_session_alone(session):
    merged, reflected = session | {"name": "eve"}, {"name": "eve"} | session

    assert (type(merged), type(reflected)) == (dict, dict)
    assert (merged["name"], reflected["name"]) == ("eve", "anna")
    assert not session.modified
    with pytest.raises(TypeError):
        session | 5


def test_a_session_cannot_be_hashed(session):
    with pytest.raises(TypeError):
        hash(session)


def test_a_session_is_a_session_mixin_of_flask(session):
    assert isinstance(session, SessionMixin)


# -- loading -------------------------------------------------------------------------------------


def test_what_a_library_keeps_on_the_session_itself_stays_for_the_request(session):
    session.of_a_library = 1

    assert session.of_a_library == 1
    assert weakref.ref(session)() is session
    assert session == DATA


def test_two_threads_of_one_request_load_once(session, backing):
    entered, go_on = threading.Event(), threading.Event()
    load = backing.load

    def slowly():
        entered.set()
        assert go_on.wait(60)
        return load()

    backing.load = slowly
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(dict(session))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)

    assert backing.loads == 1
    assert seen == [DATA] * 4


def test_a_load_that_failed_is_tried_again(session, backing):
    load, backing.load = backing.load, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        len(session)
    backing.load = load

    assert dict(session) == DATA


def test_reload_forgets_changes_and_reads_again(session, backing):
    session["name"] = "eve"

    session.reload()

    assert session.modified is False
    assert session["name"] == "anna"
    assert backing.loads == 2


def test_a_session_without_a_store_is_a_plain_dictionary_to_its_user():
    session = Session({"a": 1})
    session.save()
    session.reload()
    session.regenerate()

    assert dict(session) == {"a": 1}
    assert (session.sid, session.ref, session.new) == (None, None, True)
