"""A change to Flask is a change here; a detached session keeps the names it reported absent."""

from __future__ import annotations

import copy
import json

import pytest
from flask.sessions import SecureCookieSession
from support.backing import DATA, Backing

from flask_msm.sessions.session import ALL, Session


@pytest.fixture
def backing():
    return Backing()


@pytest.fixture
def session(backing):
    return Session(backing=backing)


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


def test_a_change_inside_a_value_counts_although_flasks_own_session_does_not_see_it(session):
    theirs = SecureCookieSession(copy.deepcopy(DATA))
    for each in (theirs, session):
        each["cart"]["items"].append(3)

    assert session.modified
    assert not theirs.modified


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
    backing.token_permanent = backing.cookie_permanent = True

    session.permanent = True

    assert session.modified
    assert backing.loads == 0


def test_changing_the_permanence_is_a_change_of_the_contents(session):
    session.permanent = True

    assert session.permanent is True
    assert session["_permanent"] is True


# -- what a detached session reported to the application -------------------------------------------


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
        (lambda s: s.get(5), {"5"}),
        (lambda s: s.get((5,)), set()),
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
def test_a_detached_session_remembers_names_it_reported_absent(look, told):
    session = Session(backing=Backing({}, detached=True))

    look(session)

    assert session._told_absent == told


def test_a_session_that_was_read_remembers_nothing_of_the_kind(session):
    session.get("x")
    list(session)

    assert session._told_absent == set()


def test_names_a_detached_session_reported_absent_are_forgotten_by_reload_and_destroy():
    for forget in (Session.reload, Session.destroy):
        session = Session(backing=Backing({}, detached=True))
        session.get("cart")

        forget(session)

        assert session._told_absent == set()
