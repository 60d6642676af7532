"""The guides do what they say: the first steps, and both ways to move."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, session
from flask_session import Session as FlaskSession
from pymemcache.client.base import Client
from support.apps import FakeManager

import flask_msm
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("get-started", "moving")
}


def block(page, language, *, with_text):
    """Return the first block of *language* that holds *with_text*."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return next(text for text in found if with_text in text)


def run(program):
    names = {"__name__": "shop"}
    exec(compile(program, "docs", "exec"), names)
    return names["app"]


@contextmanager
def closing(app):
    try:
        yield app
    finally:
        app.extensions["msm"].close()


# -- get started ---------------------------------------------------------------------------------


def test_the_quick_start_counts_on_while_nodes_are_killed(memcached):
    nodes = {port: memcached() for port in ("11311", "11312", "11313")}
    program = block("get-started", "python", with_text="def count")
    for port, node in nodes.items():
        program = program.replace(port, str(node.port))
    with closing(run(program)) as app:
        browser = app.test_client()
        assert browser.get("/").json["copies"] == []
        assert len(browser.get("/").json["copies"]) >= 2

        def status():
            return app.test_cli_runner().invoke(args=["msm", "status"])

        wait_until(lambda: status().exit_code == 0, "the worker has reported")
        shown = block("get-started", "text", with_text="all is well")
        assert status().output == shown.replace("2 distributed", "1 distributed").replace(
            "2 of 2", "1 of 1"
        )

        nodes["11312"].kill()
        assert browser.get("/").json["visits"] == 3
        for node in nodes.values():
            node.kill()
        assert [browser.get("/").json["visits"] for _ in range(3)] == [4, 5, 6]
        assert browser.get("/").json["copies"] == ["local"]


# -- moving --------------------------------------------------------------------------------------


@pytest.fixture
def moved(monkeypatch):
    """Make the application of the guide, with nodes in memory and a view that tells the user."""

    def make(program):
        monkeypatch.setattr(flask_msm, "MemcachedSessionManager", FakeManager)
        program = program.replace("app.config.update(", "app.config.update(MSM_PROBE_INTERVAL=0,")
        app = run(program)
        app.add_url_rule("/", view_func=lambda: str(session.get("user")))
        app.add_url_rule("/out", "out", lambda: flask_msm.destroy() or "out")
        return app

    return make


def former_cookie(app):
    """Return the cookie of a user who signed in to *app*."""
    app.secret_key = "as before"
    app.add_url_rule("/in", view_func=lambda: session.update(user="anna") or "in")
    browser = app.test_client()
    browser.get("/in")
    return browser.get_cookie("session").value


def show_that_it_is_adopted(app, cookie):
    browser = app.test_client()
    browser.set_cookie("session", cookie)
    assert browser.get("/").text == "anna"
    assert browser.get_cookie("session") is None
    assert browser.get_cookie("sid").value
    assert browser.get("/").text == "anna"

    browser.get("/out")
    assert browser.get("/").text == "None"

    stranger = app.test_client()
    stranger.set_cookie("session", "made up \x7f" * 40)
    assert stranger.get("/").text == "None"


def test_sessions_of_flask_are_adopted_as_the_guide_says(moved):
    app = moved(block("moving", "python", with_text="SecureCookieSessionInterface"))

    show_that_it_is_adopted(app, former_cookie(Flask("former")))


def test_sessions_of_flask_session_are_adopted_as_the_guide_says(moved, memcached):
    node = memcached()
    program = block("moving", "python", with_text="PooledClient")
    program = program.replace('("10.0.0.9", 11211)', f'("{node.host}", {node.port})')
    former = Flask("former")
    client = Client((node.host, node.port), default_noreply=False)
    former.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=client)
    FlaskSession(former)
    cookie = former_cookie(former)
    app = moved(program)

    show_that_it_is_adopted(app, cookie)

    # Moved, not copied: the former cookie is of no use after the sign-out.
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    assert thief.get("/").text == "None"
    client.close()


def test_a_former_store_that_is_away_is_no_error(moved, memcached):
    node = memcached()
    program = block("moving", "python", with_text="PooledClient")
    app = moved(program.replace('("10.0.0.9", 11211)', f'("{node.host}", {node.port})'))
    node.kill()
    browser = app.test_client()
    browser.set_cookie("session", "another")

    assert browser.get("/").text == "None"
    # It is tried again when it is back.
    assert browser.get_cookie("session") is not None


# -- sizing --------------------------------------------------------------------------------------


def test_a_session_takes_what_the_sizing_of_operating_says(memcached):
    node = memcached()
    app = Flask("shop")
    app.config.update(
        SECRET_KEY="x", MSM_NODES=f"{node.host}:{node.port}", MSM_REPLICAS=1, MSM_PROBE_INTERVAL=0
    )
    flask_msm.MemcachedSessionManager(app)
    values = {f"name{number}": os.urandom(100) for number in range(5)}
    app.add_url_rule("/in", view_func=lambda: session.update(values) or "in")
    app.add_url_rule("/out", "out", lambda: flask_msm.destroy() or "out")
    browsers = [app.test_client() for _ in range(50)]

    def each_takes(path):
        for browser in browsers:
            browser.get(path)
        return (int(node.stats()["bytes"]) - before) / len(browsers)

    with closing(app):
        app.test_client().get("/in")  # what the fleet keeps there is there by now
        before = int(node.stats()["bytes"])
        content = sum(len(name) + len(value) for name, value in values.items())
        by_the_formula = content + 200 + 12 * len(values)
        assert 0.85 * by_the_formula < each_takes("/in") <= by_the_formula
        # 180 bytes of a tombstone.
        assert 150 < each_takes("/out") <= 180
