"""Access: refused, unless the application allows it exactly, also for who tries to get around."""

from __future__ import annotations

import base64
import logging
from unittest.mock import ANY

import pytest
from flask import Flask, Response
from support.clock import FakeClock
from support.dashboard import PAGES, client_of, make_app, post, review
from werkzeug.security import generate_password_hash

from flask_msm import ConfigError
from flask_msm_dashboard import Access, basic_auth, loopback_only
from flask_msm_dashboard.sign_in import BasicAuth


# -- refused, unless the application allows it exactly ---------------------------------------------


PATHS = [
    *PAGES,
    "act/",
    "act/stop",
    "api/v1/",
    "api/v1/state",
    "api/v1/metrics",
    "api/v1/health",
]
#: Few rounds: these tests are not about the strength of hashes.
HASH = generate_password_hash("right", method="pbkdf2:sha256:1000")


def credentials(name, password):
    text = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_closed_unless_it_is_opened(path):
    client, console = client_of(admin_access=None)

    response = client.get("/msm-admin/" + path)

    assert response.status_code == 403
    assert console.views == 0
    assert "Location" not in response.headers


def test_a_closed_dashboard_says_in_three_lines_how_to_open_it():
    client, _ = client_of(admin_access=None)

    html = client.get("/msm-admin/").text

    assert "MSM_ADMIN_ACCESS is not set" in html
    assert "from flask_msm_dashboard import basic_auth" in html
    assert "basic_auth({&#34;ops&#34;: password_hash})" in html
    assert "generate_password_hash" in html


def test_a_setting_that_came_after_init_app_is_named_as_that_and_logged_once(caplog):
    app, _ = make_app(admin_access=None)
    app.config["MSM_ADMIN_ACCESS"] = lambda _: "write"
    client = app.test_client()

    texts = {client.get("/msm-admin/").text for _ in range(2)}

    assert all("MSM_ADMIN_ACCESS was set after init_app" in text for text in texts)
    assert all(client.get("/msm-admin/").status_code == 403 for _ in range(2))
    logged = [one for one in caplog.records if "was set after init_app" in one.getMessage()]
    assert len(logged) == 1


@pytest.mark.parametrize(("read", "level"), [((), "may change"), (("ops",), "read only")])
def test_an_operator_sees_the_own_level_and_signs_out_by_a_challenge(read, level):
    access = basic_auth({"ops": generate_password_hash("right")}, read=read)
    client, _ = client_of(admin_access=access)
    html = client.get("/msm-admin/", auth=("ops", "right")).text

    gone = client.get("/msm-admin/sign-out", auth=("ops", "right"))

    assert f"Signed in as ops, {level}" in html
    assert "/msm-admin/sign-out" in html
    assert gone.status_code == 401
    assert gone.headers["WWW-Authenticate"].startswith("Basic")
    assert "You are signed out" in gone.text


class EqualToAll:
    """Like an expression of a query builder, or a mock."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Incomparable:
    def __eq__(self, other):
        raise ValueError("the truth of this is not known")

    __hash__ = None


NO_ANSWERS = [True, "anonymous", "READ", "", object(), ("write", "x"), Access("all")]
NO_ANSWERS += [ANY, EqualToAll(), Incomparable(), b"write", Access(EqualToAll(), "eve")]


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_only_exact_answers_open(answer, caplog):
    client, console = client_of(admin_access=lambda request: answer)

    assert client.get("/msm-admin/").status_code == 403
    assert client.get("/msm-admin/").status_code == 403
    assert console.views == 0
    assert len(caplog.records) == 1, "logged once"


def test_a_callable_that_raises_opens_nothing(caplog):
    def ask(request):
        raise RuntimeError("the database of users is down")

    client, _ = client_of(admin_access=ask)

    assert client.get("/msm-admin/").status_code == 403
    assert caplog.records[0].levelno == logging.ERROR


async def late(request):
    return None


class Late:
    async def __call__(self, request):
        return None


@pytest.mark.parametrize(
    "ask", [late, Late(), "nowhere:nothing", "json:nothing", "", "json:__name__"]
)
def test_an_access_callable_that_cannot_be_asked_is_refused_at_the_start(ask):
    with pytest.raises(ConfigError, match="MSM_ADMIN_ACCESS"):
        client_of(admin_access=ask)


def test_an_import_path_is_imported():
    client, _ = client_of(admin_access="flask_msm_dashboard:loopback_only")

    assert client.get("/msm-admin/").status_code == 200


def test_a_program_that_may_not_look_gets_json_and_no_redirect():
    client, _ = client_of(admin_access=None)

    response = client.get("/msm-admin/?live=x")

    assert response.status_code == 403
    assert response.json["error"]["code"] == "forbidden"


def test_headers_stand_on_refusals_as_well():
    client, _ = client_of(admin_access=None)

    for path in ("", "api/v1/state"):
        headers = client.get("/msm-admin/" + path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Robots-Tag"] == "noindex"


# -- names and passwords ---------------------------------------------------------------------------


def test_basic_auth_asks_for_a_password_and_takes_the_right_one():
    client, _ = client_of(admin_access=basic_auth({"ops": HASH}))

    unasked = client.get("/msm-admin/")
    wrong = client.get("/msm-admin/", headers=credentials("ops", "wrong"))
    unknown = client.get("/msm-admin/", headers=credentials("eve", "right"))
    right = client.get("/msm-admin/", headers=credentials("ops", "right"))

    assert [r.status_code for r in (unasked, wrong, unknown, right)] == [401, 401, 401, 200]
    assert unasked.headers["WWW-Authenticate"].startswith('Basic realm="Sessions"')
    assert "Signed in as ops" in right.text


@pytest.mark.parametrize("read", ["bob", b"bob", ""], ids=repr)
def test_names_that_may_look_given_as_one_text_are_refused(read):
    with pytest.raises(ConfigError, match="a list of names"):
        basic_auth({"bob": HASH}, read=read)


def test_basic_auth_knows_readers():
    client, _ = client_of(admin_access=basic_auth({"bob": HASH}, read=["bob"]))

    response = client.get("/msm-admin/policy/", headers=credentials("bob", "right"))

    assert "You can look but not change." in response.text


def test_a_right_password_is_checked_once_in_five_minutes(monkeypatch):
    checks = []
    monkeypatch.setattr(
        "flask_msm_dashboard.sign_in.check_password_hash",
        lambda known, password: checks.append(1) or password == "right",
    )
    clock = FakeClock()
    ask = BasicAuth({"ops": "hash"}, clock=clock.monotonic)
    app = Flask("x")

    def sign_in(password="right"):
        with app.test_request_context(headers=credentials("ops", password)) as context:
            return ask(context.request)

    assert sign_in() == Access("write", "ops")
    assert sign_in() == Access("write", "ops")
    assert len(checks) == 1
    clock.advance(301)
    assert sign_in() == Access("write", "ops")
    assert len(checks) == 2
    assert sign_in("wrong") is None


def test_guessing_passwords_is_slowed_down_and_the_right_one_waits_as_well():
    clock = FakeClock()
    ask = BasicAuth({"ops": HASH}, clock=clock.monotonic)
    app = Flask("x")

    def sign_in(password):
        with app.test_request_context(
            headers=credentials("ops", password), environ_base={"REMOTE_ADDR": "192.0.2.1"}
        ) as context:
            return ask(context.request)

    for _ in range(10):
        assert sign_in("wrong") is None
    assert sign_in("right") is None
    clock.advance(61)
    assert sign_in("right") == Access("write", "ops")


# -- this machine only -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "headers", "opens"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {"Host": "[::1]:5000"}, True),
        ("127.0.0.1", {"Host": "127.0.0.1"}, True),
        ("192.0.2.1", {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, False),
        ("127.0.0.1", {"CF-Connecting-IP": "192.0.2.1"}, False),
        ("127.0.0.1", {"Via": "1.1 front"}, False),
        ("127.0.0.1", {"Host": "evil.example"}, False),
        ("127.0.0.1", {"Host": "localhost.evil.example"}, False),
        ("", {}, False),
    ],
)
def test_loopback_only_is_for_this_machine(address, headers, opens):
    client, _ = client_of(admin_access=loopback_only)

    response = client.get(
        "/msm-admin/", headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )

    assert (response.status_code == 200) is opens


# -- health ----------------------------------------------------------------------------------------


def test_the_health_page_can_be_open_and_nothing_else():
    client, _ = client_of(admin_access=None, admin_health_public=True)

    health = client.get("/msm-admin/api/v1/health")

    assert (health.status_code, health.text) == (200, "ok\n")
    assert isinstance(health, Response)
    for path in PATHS[:-1]:
        assert client.get("/msm-admin/" + path).status_code == 403


# -- answers of the access callable, and whom loopback lets in -------------------------------------


def test_who_got_in_does_not_open_it_for_the_next_in_the_same_application_context():
    app, _ = make_app(admin_access=lambda request: request.headers.get("X-Who"))

    # Many leave one pushed for good, against "working outside of application context".
    with app.app_context():
        client = app.test_client()
        let_in = client.get("/msm-admin/", headers={"X-Who": "write"}).status_code
        next_one = client.get("/msm-admin/").status_code

    assert (let_in, next_one) == (200, 403)


def test_a_reader_does_not_become_a_writer_by_the_same_name():
    levels = ["write"]
    client, console = client_of(admin_access=lambda request: Access(levels[0], "anna.k"))
    fields = {**review(client, "policy?value=local"), "reason": "x"}
    levels[0] = "read"

    assert post(client, "/msm-admin/act/policy", fields).status_code == 403
    assert console.calls == []
