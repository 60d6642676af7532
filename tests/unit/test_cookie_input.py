"""Cookies that no browser should send: no error, and no node is asked."""

from __future__ import annotations

import pytest
from flask import session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import Signer
from support.apps import make_app, set_cookie

from flask_msm.record.token import Token, TokenSigner, new_sid


@pytest.fixture
def shop():
    made = make_app()
    made.do(lambda: session.update(name="anna"))
    made.operations()
    return made


def flasks_own(shop):
    signer = SecureCookieSessionInterface().get_signing_serializer(shop.app)
    return signer.dumps({"name": "eve"})


def flipped(shop):
    cookie = shop.cookie()
    return cookie[:-2] + ("A" if cookie[-2] != "A" else "B") + cookie[-1]


def other_sid(shop):
    return new_sid() + shop.cookie()[43:]


def other_secret(shop):
    return TokenSigner(("other",)).dumps(Token(new_sid(), 1, 1))


BAD = {
    "empty": lambda _: "",
    "dots": lambda _: "....",
    "cut": lambda shop: shop.cookie()[:-1],
    "flipped": flipped,
    "sid of another session": other_sid,
    "huge": lambda _: "a" * 100_000,
    "huge behind a good one": lambda shop: shop.cookie() + "a" * 5_000,
    "not ascii": lambda _: "\u20ac\u00fc.1.2.p.x".encode().decode("latin-1"),
    "not ascii in the signature": lambda shop: shop.cookie()[:-1] + "\u00fc",
    "other digits": lambda _: "a" * 43 + ".\u00b2.\u00b9.p.x",
    "of flask": flasks_own,
    "of another secret": other_secret,
    "of a plain signer": lambda _: Signer("test").sign("a" * 43 + ".1.1.p").decode(),
}


@pytest.mark.parametrize("act", ["nothing", "read"])
@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_cookie_that_was_not_signed_here_is_no_cookie(shop, make, act):
    header = {"Cookie": f"session={make(shop)}"}
    view = (lambda: dict(session)) if act == "read" else None

    response = shop.do(view, client=shop.app.test_client(use_cookies=False), headers=header)

    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    assert shop.operations() == []


GOOD = {
    "alone": "session={}",
    "before another": "session={}; theme=dark",
    "with many blanks": "a=b ; \t session = {} ; c=d",
    "quoted": 'session="{}"',
    "behind a forged one": "session=" + "a" * 43 + ".1.1.p.forged; session={}",
    "beside names that end or begin alike": "xsession=1; session={}; sessionx=2; session.a=3",
    "beside what looks like it": 'a="; sessio=1"; b=session; session={}',
}


@pytest.mark.parametrize("header", GOOD.values(), ids=GOOD.keys())
def test_a_cookie_is_found_wherever_it_stands(shop, header):
    seen = []
    headers = {"Cookie": header.format(shop.cookie())}

    client = shop.app.test_client(use_cookies=False)
    shop.do(lambda: seen.append(dict(session)), client=client, headers=headers)

    assert seen == [{"name": "anna"}]


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_session_is_started_under_an_id_of_our_own(shop, make):
    bad = make(shop)
    client = shop.app.test_client(use_cookies=False)

    response = shop.do(
        lambda: session.update(name="eve"), client=client, headers={"Cookie": f"session={bad}"}
    )

    assert shop.operations() == ["add", "add"]
    sid = shop.token(set_cookie(response)).sid
    assert not bad.startswith(sid)


@pytest.mark.parametrize("first", ["", "wrong", "a" * 5000, "a.b.c.d.e"])
def test_the_valid_one_of_two_cookies_of_one_name_is_used(shop, first):
    header = {"Cookie": f"session={first}; other=1; session={shop.cookie()}"}
    seen = []

    shop.do(
        lambda: seen.append(dict(session)),
        client=shop.app.test_client(use_cookies=False),
        headers=header,
    )

    assert seen == [{"name": "anna"}]
    assert shop.operations() == ["gets"]


def test_a_route_behind_the_signature_is_not_part_of_it():
    shop = make_app(MSM_ROUTE="w1")
    shop.do(lambda: session.update(name="anna"))
    cookie = shop.cookie()

    elsewhere = shop.browser(cookie.removesuffix(".w1") + ".w2")

    assert cookie.endswith(".w1")
    assert shop.ask(lambda: session["name"], client=elsewhere) == "anna"


# -- rotation of the secret key ------------------------------------------------------------------


def rotate(shop, new="new", old=("test",)):
    shop.app.config.update(SECRET_KEY=new, SECRET_KEY_FALLBACKS=list(old))


def test_cookie_and_record_of_an_old_key_work_as_long_as_it_is_a_fallback(shop):
    rotate(shop)

    assert shop.ask(lambda: dict(session)) == {"name": "anna"}
    assert shop.operations() == ["gets"]


def test_a_session_written_after_a_rotation_needs_the_new_key_only(shop):
    rotate(shop)
    shop.do(lambda: session.update(name="eve"))

    rotate(shop, old=())

    assert shop.ask(lambda: dict(session)) == {"name": "eve"}
    assert len(shop.records()) == 2


def test_a_session_of_a_key_that_is_gone_is_no_session(shop):
    shop.app.config.update(SECRET_KEY="new")

    assert shop.ask(lambda: dict(session)) == {}
    assert shop.operations() == []


def test_a_worker_without_the_new_key_leaves_the_record_alone(shop):
    old = shop.cookie()
    rotate(shop)
    shop.do(lambda: session.update(name="eve"))
    shop.app.config.update(SECRET_KEY="test", SECRET_KEY_FALLBACKS=[])

    browser = shop.browser(old)
    seen = shop.ask(lambda: dict(session), client=browser)
    shop.do(lambda: session.update(name="lost"), client=browser)
    rotate(shop)

    assert seen == {}
    assert shop.ask(lambda: session["name"]) == "eve"
