"""What an attacker would try at the dashboard; ``docs/dashboard-security-review.md`` lists it."""

from __future__ import annotations

import base64
import functools
import json
import logging
import re
import threading
from dataclasses import replace
from unittest.mock import ANY

import pytest
from flask import Flask, abort, session
from itsdangerous import URLSafeTimedSerializer
from support.clock import FakeClock
from support.crew import ODD, Crew
from support.dashboard import ORIGIN, client_of, fields_in, make_app, post
from support.fake_console import FakeConsole
from support.fleet_scenes import all_down, all_well, node_down, partial, stopped
from werkzeug.security import generate_password_hash

from flask_msm.fleet.reports import Report
from flask_msm.snapshot import Event, Opinion, SessionFacts
from flask_msm.upkeep.observer import Seen
from flask_msm_dashboard import Access, loopback_only
from flask_msm_dashboard.limits import Limiter, Limits
from flask_msm_dashboard.security import Tokens
from flask_msm_dashboard.sign_in import BasicAuth
from flask_msm_dashboard.state import document


def token_of(client, action, operator="anna.k"):
    """Return the token of a form of *operator*."""
    app = client.application
    return app.extensions["desk"].tokens.make(app, operator, action)


def review(client, path):
    """Return the hidden fields of a review."""
    return fields_in(client.get("/msm-admin/act/" + path).text)


def named(scene, text):
    """Return *scene* with *text* wherever a name or a sentence comes from elsewhere."""
    workers = [
        replace(worker, id=f"{text}{n}", host=text, version=text, policy=text, control=text)
        for n, worker in enumerate(scene.workers)
    ]
    events = [
        replace(event, id=f"{text}{n}", text=text, kind=text, actor=text, reason=text, node=text)
        for n, event in enumerate(scene.events)
    ]
    blacklist = [
        replace(
            entry,
            attribute=f"{text}{n}",
            type_name=text,
            path=text,
            error=text,
            reason=text,
            endpoint=text,
            added_by=text,
            workers=(text,),
        )
        for n, entry in enumerate(scene.blacklist)
    ]
    nodes = [
        replace(
            node,
            error=f"{text}: {text}",
            address=text,
            stats_error=text,
            opinions=tuple(replace(o, worker=text, error=text) for o in node.opinions),
            stats=replace(node.stats, version=text) if node.stats else None,
        )
        for node in scene.nodes
    ]
    observer = replace(
        scene.observer, app=text, environment=text, worker=text, host=text, version=text
    )
    choices = {
        name: replace(getattr(scene, name), set_by=text, reason=text)
        for name in ("policy", "on_reconnect", "distribution")
    }
    return replace(
        scene,
        workers=tuple(workers),
        events=tuple(events) * 20,
        blacklist=tuple(blacklist),
        nodes=tuple(nodes),
        observer=observer,
        **choices,
    )


# -- the answer of the access callable -------------------------------------------------------------


class EqualToAll:
    """Like an expression of a query builder, or a mock."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Incomparable:
    def __eq__(self, other):
        raise ValueError("the truth of this is not known")

    __hash__ = None


@pytest.mark.parametrize(
    "answer",
    [
        ANY,
        EqualToAll(),
        Incomparable(),
        b"write",
        ["write"],
        Access(ANY, "eve"),
        Access(EqualToAll(), "eve"),
        Access(["write"], "eve"),
        Access(Incomparable(), "eve"),
    ],
)
def test_what_only_looks_equal_to_an_answer_opens_nothing(answer):
    client, console = client_of(admin_access=lambda request: answer)

    assert client.get("/msm-admin/").status_code == 403
    assert console.views == 0


def test_who_got_in_does_not_open_it_for_the_next_in_the_same_application_context():
    app, _ = make_app(admin_access=lambda request: request.headers.get("X-Who"))

    # Many leave one pushed for good, against "working outside of application context".
    with app.app_context():
        client = app.test_client()
        let_in = client.get("/msm-admin/", headers={"X-Who": "write"}).status_code
        next_one = client.get("/msm-admin/").status_code

    assert (let_in, next_one) == (200, 403)


# -- the access callable again: what else it is asked by -------------------------------------------


def test_a_reader_does_not_become_a_writer_by_the_same_name():
    levels = ["write"]
    client, console = client_of(admin_access=lambda request: Access(levels[0], "anna.k"))
    fields = {**review(client, "policy?value=local"), "reason": "x"}
    levels[0] = "read"

    assert post(client, "/msm-admin/act/policy", fields).status_code == 403
    assert console.calls == []


# -- requests of other origins ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None, "Sec-Fetch-Site": None, "Referer": "http://localhost/msm-admin/"},
        {"Origin": "", "Sec-Fetch-Site": None},
        {"Origin": "", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": None, "Sec-Fetch-Site": ""},
        {"Origin": None, "Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": None, "Sec-Fetch-Site": "Same-Origin"},
        {"Origin": "http://localhost, https://evil.example", "Sec-Fetch-Site": None},
        {"Origin": "http://localhost@evil.example", "Sec-Fetch-Site": None},
        {"Origin": "http://localhost/", "Sec-Fetch-Site": None},
        {"Origin": "https://ops.example.evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"},
        {"Origin": "https://evil.example", "X-Forwarded-Proto": "https"},
        {"Origin": "https://evil.example", "Forwarded": "host=evil.example;proto=https"},
    ],
)
def test_odd_words_about_where_a_change_comes_from_are_no(headers):
    client, console = client_of(admin_trusted_origins=("https://ops.example",))
    fields = {**review(client, "policy?value=local"), "reason": "x"}

    assert post(client, "/msm-admin/act/policy", fields, **headers).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize("name", ["act/stop", "sessions/look-up", "sessions/revoke"])
def test_no_other_method_changes_anything(name):
    client, console = client_of()
    data = {"token": token_of(client, name.rpartition("/")[2]), "word": "stop", "reason": "x"}
    data |= {"based_on": console.snapshot.distribution.stamp, "session": "x", "handle": "h"}
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    headers["X-HTTP-Method-Override"] = "POST"

    for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        url = f"/msm-admin/{name}?_method=POST"
        client.open(url, method=method, data=data, headers=headers)
        assert console.calls == [], method


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain", "multipart/form-data", "text/x; boundary=x", ""],
)
def test_a_body_that_is_no_form_is_no_form(kind):
    client, console = client_of()
    stamp = console.snapshot.distribution.stamp
    body = f"token={token_of(client, 'stop')}&word=stop&reason=x&based_on={stamp}"

    response = client.post(
        "/msm-admin/act/stop", data=body, content_type=kind, headers={"Origin": ORIGIN}
    )

    assert response.status_code == 403
    assert console.calls == []


def test_a_page_elsewhere_writes_no_events_by_get():
    client, console = client_of()

    for _ in range(20):
        client.get("/msm-admin/api/v1/state?download=1", headers={"Sec-Fetch-Site": "cross-site"})
        client.head("/msm-admin/api/v1/state?download=1")

    assert console.notes == []


def test_many_downloads_do_not_push_other_events_out():
    client, console = client_of()

    for _ in range(20):
        assert client.get("/msm-admin/api/v1/state?download=1").status_code == 200

    assert [kind for kind, _, _ in console.notes] == ["exported"]


def test_a_link_does_not_say_the_reason_or_what_was_seen():
    client, console = client_of()

    html = client.get("/msm-admin/act/policy?value=local&reason=as+agreed&based_on=0").text

    assert "as agreed" not in html
    assert fields_in(html)["based_on"] == console.snapshot.policy.stamp


def test_a_link_does_not_call_what_was_refused_accepted():
    client, console = client_of()
    denied = console.note("action_denied", "stop by a reader", actor="bob").event
    machine = next(event.id for event in console.snapshot.events if not event.actor)

    for event in (denied, machine):
        html = client.get("/msm-admin/", query_string={"applied": event}).text
        assert "Accepted." not in html


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["é", "\u202e", "a.b.c", "." * 5000, "x" * 100_000, "\0", '["anna.k","stop"]']
)
def test_an_odd_token_is_no_token(token):
    client, console = client_of()

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize(
    "content", [None, "anna.k", ["anna.k"], ["anna.k", "stop", "x"], {"0": "anna.k"}, [0, 1]]
)
def test_a_token_that_was_signed_for_another_purpose_is_none(content):
    client, _ = client_of()
    token = URLSafeTimedSerializer("a secret", salt="flask-msm-admin").dumps(content)

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_token_of_another_part_of_the_application_is_none():
    client, _ = client_of()
    token = URLSafeTimedSerializer("a secret", salt="itsdangerous").dumps(["anna.k", "stop"])

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_token_from_the_future_is_none(monkeypatch):
    client, _ = client_of()
    with monkeypatch.context() as later:
        later.setattr("itsdangerous.timed.time.time", lambda: 2**33)
        token = token_of(client, "stop")

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_form_that_is_sent_twice_changes_once():
    client, console = client_of()
    fields = {**review(client, "drain?node=n1"), "reason": "x"}
    first = post(client, "/msm-admin/act/drain", fields)

    second = post(client, "/msm-admin/act/drain", fields)

    assert (first.status_code, second.status_code) == (303, 409)
    assert [call[0] for call in console.calls] == ["drain"]


# -- forms and addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[" * 3000, "[" * 20_000, "1" * 5000, "NaN", "{}", "null", '"a', "\0", "\ufffd"]
)
def test_an_odd_name_of_an_attribute_is_refused_in_words(text):
    client, console = client_of()
    data = {"token": token_of(client, "pin"), "reason": "x", "attribute": text}

    by_form = post(client, "/msm-admin/act/pin", data)
    by_link = client.get("/msm-admin/act/pin", query_string={"attribute": text})

    assert by_form.status_code == by_link.status_code == 400
    assert "That is no name of an attribute." in by_form.text
    assert console.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe=\xff&token=\xff",
        b"token=" + b"%" * 1000,
        b"a=1&" * 3000,
        b"\0" * 1000,
        b"token=1&token=2&token[]=3",
        b"x" * 255_000,
    ],
)
def test_an_odd_form_is_refused(body):
    client, console = client_of()

    response = client.post(
        "/msm-admin/act/stop",
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers={"Origin": ORIGIN},
    )

    assert response.status_code == 403
    assert console.calls == []


def test_a_form_of_many_parts_is_refused():
    client, console = client_of()
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'

    response = client.post(
        "/msm-admin/act/stop",
        data=part * 3000 + b"--x--\r\n",
        content_type="multipart/form-data; boundary=x",
        headers={"Origin": ORIGIN},
    )

    assert response.status_code == 413
    assert "This form is too large." in response.text
    assert console.calls == []


ODD_QUERIES = [
    "live=",
    "live=a:b,c",
    "live[]=x",
    "live=%ff%fe",
    "live=%00",
    "live=" + "a:b," * 10_000,
    "applied=%00",
    "applied=" + "x" * 10_000,
    "a=1&" * 3000,
    "mode[]=x&mode=y&mode=z&host=%00",
    "before=zzz&kind=%ed%a0%80&actor=%ff",
    "live=x&live=y",
]


@pytest.mark.parametrize("path", ["", "nodes/", "workers/", "events/", "api/v1/state"])
def test_an_odd_query_is_answered(path):
    client, _ = client_of()

    for query in ODD_QUERIES:
        assert client.get(f"/msm-admin/{path}?{query}").status_code == 200, query


SPELLINGS = [
    "//msm-admin/",
    "/msm-admin/./",
    "/msm-admin/%2e/",
    "/msm-admin/%2e%2e/",
    "/MSM-ADMIN/",
    "/msm-admin;x/",
    "/msm-admin\\",
    "/msm-admin/nodes/%00",
    "/msm-admin/nodes/..%2f..",
    "/msm-admin/nodes/n1/",
    "/msm-admin/act/stop/",
    "/msm-admin/act/policy/../stop",
    "/msm-admin/api/v1/health/",
    "/msm-admin/api/v1//health",
    "/msm-admin//nodes/",
    "/msm-admin//",
    "/msm-admin/static/../access.py",
    "/msm-admin/static/%2e%2e/access.py",
    "/msm-admin/static/..%2faccess.py",
    "/msm-admin/static/..\\access.py",
    "/msm-admin/static/%2fetc%2fpasswd",
    "/msm-admin/static//etc/passwd",
    "/msm-admin/static/msm.css%00",
    "/msm-admin/static/",
    "//evil.example/msm-admin/",
]


def test_no_spelling_of_a_path_gets_past_the_door():
    client, console = client_of(admin_access=None)

    for path in SPELLINGS:
        response = client.get(path, follow_redirects=True)
        assert response.status_code in {403, 404}, path
    assert console.views == 0


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "x:",
        "/x;domain=y",
    ],
)
def test_a_prefix_of_a_proxy_leads_nowhere_else(prefix):
    client, _ = client_of()

    html = client.get("/msm-admin/act/drain?node=n1", headers={"X": "1"}).text
    fields = {**fields_in(html), "reason": "x"}
    response = client.post(
        "/msm-admin/act/drain",
        data=fields,
        headers={"Origin": ORIGIN},
        environ_overrides={"SCRIPT_NAME": prefix},
    )

    assert response.status_code == 303
    location = response.headers["Location"]
    assert location.startswith("/")
    assert location[1] not in "/\\\t"
    assert ";" not in location


@pytest.mark.parametrize("name", ["next", "url", "back", "return_to", "redirect"])
def test_nobody_else_says_where_a_change_leads(name):
    client, _ = client_of()
    fields = {**review(client, "drain?node=n1"), "reason": "x", name: "https://evil.example/"}

    response = post(client, f"/msm-admin/act/drain?{name}=https://evil.example/", fields)

    assert response.status_code == 303
    assert response.headers["Location"].startswith("/msm-admin/nodes/?applied=")


def test_the_name_the_host_is_called_by_is_on_no_page():
    client, _ = client_of()

    for name in ("Host", "X-Forwarded-Host"):
        for path in ("", "policy/", "api/v1/", "api/v1/state"):
            response = client.get("/msm-admin/" + path, headers={name: "evil.example"})
            assert "evil.example" not in response.text


# -- names from elsewhere --------------------------------------------------------------------------


PAGES = [
    "",
    "nodes/",
    "nodes/n1",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
    "act/stop",
    "act/resume",
    "act/policy?value=local",
    "act/clear?attribute=%22upload%22",
    "api/v1/state",
    "api/v1/metrics",
]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "\"'><script>alert(1)</script>",
    "</title><script>",
    "javascript:alert(1)",
    "\ud800",
    "\0\r\n\x1b[31m\u2028\u2029",
    "\u202e\u2066\u200b",
    "{{7*7}}{n}{name}{0.__class__}%s%(x)s",
    "é\U0001f600" * 500,
    "x" * 1000,
    "",
]


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        *((partial, text) for text in HOSTILE),
        *((scene, HOSTILE[1]) for scene in (all_well, node_down, all_down, stopped)),
    ],
)
def test_nothing_that_others_name_breaks_a_page(scene, text):
    """Worker, host, version, environment, reasons, errors, kinds, actors, attributes: all of it."""
    client, _ = client_of(FakeConsole(named(scene(), text)))

    for path in PAGES:
        response = client.get("/msm-admin/" + path)
        assert response.status_code == 200, path
        if response.mimetype != "text/html":
            continue
        # What a form carries and nobody sees arrives as it is.
        html = re.sub(r'<input type="hidden"[^>]*>', "", response.text)
        assert "<img" not in html
        assert "<script>" not in html
        assert html.count("<script ") == 1
        assert (html.count("{{7*7}}") > 0) is (text in html) or "{{" not in text
        assert not set(html) & set("\0\x1b\u202e\u2066\u200b\u2028\u2029\ud800")
        assert 'href="javascript:' not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_a_poll_is_json_whatever_others_name(text):
    client, _ = client_of(FakeConsole(named(partial(), text)))

    for path in PAGES[:8]:
        response = client.get(f"/msm-admin/{path}?live=x:y")
        assert response.status_code == 200
        assert response.mimetype in {"application/json", "text/html"}
        if response.mimetype == "application/json":
            assert "<img" not in "".join(
                part["html"] for part in response.json["sections"].values()
            )
            response.data.decode("ascii")


@pytest.mark.parametrize("text", [*HOSTILE[:4], "\u202e\n\x1b", "x" * 10_000])
def test_the_name_of_an_operator_is_text(text):
    client, console = client_of(admin_access=lambda request: Access("write", text))

    fields = {**review(client, "drain?node=n1"), "reason": text}
    post(client, "/msm-admin/act/drain", fields)

    (called,) = console.calls
    assert called[2].isprintable()
    assert len(called[2]) <= 64
    for path in ("", "events/", "nodes/n1", "act/stop"):
        html = client.get("/msm-admin/" + path).text
        assert "<img" not in html
        assert html.count("<script") == 1
        assert "x" * 1000 not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_a_session_that_is_looked_up_may_have_any_names_in_it(text):
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="h", attributes=((text, text),))

    data = {"token": token_of(client, "look-up"), "session": "0123456789"}
    response = post(client, "/msm-admin/sessions/look-up", data)

    assert response.status_code == 200
    assert "<img" not in response.text
    assert response.text.count("<script") == 1


ODD_HEADERS = [
    ("Accept", "," * 5000),
    ("Accept", "text/html;q=" + "9" * 500),
    ("Accept", "*/*;q=abc"),
    ("If-None-Match", '"' * 5000),
    ("If-None-Match", "*"),
    ("If-Modified-Since", "Mon, 99 Foo 99999999 99:99:99 GMT"),
    ("Range", "bytes=" + "0-0," * 1000),
    ("Range", "bytes=" + "9" * 100 + "-"),
    ("Cookie", "msm_admin_theme=<img>"),
    ("Cookie", "msm_admin_theme=dark; " * 500),
    ("Content-Length", "abc"),
    ("Content-Length", "-1"),
    ("Content-Type", "multipart/form-data"),
    ("Host", ""),
    ("Host", "["),
    ("Host", "user@host"),
    ("Host", "localhost:99999999"),
    ("Host", "x" * 5000),
    ("Origin", "x" * 5000),
]


def test_odd_headers_are_answered():
    client, _ = client_of()

    for name, value in ODD_HEADERS:
        for path in ("", "api/v1/state", "static/msm.js", "act/stop"):
            with client.get("/msm-admin/" + path, headers={name: value}) as response:
                assert response.status_code in {200, 206, 304, 400, 416}, (name, value[:30])
                if response.mimetype == "text/html":
                    assert "<img" not in response.text


# -- failures of others ----------------------------------------------------------------------------


SECRET = "postgres://shop:hunter2@db"


class FailingConsole(FakeConsole):
    """Raises in every operation, also in those that never do."""

    def __init__(self, *, but=()):
        super().__init__()
        self._but = but

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found) or name in self._but:
            return found

        def fail(*_args, **_more):
            raise RuntimeError(SECRET)

        return fail


def quiet(app):
    """Let errors be answered as in production."""
    app.testing = False
    return app.test_client()


def test_a_console_that_fails_says_nothing_of_it():
    app, _ = make_app(FailingConsole())
    client = quiet(app)

    for path in (*PAGES, "api/v1/health", "?live=x"):
        response = client.get("/msm-admin/" + path)
        assert response.status_code == 500, path
        assert SECRET not in response.text
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        if path.startswith("api/") or "live" in path:
            assert response.json["error"]["code"] == "failed"
        else:
            assert "The log of the application says what." in response.text


@pytest.mark.parametrize("name", ["drain", "probe", "reset", "undrain"])
def test_a_command_that_fails_says_nothing_of_it_but_the_log_does(name, caplog):
    app, _ = make_app(FailingConsole(but=("view", "note")))
    client = quiet(app)
    data = {**review(client, f"{name}?node=n1"), "reason": "x"}

    response = post(client, f"/msm-admin/act/{name}", data)

    assert response.status_code == 500
    assert SECRET not in response.text
    assert SECRET in caplog.text


def test_handlers_of_the_application_are_not_asked_for_pages_of_the_dashboard():
    app, _ = make_app(FailingConsole())
    for what in (Exception, 413, 500):
        app.register_error_handler(what, lambda error: (f"oh: {error!r} {session['x']}", 200))
    client = quiet(app)

    assert client.get("/msm-admin/").status_code == 500
    assert post(client, "/msm-admin/act/stop", {"x": "y" * 300_000}).status_code == 500


def test_a_nonce_that_cannot_be_made_takes_no_page_away():
    client, _ = client_of()
    client.application.jinja_env.globals["csp_nonce"] = lambda: 1 / 0

    assert client.get("/msm-admin/").status_code == 200
    assert client.get("/msm-admin/act/nope").status_code == 404


def test_what_the_application_raises_itself_is_its_own():
    app, _ = make_app()

    class NotSignedInError(Exception):
        pass

    @app.before_request
    def ask():
        raise NotSignedInError

    app.register_error_handler(NotSignedInError, lambda error: ("sign in", 401))

    response = quiet(app).get("/msm-admin/")

    assert (response.status_code, response.text) == (401, "sign in")


def test_an_application_that_hides_the_dashboard_hides_it():
    app, _ = make_app()
    app.before_request(lambda: abort(404))
    app.register_error_handler(404, lambda error: ("nothing here", 404))

    response = quiet(app).get("/msm-admin/")

    assert (response.status_code, response.text) == (404, "nothing here")


def test_a_hook_of_the_application_that_fails_opens_nothing():
    app, console = make_app()

    @app.before_request
    def fail():
        raise RuntimeError(SECRET)

    response = quiet(app).get("/msm-admin/")

    assert response.status_code == 500
    assert SECRET not in response.text
    assert console.views == 0


# -- passwords -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Port": "443"},
        {"X-Forwarded-Prefix": "/"},
        {"X-Forwarded-Server": "front"},
        {"X-Client-IP": "192.0.2.1"},
        {"CF-Connecting-IP": "192.0.2.1"},
        {"Via": "1.1 front"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example#localhost"},
    ],
)
def test_loopback_only_refuses_whatever_a_proxy_or_a_rebound_name_leaves(headers):
    client, _ = client_of(admin_access=loopback_only)

    assert client.get("/msm-admin/", headers=headers).status_code in {400, 403}


# -- caches and frames -----------------------------------------------------------------------------


def test_what_a_cache_keeps_is_asked_for_again_and_by_access():
    allowed = [Access("write", "anna.k")]
    client, _ = client_of(admin_access=lambda request: allowed[0])
    tag = client.get("/msm-admin/api/v1/state").headers["ETag"]
    headers = {"If-None-Match": tag}
    same = client.get("/msm-admin/api/v1/state", headers=headers)
    allowed[0] = None

    closed = client.get("/msm-admin/api/v1/state", headers=headers)

    assert same.status_code == 304
    assert "private" in same.headers["Cache-Control"]
    assert closed.status_code == 403
    assert closed.headers["Cache-Control"] == "no-store"


def test_no_page_is_kept_framed_or_shared():
    client, _ = client_of()

    for path in (*PAGES[:12], "api/v1/health", "nodes/nope"):
        headers = client.get("/msm-admin/" + path).headers
        assert headers["Cache-Control"] == "no-store", path
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Set-Cookie" not in headers
        assert "Access-Control-Allow-Origin" not in headers


def test_names_of_headers_are_not_taken_from_what_others_name():
    client, console = client_of(FakeConsole(named(all_well(), "x\r\nSet-Cookie: a=b")))
    fields = {**review(client, "drain?node=n1"), "reason": "x\r\nSet-Cookie: a=b"}

    response = post(client, "/msm-admin/act/drain", fields)

    assert response.status_code == 303
    assert "Set-Cookie" not in response.headers
    assert console.calls[0][3] == "x", "one line of it"


# -- much of everything ----------------------------------------------------------------------------


def crowd(nodes, workers):
    """Return a fleet of so many nodes and workers, in which everybody has an opinion of each."""
    scene = all_well()
    opinion = scene.nodes[0].opinions[0]
    opinions = tuple(replace(opinion, worker=f"w{n}") for n in range(workers))
    return replace(
        scene,
        workers=tuple(replace(scene.workers[0], id=f"w{n}") for n in range(workers)),
        nodes=tuple(replace(scene.nodes[0], id=f"n{n}", opinions=opinions) for n in range(nodes)),
    )


def test_the_state_of_a_large_fleet_looks_at_each_opinion_once():
    looked_at = 0

    class Counted(Opinion):
        @property
        def worker(self):
            nonlocal looked_at
            looked_at += 1
            return "w1"

        @worker.setter
        def worker(self, _):
            pass

    scene = crowd(10, 40)
    opinion = object.__new__(Counted)
    for name in set(Opinion.__slots__) - {"worker"}:
        object.__setattr__(opinion, name, getattr(scene.nodes[0].opinions[0], name))
    nodes = tuple(replace(node, opinions=(opinion,) * 40) for node in scene.nodes)

    state = document(replace(scene, nodes=nodes), poll_after=3.0)

    assert state["workers"][1]["nodes"]["n9"] == "up"
    assert looked_at == 10 * 40


def test_no_page_grows_without_end_with_workers_that_somebody_made_up():
    client, _ = client_of(FakeConsole(crowd(3, 2000)))

    for path in ("", "nodes/", "nodes/n1", "workers/", "api/v1/state"):
        assert len(client.get("/msm-admin/" + path).data) < 500_000, path
    assert "and 1,800 more" in client.get("/msm-admin/workers/").text.replace("1800", "1,800")


# -- what settings hide ----------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [{"admin_hide_errors": True}, {"admin_hide_addresses": True}])
def test_what_is_hidden_is_not_told_by_an_event(hidden):
    console = FakeConsole()
    error = "NodeUnreachableError: 10.9.8.7:11211 refused, by db1.internal"
    probed = console.note("probed", f"n1: {error}, by anna.k (why)", actor="anna.k").event
    down = Event(id="x.1", at=1.0, level="error", kind="node_down", text=f"n1 is down ({error})")
    console.snapshot = replace(console.snapshot, events=(down, *console.snapshot.events))
    client, _ = client_of(console, **hidden)

    for path in (f"nodes/?applied={probed}", "events/", "", "api/v1/state"):
        html = client.get("/msm-admin/" + path).text
        assert "n1: NodeUnreachableError, by anna.k (why)" in html, path
        assert "10.9.8.7" not in html
        assert "db1.internal" not in html
    assert "n1 is down (NodeUnreachableError)" in client.get("/msm-admin/events/").text


# -- over a real console and real records ----------------------------------------------------------


def crew_with_dashboard(count=1):
    crew = Crew(
        count,
        MSM_ADMIN=True,
        MSM_ADMIN_ACCESS=lambda request: Access("write", "anna.k"),
        MSM_SERIALIZATION_POLICY="blacklist",
    )
    crew.tick()
    return crew


def told_by_all_pages(client, pages=tuple(page for page in PAGES if "upload" not in page)):
    """Return all pages in one text."""
    answers = [client.get("/msm-admin/" + path) for path in pages]
    assert {answer.status_code for answer in answers} == {200}
    return "\n".join(answer.text for answer in answers)


WORST = ("control characters", "half a character", "a huge number", "a long text", "a map of maps")


@pytest.mark.parametrize("odd", [ODD[name] for name in WORST], ids=WORST)
def test_reports_that_somebody_with_the_key_forged_break_no_page(odd):
    crew = crew_with_dashboard(2)
    one, other = crew.workers
    client = one.browser()
    html_pages = [page for page in PAGES if not page.startswith("api/") and "upload" not in page]
    publisher = other.cluster.publisher
    facts = json.loads(json.dumps(publisher.facts(other.cluster.monitor.numbers)))
    names = (*facts, "blacklist")
    inner = ("state", "since", "numbers", "latencies", "error", "failures", "retry_at", "trusted")
    reports = {f"host:{n}": {**facts, name: odd} for n, name in enumerate(names)}
    reports["host:all"] = dict.fromkeys(names, odd)
    reports["host:\ud800<img>"] = facts
    reports["host:inner"] = {
        **facts,
        "nodes": {node: dict.fromkeys(inner, odd) for node in crew.nodes},
        "events": [dict.fromkeys(("id", "at", "level", "kind", "text", "node", "actor"), odd)],
    }
    found = {name: Report(name, 1, said) for name, said in reports.items()}
    for name in found:
        one.cluster.heartbeat.shared.put(name, b"{}")
    one.cluster.observer._later = lambda job: False
    one.cluster.observer._seen = Seen(crew.clock.now, found, frozenset(found), "fleet")

    html = told_by_all_pages(client, html_pages)

    assert "host:all" in html
    assert "<img" not in html
    html = re.sub(r'<input type="hidden"[^>]*>', "", html)
    assert not set(html) & set("\0\x1b\ud800")
    told_by_all_pages(client, ["api/v1/state", "api/v1/metrics"])


def test_nothing_of_a_session_is_told_on_any_page_or_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    crew = crew_with_dashboard()
    (shop,) = crew.workers
    shop.do(lambda: session.update(card="4111111111111111", pdf=threading.Lock()))
    client = shop.browser(shop.cookie())
    crew.tick()

    html = told_by_all_pages(client)
    token = re.findall(r'name="token" value="([^"]+)"', client.get("/msm-admin/sessions/").text)[-1]
    for data in ({"session": shop.cookie()}, {"own": "1"}, {"session": shop.cookie()[:-1]}):
        html += post(client, "/msm-admin/sessions/look-up", {"token": token, **data}).text
    html += told_by_all_pages(client)

    assert "pdf" in html
    assert "was looked up" in html
    for secret in (shop.cookie(), shop.token().sid, "4111111111111111"):
        assert secret not in html
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["version\r\nflush_all\r\n", "0123456789 ", "012345678*", "a b", "\0" * 10, "../../x", "*"],
)
def test_what_an_operator_types_is_no_part_of_a_command(text):
    crew = crew_with_dashboard()
    (shop,) = crew.workers
    client = shop.browser()
    asked = []
    for node in crew.nodes.values():
        node._exchange = functools.partial(noted, node._exchange, asked)
        node.metadump = functools.partial(listed, asked)
    name = json.dumps(text)
    pages = {
        "look-up": ("sessions/look-up", {"session": text}),
        "revoke": ("sessions/revoke", {"handle": text, "word": "revoke"}),
        "pin": ("act/pin", {"attribute": name}),
        "clear": ("act/clear", {"attribute": name}),
    }
    for action, (path, data) in pages.items():
        token = Tokens().make(shop.app, "anna.k", action)
        post(client, "/msm-admin/" + path, {"token": token, "reason": text, **data})

    assert asked
    assert all(re.fullmatch(r"[\x21-\x7e]{1,250}", key) for key in asked)
    assert not any(text.strip() in key for key in asked if text.strip() not in {"", "0123456789"})


def noted(exchange, asked, name, key, act):
    asked.append(key)
    return exchange(name, key, act)


def listed(asked, prefix, deadline):
    asked.append(prefix)
    return []
