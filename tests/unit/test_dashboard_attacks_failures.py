"""Attacks on the dashboard: what it says when others fail."""

from __future__ import annotations

import pytest
from flask import session
from support.attacks import PAGES
from support.dashboard import make_app, post, review
from support.fake_console import FakeConsole


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
