"""One session for an operator: where it is, never what is in it; and its end."""

from __future__ import annotations

import logging

import pytest
from flask import session
from support.crew import BY, Crew

from flask_msm.errors import CommandError
from flask_msm.record.keys import digest_of


SECRET_VALUE = "4111111111111111"


@pytest.fixture
def crew():
    made = Crew(1, nodes=3)
    made.tick()
    return made


@pytest.fixture
def shop(crew):
    (worker,) = crew.workers
    worker.do(lambda: session.update(card=SECRET_VALUE, name="anna"))
    return worker


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
