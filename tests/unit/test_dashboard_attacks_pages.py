"""Attacks on the dashboard: what pages say of failures, secrets, hostile names and of many."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import session
from support.attacks import HOSTILE, HTML_PAGES, PAGES, named
from support.dashboard import client_of, make_app, post, review, token_of
from support.fake_console import FakeConsole
from support.fleet_scenes import all_down, all_well, node_down, partial, stopped

from flask_msm.operations.snapshot import Event, Opinion, SessionFacts
from flask_msm.operations.state.document import document
from flask_msm_dashboard import Access


# -- what it says when others fail -----------------------------------------------------------------


SECRET = "postgres://shop:hunter2@db"
#: How the scripts of the dashboard itself begin.
OURS = '<script src="/msm-admin/static/'


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
    app, _ = make_app(FailingConsole(but=("view", "look", "note")))
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


# -- what caches keep, and what settings hide ------------------------------------------------------


def test_a_cached_answer_is_validated_again_and_by_access():
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

    for path in (*HTML_PAGES, "api/v1/health", "nodes/nope"):
        headers = client.get("/msm-admin/" + path).headers
        assert headers["Cache-Control"] == "no-store", path
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Set-Cookie" not in headers
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("hidden", [{"admin_hide_errors": True}, {"admin_hide_addresses": True}])
def test_hidden_errors_and_addresses_are_not_in_events_either(hidden):
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


# -- names and sentences that come from elsewhere --------------------------------------------------


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
        # Hidden fields of a form carry the text as it is.
        html = re.sub(r'<input type="hidden"[^>]*>', "", response.text)
        assert "<img" not in html
        assert "<script>" not in html
        assert html.count("<script ") == html.count(OURS)
        assert (html.count("{{7*7}}") > 0) is (text in html) or "{{" not in text
        assert not set(html) & set("\0\x1b\u202e\u2066\u200b\u2028\u2029\ud800")
        assert 'href="javascript:' not in html


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
        assert html.count("<script") == html.count(OURS)
        assert "x" * 1000 not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_a_session_that_is_looked_up_may_have_any_names_in_it(text):
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="h", attributes=((text, text),))

    data = {"token": token_of(client, "look-up"), "session": "0123456789"}
    response = post(client, "/msm-admin/sessions/look-up", data)

    assert response.status_code == 200
    assert "<img" not in response.text
    assert response.text.count("<script") == response.text.count(OURS)


def test_names_of_headers_are_not_taken_from_what_others_name():
    client, console = client_of(FakeConsole(named(all_well(), "x\r\nSet-Cookie: a=b")))
    fields = {**review(client, "drain?node=n1"), "reason": "x\r\nSet-Cookie: a=b"}

    response = post(client, "/msm-admin/act/drain", fields)

    assert response.status_code == 303
    assert "Set-Cookie" not in response.headers
    assert console.calls[0][3] == "x", "one line of it"


# -- much of everything ----------------------------------------------------------------------------


def crowd(nodes, workers):
    """Return a fleet of so many nodes and workers, in which each worker reports each node."""
    scene = all_well()
    opinion = scene.nodes[0].opinions[0]
    opinions = tuple(opinion._replace(worker=f"w{n}") for n in range(workers))
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

    scene = crowd(10, 40)
    opinion = Counted(*scene.nodes[0].opinions[0])
    nodes = tuple(replace(node, opinions=(opinion,) * 40) for node in scene.nodes)

    state = document(replace(scene, nodes=nodes), poll_after=3.0)

    assert state["workers"][1]["nodes"]["n9"] == "up"
    assert looked_at == 10 * 40


def test_no_page_grows_without_end_with_forged_workers():
    client, _ = client_of(FakeConsole(crowd(3, 2000)))

    for path in ("", "nodes/", "nodes/n1", "workers/", "api/v1/state"):
        assert len(client.get("/msm-admin/" + path).data) < 500_000, path
    assert "and 1,800 more" in client.get("/msm-admin/workers/").text.replace("1800", "1,800")
