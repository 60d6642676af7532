"""The dictionary an application sees: lazy, honest to every reader, Flask's in its rules."""

from __future__ import annotations

import copy
import json
import pickle
import threading

import pytest
from flask import render_template_string
from flask.sessions import SecureCookieSession, SessionMixin
from support.apps import make_app

from flask_msm.session import ALL, Contents, Session


SID = "s" * 43
DATA = {"name": "anna", "cart": {"items": [1, 2]}}


class Backing:
    """Stands behind a session and counts what is asked of it."""

    sid = SID
    ref = "0123456789"
    is_local = False

    def __init__(self, values=DATA, *, detached=False, permanent=False):
        self.values = copy.deepcopy(dict(values))
        self.detached = detached
        self.token_permanent = permanent
        self.loads = 0
        self.rebased = 0

    def load(self):
        self.loads += 1
        return Contents(dict(self.values), detached=self.detached)

    def save(self, session):
        pass

    def rebase(self, session):
        self.rebased += 1

    def regenerate(self):
        pass

    def destroy(self):
        pass


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
    session.load()
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


def test_it_is_a_session_to_flask(session):
    assert isinstance(session, SessionMixin)


# -- modified ------------------------------------------------------------------------------------


def quietly(call):
    def run(session):
        try:
            return call(session)
        except KeyError as error:
            return type(error)

    return run


RULES = {
    "setitem": lambda s: s.__setitem__("name", "eve"),
    "setitem same": lambda s: s.__setitem__("name", "anna"),
    "delitem": lambda s: s.__delitem__("name"),
    "delitem missing": lambda s: s.__delitem__("x"),
    "pop": lambda s: s.pop("name"),
    "pop with default": lambda s: s.pop("name", None),
    "pop missing": lambda s: s.pop("x"),
    "pop missing with default": lambda s: s.pop("x", 5),
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
    "clear twice": lambda s: (s.clear(), s.clear()),
    "popitem of nothing": lambda s: (s.clear(), setattr(s, "modified", False), s.popitem()),
    "clear of nothing": lambda s: (s.clear(), setattr(s, "modified", False), s.clear()),
    "update": lambda s: s.update({"name": "eve"}),
    "update pairs": lambda s: s.update([("name", "eve")], more=1),
    "update with nothing": lambda s: s.update(),
    "update with an empty mapping": lambda s: s.update({}),
    "ior": lambda s: s.__ior__({"more": 1}) is s,
    "ior pairs": lambda s: s.__ior__([("more", 1)]) is s,
    "setdefault there": lambda s: s.setdefault("name", 1),
    "setdefault new": lambda s: s.setdefault("more", 1),
    "setdefault new without value": lambda s: s.setdefault("more"),
    "nested": lambda s: s["cart"]["items"].append(3),
    "read": lambda s: (s["name"], s.get("x"), len(s), list(s), "name" in s, dict(s)),
    "permanent": lambda s: setattr(s, "permanent", True),
    "read permanent": lambda s: s.permanent,
    "modified": lambda s: setattr(s, "modified", True),
    "suppressed": lambda s: (s.update(more=1), setattr(s, "modified", False)),
    "suppressed then changed": lambda s: (setattr(s, "modified", False), s.update(a=1)),
    "copy": lambda s: dict(s.copy()),
    "or": lambda s: dict(s | {"more": 1}),
    "accessed": lambda s: setattr(s, "accessed", True),
}


@pytest.mark.parametrize("call", RULES.values(), ids=RULES.keys())
def test_modified_accessed_and_contents_follow_the_rules_of_flasks_own_session(session, call):
    theirs = SecureCookieSession(copy.deepcopy(DATA))
    theirs.accessed = False  # what Flask's request context starts from

    expected = quietly(call)(theirs)

    assert quietly(call)(session) == expected
    assert dict(session) == dict(theirs)
    assert session.modified is theirs.modified
    assert session.accessed is theirs.accessed
    assert session.permanent is theirs.permanent


def test_reading_or_setting_accessed_does_not_load(session, backing):
    session.accessed = True

    assert session.accessed is True
    assert backing.loads == 0


def test_asking_for_modified_does_not_load(session, backing):
    assert session.modified is False
    assert backing.loads == 0


def test_modified_false_makes_the_present_contents_the_ones_to_compare_with(session, backing):
    session["name"] = "eve"
    session.modified = False
    session["more"] = 1

    assert backing.rebased == 1
    assert session.modified


# -- permanent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("permanent", [True, False])
def test_permanence_is_read_from_the_cookie_without_loading(permanent):
    backing = Backing(permanent=permanent)

    assert Session(backing=backing).permanent is permanent
    assert backing.loads == 0


def test_making_a_permanent_session_permanent_does_not_load(session, backing):
    backing.token_permanent = True

    session.permanent = True

    assert session.modified
    assert backing.loads == 0


def test_changing_the_permanence_is_a_change_of_the_contents(session):
    session.permanent = True

    assert session.permanent is True
    assert session["_permanent"] is True


# -- loading -------------------------------------------------------------------------------------


def test_two_threads_of_one_request_load_once(session, backing):
    entered, go_on = threading.Event(), threading.Event()
    load = backing.load

    def slowly():
        entered.set()
        assert go_on.wait(5)
        return load()

    backing.load = slowly
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(dict(session))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(5)
    go_on.set()
    for thread in threads:
        thread.join(5)

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


# -- what a detached session told the application --------------------------------------------------


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (lambda s: s.get("cart"), {"cart"}),
        (lambda s: "cart" in s, {"cart"}),
        (lambda s: s.setdefault("cart", []), {"cart"}),
        (lambda s: s.pop("cart", None), {"cart"}),
        (quietly(lambda s: s["cart"]), {"cart"}),
        (quietly(lambda s: s.pop("cart")), {"cart"}),
        (quietly(lambda s: s.__delitem__("cart")), {"cart"}),
        (lambda s: s.__setitem__("cart", []), set()),
        (lambda s: s.update(cart=[]), set()),
        (lambda s: (s.update(cart=[]), s["cart"]), set()),
        (lambda s: (s.get("user"), s.update(cart=[])), {"user"}),
        (lambda s: s.get(5), set()),
        (lambda s: s.permanent, set()),
        (bool, {ALL}),
        (len, {ALL}),
        (list, {ALL}),
        (lambda s: list(reversed(s)), {ALL}),
        (dict, {ALL}),
        (lambda s: s.items(), {ALL}),
        (lambda s: s.values(), {ALL}),
        (lambda s: s.copy(), {ALL}),
        (lambda s: s == {}, {ALL}),
        (lambda s: s != {}, {ALL}),
        (lambda s: s | {}, {ALL}),
        (json.dumps, {ALL}),
    ],
)
def test_a_detached_session_remembers_what_it_told_was_absent(look, told):
    session = Session(backing=Backing({}, detached=True))

    look(session)

    assert session.told_absent == told


def test_a_session_that_was_read_remembers_nothing_of_the_kind(session):
    session.get("x")
    list(session)

    assert session.told_absent == set()


def test_what_a_detached_session_told_is_forgotten_by_reload_and_destroy():
    for forget in (Session.reload, Session.destroy):
        session = Session(backing=Backing({}, detached=True))
        session.get("cart")

        forget(session)

        assert session.told_absent == set()
