"""Attacks on the dashboard: guessed passwords, odd credentials, hashes that are none."""

from __future__ import annotations

import base64

import pytest
from flask import Flask
from support.clock import FakeClock
from support.dashboard import client_of
from werkzeug.security import generate_password_hash

from flask_msm_dashboard import Access
from flask_msm_dashboard.limits import Limiter, Limits
from flask_msm_dashboard.sign_in import BasicAuth


HASH = generate_password_hash("right", method="pbkdf2:sha256:1000")


def signing_in(ask, app=None):
    app = app or Flask("x")

    def sign_in(name, password, address="192.0.2.1"):
        text = base64.b64encode(f"{name}:{password}".encode()).decode()
        with app.test_request_context(
            headers={"Authorization": f"Basic {text}"}, environ_base={"REMOTE_ADDR": address}
        ) as context:
            return ask(context.request)

    return sign_in


def test_who_was_in_is_not_kept_out_by_somebody_who_guesses():
    clock = FakeClock()
    sign_in = signing_in(BasicAuth({"ops": HASH}, clock=clock.monotonic))
    assert sign_in("ops", "right")

    clock.advance(301)  # it is checked anew
    for _ in range(20):
        sign_in("ops", "wrong")

    assert sign_in("ops", "right") == Access("write", "ops")
    assert sign_in("ops", "wrong") is None


def test_guesses_from_many_addresses_are_slowed_down_and_take_bounded_memory(monkeypatch):
    checks = []
    monkeypatch.setattr(
        "flask_msm_dashboard.sign_in.check_password_hash",
        lambda known, password: checks.append(password) or False,
    )
    ask = BasicAuth({"ops": HASH}, clock=FakeClock().monotonic)
    sign_in = signing_in(ask)

    for number in range(3000):
        sign_in("ops", "wrong", f"2001:db8::{number:x}")

    assert len(checks) == 100
    assert len(ask._wrong._done) <= 1001


def test_a_limiter_forgets_names_and_not_the_newest_ones():
    limiter = Limiter(FakeClock().monotonic)
    limits = Limits(pause=5.0, most=1)

    for number in range(5000):
        limiter.take(str(number), limits)

    assert len(limiter._done) == 1000
    assert limiter.wait("4999", limits)


def test_an_unknown_name_is_checked_with_the_method_of_a_known_one(monkeypatch):
    checked = []
    monkeypatch.setattr(
        "flask_msm_dashboard.sign_in.check_password_hash",
        lambda known, password: checked.append(known) or True,
    )
    sign_in = signing_in(BasicAuth({"ops": HASH}))

    assert sign_in("eve", "right") is None, "and is no name all the same"
    assert checked == [HASH]


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"ops").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"ops:").decode(),
        "Basic " + base64.b64encode(b"OPS:right").decode(),
        "Basic " + base64.b64encode(b"ops:" + b"x" * 50_000).decode(),
        "Bearer " + base64.b64encode(b"ops:right").decode(),
        'Digest username="ops", password="right"',
    ],
)
def test_odd_credentials_are_none(header):
    client, _ = client_of(admin_access=BasicAuth({"ops": HASH}))

    assert client.get("/msm-admin/", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("known", ["", "right", "plain$x$right", "unknown:1$x$y", "scrypt:a$b$c"])
def test_a_hash_that_is_none_opens_nothing(known, caplog):
    client, _ = client_of(admin_access=BasicAuth({"ops": known}))
    text = base64.b64encode(b"ops:right").decode()

    assert client.get("/msm-admin/", headers={"Authorization": f"Basic {text}"}).status_code == 401
