"""Attacks on the dashboard: guessed passwords, odd credentials, hashes that are none."""

from __future__ import annotations

import base64
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from support.clock import FakeClock
from support.dashboard import client_of
from werkzeug.exceptions import TooManyRequests
from werkzeug.security import generate_password_hash

from flask_msm_dashboard import Access
from flask_msm_dashboard import sign_in as sign_in_module
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


def test_an_operator_who_was_in_is_not_kept_out_by_wrong_guesses():
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


class Checks:
    """Checks of passwords that last until they may end.

    Args:
        monkeypatch: Puts them in place.
    """

    def __init__(self, monkeypatch):
        self.checked = []
        self.most_at_once = 0
        self.started = threading.Event()
        self.may_end = threading.Event()
        self._running = 0
        self._lock = threading.Lock()
        monkeypatch.setattr("flask_msm_dashboard.sign_in.check_password_hash", self.check)

    def check(self, known, password):
        with self._lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            self.checked.append(password)
        self.started.set()
        assert self.may_end.wait(60)
        with self._lock:
            self._running -= 1
        return password == "right"


def test_guesses_sent_at_once_are_counted_before_they_are_checked_one_at_a_time(monkeypatch):
    monkeypatch.setattr("flask_msm_dashboard.sign_in.LONGEST_WAIT", 10)
    checks = Checks(monkeypatch)
    sign_in = signing_in(BasicAuth({"ops": HASH}))
    all_there = threading.Barrier(31)

    def guess(number):
        all_there.wait(60)
        return sign_in("ops", f"wrong {number}")

    checks.may_end.set()
    with ThreadPoolExecutor(31) as pool:
        answers = list(pool.map(guess, range(31)))

    assert answers == [None] * 31
    assert len(checks.checked) == 10
    assert checks.most_at_once == 1
    assert sign_in("ops", "right") is None, "31 guesses were made: the next waits"


def test_a_password_that_does_not_get_its_turn_is_not_checked_and_may_come_back(monkeypatch):
    checks = Checks(monkeypatch)
    ask = BasicAuth({"ops": HASH})
    # The second application of this process waits for the checks of the first.
    client, _ = client_of(admin_access=BasicAuth({"ops": HASH}))
    text = base64.b64encode(b"ops:right").decode()
    headers = {"Authorization": f"Basic {text}"}

    with ThreadPoolExecutor(1) as pool:
        guess = pool.submit(signing_in(ask), "ops", "wrong")
        assert checks.started.wait(60)
        with pytest.raises(TooManyRequests):
            signing_in(ask)("ops", "right", "192.0.2.2")
        page = client.get("/msm-admin/", headers=headers)
        state = client.get("/msm-admin/api/v1/state", headers=headers)
        checks.may_end.set()
        assert guess.result(60) is None

    assert [page.status_code, page.headers["Retry-After"]] == [429, "1"]
    assert "WWW-Authenticate" not in page.headers
    assert page.headers["X-Frame-Options"] == "DENY"
    assert [state.status_code, state.json["error"]["code"]] == [429, "too_many"]
    assert checks.checked == ["wrong"]
    assert client.get("/msm-admin/", headers=headers).status_code == 200


@pytest.mark.parametrize("later", [10, 301])
def test_who_was_right_lately_does_not_wait_for_the_checks_of_others(monkeypatch, later):
    checks = Checks(monkeypatch)
    clock = FakeClock()
    sign_in = signing_in(BasicAuth({"ops": HASH}, clock=clock.monotonic))
    checks.may_end.set()
    assert sign_in("ops", "right")
    checks.may_end.clear()
    checks.started.clear()
    clock.advance(later)

    with ThreadPoolExecutor(1) as pool:
        guess = pool.submit(sign_in, "ops", "wrong")
        assert checks.started.wait(60)
        assert sign_in("ops", "right") == Access("write", "ops")
        checks.may_end.set()
        assert guess.result(60) is None

    assert checks.checked == ["right", "wrong"]


def test_right_passwords_use_up_no_guesses():
    users = {f"ops{number}": HASH for number in range(30)}
    sign_in = signing_in(BasicAuth(users, clock=FakeClock().monotonic))

    assert all(sign_in(name, "right") for name in users)


def test_a_process_forked_during_a_check_does_not_wait_for_it(monkeypatch):
    checks = Checks(monkeypatch)
    sign_in = signing_in(BasicAuth({"ops": HASH}))

    with ThreadPoolExecutor(1) as pool:
        guess = pool.submit(sign_in, "ops", "wrong")
        assert checks.started.wait(60)
        child = os.fork()
        if child == 0:  # pragma: no cover - measured in the parent
            free = sign_in_module._turn.acquire(blocking=False)
            os._exit(0 if free else 1)
        _, status = os.waitpid(child, 0)
        checks.may_end.set()
        guess.result(60)

    assert os.waitstatus_to_exitcode(status) == 0


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
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"ops").decode(),
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
