"""One session for an operator: where it is, never what is in it; and its end."""

from __future__ import annotations

import logging

import pytest
from flask import session
from support.crew import BY, Crew

from flask_msm import regenerate
from flask_msm.errors import CommandError
from flask_msm.operations.state.session import answer
from flask_msm.record.keys import digest_of
from flask_msm.record.segments import SEGMENTED


SECRET_VALUE = "4111111111111111"


@pytest.fixture
def crew():
    made = Crew(1, nodes=3)
    made.tick()
    made.tick()
    return made


@pytest.fixture
def shop(crew):
    (worker,) = crew.workers
    worker.do(lambda: session.update(card=SECRET_VALUE, name="anna"))
    return worker


@pytest.fixture
def growing(shop):
    """The same, of a fleet that writes format 2: that keeps how a session ended."""
    assert shop.state.parts.record_format.current() == SEGMENTED
    return shop


def ref(shop):
    return digest_of(shop.key())[:10]


def find(shop, what):
    return shop.console.lookup(what, actor="anna", reason="a call")


def test_a_session_is_found_by_its_cookie_and_by_its_ref(shop):
    by_cookie, by_ref = find(shop, shop.cookie()), find(shop, ref(shop))

    assert by_cookie == by_ref
    assert by_cookie.ref == ref(shop)
    assert by_cookie.home_nodes == shop.homes()
    assert set(by_cookie.holders) == set(shop.homes())
    assert [name for name, _ in by_cookie.attributes] == ["card", "name"]
    assert not by_cookie.destroyed
    assert by_cookie.behind == ()


def test_the_cookie_may_have_blanks_around_and_a_route_behind(shop):
    assert find(shop, f"  {shop.cookie()}.host-1\n").ref == ref(shop)


def test_a_lookup_shows_neither_values_nor_the_cookie_of_a_session(shop, caplog):
    caplog.set_level(logging.INFO)
    sid = shop.token().sid
    facts = find(shop, shop.cookie())
    shop.console.revoke(facts.handle, **BY)
    view = shop.console.view()

    for text in (repr(facts), repr(view), caplog.text):
        assert SECRET_VALUE not in text
        assert sid not in text


def test_a_copy_that_is_older_is_listed_as_behind(crew, shop):
    first, second = shop.homes()
    old = crew.nodes[second].items[shop.key()][0]
    shop.do(lambda: session.update(more=1))
    crew.nodes[second].put(shop.key(), old)

    facts = find(shop, shop.cookie())

    assert facts.behind == (second,)
    assert set(facts.holders) == {first, second}


def test_a_corrupt_record_is_no_copy(crew, shop):
    first, second = shop.homes()
    crew.nodes[first].put(shop.key(), b"rubbish")

    assert find(shop, shop.cookie()).holders == (second,)


@pytest.mark.parametrize(
    "what",
    [
        "",
        "x",
        "0123456789A",
        "g" * 10,
        "a.b.c",
        "\x1b[31m",
        "x" * 1_000_000,
        "\ud800" * 10,
        "0" * 64,
    ],
)
def test_text_that_is_neither_ref_nor_cookie_is_refused_without_being_repeated(shop, what):
    with pytest.raises(CommandError) as refused:
        find(shop, what)

    assert "neither a ref" in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_forged_cookie_is_refused(shop):
    with pytest.raises(CommandError):
        find(shop, shop.cookie()[:-2] + "xx")


def test_a_session_that_does_not_exist_certainly_does_not(shop):
    assert find(shop, "0" * 10) is None


def test_a_session_that_silent_nodes_may_have_is_not_reported_missing(crew, shop):
    cookie, name = shop.cookie(), ref(shop)
    crew.outage()
    for key in list(shop.state.parts.local.all_keys()):
        shop.state.parts.local.shelf.cache.delete(key)

    with pytest.raises(CommandError, match="the session may be there"):
        find(shop, cookie)
    with pytest.raises(CommandError, match="look the session up by its cookie"):
        find(shop, name)


def test_one_node_that_answers_is_enough(crew, shop):
    crew.nodes[shop.homes()[0]].fail()

    assert find(shop, shop.cookie()).holders == (shop.homes()[1],)


# -- the end -------------------------------------------------------------------------------------


def test_a_session_is_ended_everywhere(shop):
    facts = find(shop, shop.cookie())

    outcome = shop.console.revoke(facts.handle, **BY)

    assert facts.ref in outcome.text
    assert shop.ask(lambda: dict(session)) == {}
    assert find(shop, ref(shop)).destroyed


@pytest.mark.parametrize("handle", ["", "x", "0" * 10, "0" * 31 + "\n", "../" * 20, "\ud800" * 32])
def test_text_that_is_no_handle_is_refused(shop, handle):
    with pytest.raises(CommandError, match="not the handle"):
        shop.console.revoke(handle, **BY)


def test_a_session_that_does_not_exist_is_not_ended(shop):
    handle = find(shop, shop.cookie()).handle

    with pytest.raises(CommandError, match="there is no session"):
        shop.console.revoke("0" * len(handle), **BY)


def test_each_look_and_each_end_is_written_down_with_who_and_why(shop, caplog):
    with caplog.at_level(logging.INFO, "flask_msm.audit"):
        facts = find(shop, shop.cookie())
        find(shop, "0" * 10)
        shop.console.revoke(facts.handle, **BY)

    lines = [line.getMessage() for line in caplog.records if line.name == "flask_msm.audit"]
    assert lines == [
        f"looked_up: session {facts.ref} was looked up, by anna (a call)",
        "looked_up: session that does not exist was looked up, by anna (a call)",
        f"revoked: session {facts.ref} was ended, by anna (a test); told to n1, n2, n3",
    ]


# -- why it is not there -------------------------------------------------------------------------


def revoked(shop):
    shop.console.revoke(find(shop, shop.cookie()).handle, **BY)
    return shop.cookie()


def signed_out(shop):
    cookie = shop.cookie()
    shop.do(lambda: session.clear())
    return cookie


def regenerated(shop):
    cookie = shop.cookie()
    shop.do(lambda: regenerate())
    return cookie


def unused(crew, shop):
    crew.clock.advance(shop.app.permanent_session_lifetime.total_seconds() * 1.2)
    return shop.cookie()


def emptied(crew, shop):
    for node in crew.nodes.values():
        node.items.pop(shop.key(), None)
    local = shop.state.parts.local
    for key in list(local.all_keys()):
        local.shelf.cache.delete(key)
    return shop.cookie()


@pytest.mark.parametrize("by_ref", [False, True])
def test_a_revoked_session_says_when_by_whom_and_why(growing, by_ref):
    name, began = ref(growing), growing.clock.time()
    cookie = revoked(growing)

    found = find(growing, name if by_ref else cookie)

    assert (found.fate, found.ended_how, found.ended_by) == ("ended", "revoked", "anna")
    assert (found.ended_at, found.ended_reason) == (began, "a test")
    assert answer(found).title.startswith("Ended by anna at ")
    assert "because of “a test”" in answer(found).title


def test_a_session_that_was_signed_out_says_so(growing):
    found = find(growing, signed_out(growing))

    assert (found.fate, found.ended_how, found.ended_by) == ("ended", "signed out", None)
    assert "Signed out by its owner" in answer(found).title


def test_a_session_that_got_a_new_id_names_the_ref_of_that(growing):
    found = find(growing, regenerated(growing))

    assert (found.fate, found.moved_to) == ("moved", ref(growing))
    assert ref(growing) in answer(found).title


def test_an_expired_session_is_told_from_its_cookie_only(crew, shop):
    name = ref(shop)
    found = find(shop, unused(crew, shop))

    assert found.fate == "expired"
    assert "unused since" in answer(found).title
    emptied(crew, shop)
    assert find(shop, shop.cookie()).fate == "expired"
    assert find(shop, name) is None


def test_a_good_cookie_of_which_nothing_is_left_is_that_of_a_lost_session(crew, shop):
    found = find(shop, emptied(crew, shop))

    assert (found.fate, found.holders) == ("lost", ())
    assert answer(found).title.startswith("Lost: ")


def test_a_session_whose_key_was_changed_is_found_by_its_cookie(crew, shop):
    other = crew.hire(SECRET_KEY="changed " * 4)

    found = find(other, shop.cookie())

    assert (found.fate, set(found.holders)) == ("key_unknown", set(shop.homes()))
    assert "SECRET_KEY was changed" in answer(found).text


def test_a_long_reason_leaves_room_for_the_name_of_the_operator(growing):
    handle = find(growing, growing.cookie()).handle
    growing.console.revoke(handle, actor="anna", reason="why " * 50, based_on=None)

    found = find(growing, growing.cookie())
    assert (found.ended_by, len(found.ended_reason) > 90) == ("anna", True)


def test_attributes_are_named_with_their_types(shop):
    shop.do(lambda: session.update(number=1, cart=["a"], at=(1, 2)))

    shown = dict(find(shop, shop.cookie()).attributes)
    assert shown == {"at": "tuple", "card": "str", "cart": "list", "name": "str", "number": "int"}


def test_each_end_is_one_line_with_the_ref(shop, caplog):
    name = ref(shop)
    with caplog.at_level(logging.INFO, "flask_msm.sessions"):
        revoked(shop)

    lines = [line.getMessage() for line in caplog.records if line.name == "flask_msm.sessions"]
    assert lines == [f"session {name} ended: revoked: a test by anna"]
