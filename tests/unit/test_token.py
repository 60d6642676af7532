"""The cookie: only what was signed here is believed."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from flask_msm.record.keys import derive
from flask_msm.record.token import (
    MAX_LENGTH,
    MOST_SIGNED,
    Token,
    TokenSigner,
    new_sid,
    peek_flags,
    signer_for,
)


SIGNER = TokenSigner(("secret",))
TOKEN = Token("A" * 43, 123456789 << 16, 1_800_000_000)


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**33),
    st.booleans(),
    st.booleans(),
    st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
)
def test_a_token_comes_back_as_it_was(version, renewed, permanent, local, route):
    token = Token(new_sid(), version, renewed, permanent, local)

    assert SIGNER.loads(SIGNER.dumps(token, route)) == token


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**33),
    st.booleans(),
    st.binary(min_size=1, max_size=100) | st.text(min_size=1, max_size=100),
)
def test_a_signed_token_is_what_itsdangerous_makes_of_it(version, renewed, permanent, secret):
    token = Token(new_sid(), version, renewed, permanent)
    signer = Signer(derive(secret, b"cookie"), key_derivation="none", digest_method=sha256)

    signed = TokenSigner((secret,)).dumps(token)

    assert signer.unsign(signed).decode() == signed.rpartition(".")[0]
    assert signer.sign(signed.rpartition(".")[0]).decode() == signed


def test_no_more_than_so_many_signed_tokens_are_remembered():
    signer = TokenSigner(("secret",))

    signed = [signer.dumps(TOKEN._replace(version=n)) for n in range(3 * MOST_SIGNED)]

    assert len(signer.known) <= MOST_SIGNED
    assert all(signer.loads(text).version == n for n, text in enumerate(signed))


def test_a_token_that_was_signed_here_is_not_verified_again(monkeypatch):
    signer = TokenSigner(("secret",))
    text = signer.dumps(TOKEN, "route")
    monkeypatch.setattr(signer, "_signer", None)

    assert signer.loads(text) is TOKEN


@given(st.data())
def test_any_changed_character_before_the_route_is_refused(data):
    text = SIGNER.dumps(TOKEN)
    index = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("abcXYZ019._-").filter(lambda char: char != text[index]))
    changed = text[:index] + other + text[index + 1 :]

    loaded = SIGNER.loads(changed)

    # The last character of the signature carries two bits that base64 throws away.
    assert loaded is None or (index == len(text) - 1 and loaded == TOKEN)


@given(st.text(max_size=300))
def test_nothing_foreign_is_believed(text):
    assert SIGNER.loads(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "....",
        "ü" * 50,
        "x" * (MAX_LENGTH + 1),
        SIGNER.dumps(TOKEN)[:-5],
        SIGNER.dumps(TOKEN) + ".route.more",
        TokenSigner(("other",)).dumps(TOKEN),
    ],
)
def test_malformed_foreign_and_oversized_cookies_are_no_cookies(text):
    assert SIGNER.loads(text) is None


def test_a_fallback_secret_verifies_and_the_current_one_signs():
    old = TokenSigner(("old",)).dumps(TOKEN)
    rotated = TokenSigner(("new", "old"))

    assert rotated.loads(old) == TOKEN
    assert rotated.dumps(TOKEN) == TokenSigner(("new",)).dumps(TOKEN)


def test_flags_are_seen_without_verification():
    assert peek_flags(SIGNER.dumps(TOKEN)) == "-"
    assert peek_flags(SIGNER.dumps(TOKEN._replace(permanent=True))) == "p"
    assert peek_flags(SIGNER.dumps(TOKEN._replace(permanent=True, local=True), "r1")) == "pl"
    assert peek_flags("rubbish") is None


def test_session_ids_are_43_characters_and_differ():
    ids = {new_sid() for _ in range(100)}

    assert len(ids) == 100
    assert {len(sid) for sid in ids} == {43}


def test_the_signer_of_one_secret_is_made_once():
    assert signer_for(("a", "b")) is signer_for(("a", "b"))


def test_a_token_fits_well_into_a_cookie():
    assert len(SIGNER.dumps(TOKEN._replace(permanent=True, local=True), "r" * 32)) < MAX_LENGTH
