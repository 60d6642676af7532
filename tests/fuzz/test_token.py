"""Cookies: no text that was not signed here is accepted."""

from __future__ import annotations

from flask import session
from hypothesis import strategies as st
from support.apps import make_app
from support.fuzzing import fuzz
from support.mutation import mutated

from flask_msm.record.token import MAX_LENGTH, Token, TokenSigner, new_sid, peek_flags


SIGNER = TokenSigner(("secret", "former"))
TOKENS = [
    Token("A" * 43, 123456789 << 16, 1_800_000_000),
    Token(new_sid(), 0, 0, permanent=True),
    Token(new_sid(), 2**63, 2**33, permanent=True, local=True),
]
SIGNED = [SIGNER.dumps(token) for token in TOKENS] + [SIGNER.dumps(TOKENS[0], "route-1")]
PIECES = st.sampled_from(
    [".", "..", "p", "pl", "-", "0", "ffffffffffffffff", "A" * 43, "\0", "é", "\ud800", "²", "="]
    + [part for text in SIGNED for part in text.split(".")]
)


def check(text):
    token = SIGNER.loads(text)
    peek_flags(text)
    if token is None:
        return
    # What is believed is what was signed: the same in front, and nothing but a route behind.
    assert token in TOKENS
    assert any(text.startswith(signed[:-1]) for signed in SIGNED)
    assert len(text) <= MAX_LENGTH


@fuzz(st.text(max_size=400))
def test_any_text_is_a_token_that_was_signed_or_none(text):
    check(text)


@fuzz(st.lists(PIECES, max_size=12), st.sampled_from(["", "."]))
def test_pieces_of_tokens_are_a_token_that_was_signed_or_none(pieces, between):
    check(between.join(pieces))


@fuzz(mutated(st.sampled_from([text.encode() for text in SIGNED])))
def test_a_changed_token_is_one_that_was_signed_or_none(data):
    check(data.decode("latin-1"))


@fuzz(st.text(st.characters(codec="latin-1"), max_size=2), st.integers(0, 200_000))
def test_a_huge_cookie_is_not_looked_at(text, times):
    check(text * times)


SHOP = make_app()
SHOP.do(lambda: session.update(user="anna"))
COOKIE = SHOP.cookie()


@fuzz(
    mutated(st.just(COOKIE.encode())) | st.binary(max_size=300),
    st.sampled_from(["", '"', ";", ","]),
    share=0.2,
)
def test_no_cookie_header_makes_a_request_fail_or_get_another_session(data, around):
    value = data.decode("latin-1").translate({0: None, 10: None, 13: None})
    header = f"{SHOP.cookie_name}={around}{value}{around}"
    seen = []
    response = SHOP.do(
        lambda: seen.append(dict(session)),
        client=SHOP.app.test_client(use_cookies=False),
        headers={"Cookie": header},
    )

    assert response.status_code == 200
    # Two bits of the last character are thrown away by base64; a cookie ends at ; and ,
    assert seen == [{}] or COOKIE[:-1] in header
