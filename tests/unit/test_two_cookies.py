"""A browser sends several cookies of the session's name: the one whose session lives counts."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import LIFE, NoLocalStorage, deletes_cookie, make_app

from flask_msm import destroy, regenerate
from flask_msm.record.keys import ref_of
from flask_msm.record.token import Token, TokenSigner, new_sid
from flask_msm.storage.store import Loaded, Outcome


DOMAIN = "shop.example"


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


class Visitor:
    """Sends given cookies, in this order, and keeps no answer."""

    def __init__(self, shop, *cookies) -> None:
        self.shop = shop
        self.header = {"Cookie": "; ".join(f"session={cookie}" for cookie in cookies)}

    def do(self, action=None, **options):
        client = self.shop.app.test_client(use_cookies=False)
        return self.shop.do(action, client=client, headers=self.header, **options)

    def ask(self, action):
        answers = []
        assert self.do(lambda: answers.append(action())).status_code == 200
        return answers[0]


@pytest.fixture(params=[None, DOMAIN], ids=["no domain", "domain"])
def shop(request):
    return make_app(SESSION_COOKIE_DOMAIN=request.param, MSM_LOCAL_CACHE=NoLocalStorage())


def started(shop, **values):
    """Return the cookie of a new session."""
    headers = Visitor(shop).do(write(**values)).headers
    (line,) = headers.getlist("Set-Cookie")
    cookie = line.partition(";")[0].partition("=")[2]
    assert cookie
    return cookie


def ended(shop, **values):
    cookie = started(shop, name="gone", **values)
    Visitor(shop, cookie).do(destroy)
    return cookie


def invented(shop):
    """Return a cookie of a session that is nowhere."""
    now = int(shop.clock.time())
    return TokenSigner(shop.secrets).dumps(Token(new_sid(), 1, now))


def lines(response):
    """Return each Set-Cookie as (whether it deletes, its domain, its value)."""
    found = []
    for line in response.headers.getlist("Set-Cookie"):
        value, *attributes = line.split("; ")
        given = dict(one.partition("=")[::2] for one in attributes)
        found.append((given.get("Max-Age") == "0", given.get("Domain"), value.partition("=")[2]))
    return found


@pytest.mark.parametrize("dead", [ended, invented])
def test_the_first_session_that_lives_counts(shop, dead):
    cookie = started(shop, name="anna")
    visitor = Visitor(shop, dead(shop), dead(shop), dead(shop), cookie)

    assert visitor.ask(contents) == {"name": "anna"}
    visitor.do(write(name="eve"))
    assert Visitor(shop, cookie).ask(contents) == {"name": "eve"}


def test_of_two_sessions_that_live_the_first_cookie_counts_and_the_second_is_not_asked_for(shop):
    first, second = started(shop, name="anna"), started(shop, name="eve")
    shop.operations()

    assert Visitor(shop, first, second).ask(contents) == {"name": "anna"}
    assert shop.operations() == ["gets"]


def test_the_names_of_the_session_are_those_of_the_one_that_lives_before_it_is_loaded(shop):
    visitor = Visitor(shop, ended(shop), cookie := started(shop, name="anna"))

    assert visitor.ask(lambda: session.sid) == shop.token(cookie).sid
    assert visitor.ask(lambda: session.ref) == ref_of(shop.key(cookie))


def test_a_fifth_cookie_is_not_looked_at(shop):
    dead = [invented(shop) for _ in range(4)]

    assert Visitor(shop, *dead, started(shop, name="anna")).ask(contents) == {}


def test_cookies_that_were_not_signed_here_do_not_count_as_any(shop):
    foreign = [TokenSigner(("other",)).dumps(Token(new_sid(), 1, 1)) for _ in range(8)]

    assert Visitor(shop, *foreign, started(shop, name="anna")).ask(contents) == {"name": "anna"}


def test_of_two_cookies_of_one_session_the_newer_counts(shop):
    old = started(shop, name="anna")
    response = Visitor(shop, old).do(write(name="eve"))
    new = lines(response)[-1][2]
    shop.operations()

    visitor = Visitor(shop, old, new)

    assert visitor.ask(lambda: (session["name"], session._backing.request.token.version)) == (
        "eve",
        shop.token(new).version,
    )
    assert shop.operations() == ["gets"]


def test_signing_in_helps_when_the_first_cookie_is_of_a_session_that_ended(shop):
    dead = ended(shop)
    response = Visitor(shop, dead).do(lambda: (write(user=7)(), regenerate()))
    new = lines(response)[-1][2]

    assert Visitor(shop, dead, new).ask(contents) == {"user": 7}


def test_a_session_that_moved_counts_less_than_one_that_lives(shop):
    old = started(shop, name="anna")
    new = lines(Visitor(shop, old).do(lambda: (write(user=7)(), regenerate())))[-1][2]

    assert Visitor(shop, old, new).ask(contents) == {"name": "anna", "user": 7}
    assert Visitor(shop, old, invented(shop)).ask(contents) == {"name": "anna"}


def test_an_untouched_request_looks_at_nothing_and_sends_no_cookie(shop):
    dead = ended(shop)
    cookie = started(shop, name="anna")
    shop.operations()

    response = Visitor(shop, dead, cookie).do()

    assert lines(response) == []
    assert shop.operations() == []


def test_an_untouched_request_never_sends_the_cookie_of_a_session_that_ended():
    shop = make_app(SESSION_COOKIE_DOMAIN=DOMAIN)
    dead = ended(shop, _permanent=True)
    cookie = started(shop, name="anna", _permanent=True)

    assert lines(Visitor(shop, dead, cookie).do()) == []
    shop.clock.advance(LIFE / 5)
    assert [value[:43] for _, _, value in lines(Visitor(shop, dead, cookie).do())][-1:] == [
        cookie[:43]
    ]


def test_the_host_only_cookie_is_deleted_when_the_living_one_is_sent_with_the_domain():
    shop = make_app(SESSION_COOKIE_DOMAIN=DOMAIN, SESSION_COOKIE_SECURE=True)
    dead, cookie = ended(shop), started(shop, name="anna")

    response = Visitor(shop, dead, cookie).do(write(name="eve"))

    (deleted, domain, value), (_, other_domain, sent) = lines(response)
    assert (deleted, domain, value) == (True, None, "")
    assert (other_domain, sent[:43]) == (DOMAIN, cookie[:43])
    assert all("Secure" in line for line in response.headers.getlist("Set-Cookie"))


def test_no_cookie_is_deleted_without_a_domain():
    shop = make_app()
    dead, cookie = ended(shop), started(shop, name="anna")

    response = Visitor(shop, dead, cookie).do(write(name="eve"))

    assert [deleted for deleted, *_ in lines(response)] == [False]


@pytest.mark.parametrize("action", [contents, None], ids=["read", "untouched"])
def test_no_cookie_is_deleted_when_none_is_sent(shop, action):
    dead, cookie = ended(shop), started(shop, name="anna")

    assert lines(Visitor(shop, dead, cookie).do(action)) == []


def test_a_single_cookie_deletes_no_other():
    shop = make_app(SESSION_COOKIE_DOMAIN=DOMAIN)
    response = Visitor(shop, started(shop, name="anna")).do(write(name="eve"))

    assert [deleted for deleted, *_ in lines(response)] == [False]


# -- the sessions are unknown ----------------------------------------------------------------------


def hide(shop, *cookies):
    """Have no node answer for the sessions of *cookies*; all others are read."""
    keys = {shop.key(cookie) for cookie in cookies}
    repository = shop.state.repository
    load = repository.load

    def hidden(key, budget, *, at_least):
        if key in keys:
            return Loaded(Outcome.UNKNOWN, None, {})
        return load(key, budget, at_least=at_least)

    repository.load = hidden


def test_a_session_that_lives_counts_more_than_an_unknown_one(shop):
    hidden, cookie = started(shop, name="eve"), started(shop, name="anna")
    hide(shop, hidden)

    response = Visitor(shop, hidden, cookie).do(write(more=1))

    assert Visitor(shop, cookie).ask(contents) == {"name": "anna", "more": 1}
    assert [deleted for deleted, *_ in lines(response)] == [False]


def test_an_unknown_session_counts_more_than_one_that_ended(shop):
    dead, hidden = ended(shop), started(shop, name="eve")
    hide(shop, hidden)
    visitor = Visitor(shop, dead, hidden)

    assert visitor.ask(lambda: (dict(session), session._detached, session.sid)) == (
        {},
        True,
        shop.token(hidden).sid,
    )


@pytest.mark.parametrize(
    "action", [contents, write(more=1), lambda: session.clear()], ids=["read", "write", "clear"]
)
def test_no_cookie_is_replaced_or_deleted_while_sessions_are_unknown(shop, action):
    dead, cookie = ended(shop), started(shop, name="anna")
    shop.outage()

    response = Visitor(shop, dead, cookie).do(action)

    assert lines(response) == []
    assert not deletes_cookie(response)


def test_a_new_id_is_sent_also_while_the_sessions_are_unknown(shop):
    first, second = started(shop, name="eve"), started(shop, name="anna")
    hide(shop, first, second)

    response = Visitor(shop, first, second).do(lambda: (write(user=7)(), regenerate()))

    new = lines(response)[-1][2]
    assert Visitor(shop, new).ask(contents) == {"user": 7}
    assert [deleted for deleted, *_ in lines(response)] == [False]


# -- signing out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [destroy, lambda: session.clear()], ids=["destroy", "clear"])
def test_signing_out_ends_the_sessions_of_all_cookies(shop, end):
    first, second, dead = started(shop, user=1), started(shop, user=2), ended(shop)
    shop.operations()

    response = Visitor(shop, dead, first, second).do(end)

    assert deletes_cookie(response)
    assert shop.live_keys() == set()
    assert Visitor(shop, first, second).ask(contents) == {}


def test_signing_out_without_a_living_session_writes_nothing(shop):
    visitor = Visitor(shop, invented(shop), invented(shop))
    shop.operations()

    visitor.do(destroy)

    assert set(shop.operations()) <= {"gets"}
