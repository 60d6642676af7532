"""Texts of Flask-Babel in messages, as people see them over Flask's session and over this one."""

from __future__ import annotations

from pathlib import Path

import flask_login
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from flask import Flask, flash, get_flashed_messages, redirect, request, session
from flask_babel import Babel, gettext, lazy_gettext, lazy_ngettext

from flask_msm import MemcachedSessionManager
from flask_msm.testing import Nodes


GERMAN = {
    "Please sign in.": "Bitte <b>melden</b> Sie sich an.",
    "Please sign in again.": "Bitte melden Sie sich noch einmal an.",
    "Saved: %(thing)s": "Gespeichert: %(thing)s",
    ("%(num)s thing", "%(num)s things"): ("%(num)s Ding", "%(num)s Dinge"),
}
PAGE = "{% for text in get_flashed_messages() %}<p>{{ text }}</p>{% endfor %}"


@pytest.fixture(scope="module")
def translations(tmp_path_factory) -> Path:
    """The texts in German, as ``pybabel compile`` writes them."""
    folder = tmp_path_factory.mktemp("translations")
    catalog = Catalog(locale="de")
    for text, german in GERMAN.items():
        catalog.add(text, german)
    compiled = folder / "de" / "LC_MESSAGES" / "messages.mo"
    compiled.parent.mkdir(parents=True)
    with compiled.open("wb") as file:
        write_mo(file, catalog)
    return folder


def make_app(translations: Path) -> Flask:
    """Return an application with people who sign in, and messages in their language."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="of the tests of messages", BABEL_TRANSLATION_DIRECTORIES=str(translations)
    )
    Babel(app, locale_selector=lambda: request.accept_languages.best_match(["en", "de"]))
    manager = flask_login.LoginManager(app)
    manager.login_view = manager.refresh_view = "door"
    manager.login_message = lazy_gettext("Please sign in.")
    manager.needs_refresh_message = lazy_gettext("Please sign in again.")

    @manager.user_loader
    def load(name):
        user = flask_login.UserMixin()
        user.id = name
        return user

    @app.get("/door")
    def door():
        return app.jinja_env.from_string(PAGE).render(get_flashed_messages=get_flashed_messages)

    @app.get("/sign-in")
    def sign_in():
        flask_login.login_user(load("ann"))
        session["_fresh"] = False
        return "in"

    @app.get("/mine")
    @flask_login.login_required
    def mine():
        return "mine"

    @app.get("/secrets")
    @flask_login.fresh_login_required
    def secrets():
        return "secrets"

    @app.get("/save")
    def save():
        flash(lazy_gettext("Saved: %(thing)s", thing="<a>"))
        flash(lazy_ngettext("%(num)s thing", "%(num)s things", 2))
        flash(gettext("Saved: %(thing)s", thing="<a>"))
        session["greeting"] = lazy_gettext("Please sign in.")
        return redirect("/door")

    @app.get("/greeting")
    def greeting():
        return session["greeting"]

    return app


@pytest.fixture(params=["the session of Flask", "this session"])
def browser(request, translations):
    """A browser that asks for German, at an application with either session."""
    app = make_app(translations)
    with Nodes(real=True) as nodes:
        if request.param == "this session":
            app.config.update(nodes.config(), MSM_ADMIN=False)
            MemcachedSessionManager(app)
        client = app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de"
        yield client


def test_the_translated_message_of_a_login_wall_is_on_the_next_page(browser):
    shut = browser.get("/mine")
    assert (shut.status_code, shut.location) == (302, "/door?next=%2Fmine")
    assert browser.get("/door").text == "<p>Bitte <b>melden</b> Sie sich an.</p>"
    assert browser.get("/door").text == ""

    browser.get("/sign-in")
    assert browser.get("/mine").text == "mine"
    assert browser.get("/secrets").status_code == 302
    assert browser.get("/door").text == "<p>Bitte melden Sie sich noch einmal an.</p>"
    assert browser.get("/mine").text == "mine"


def test_a_translated_message_keeps_the_language_it_was_set_in(browser):
    browser.get("/save")
    browser.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"

    # What is lazy knows how it looks in a page, so Flask does not escape it; a plain text is.
    assert browser.get("/door").text == (
        "<p>Gespeichert: <a></p><p>2 Dinge</p><p>Gespeichert: &lt;a&gt;</p>"
    )
    assert browser.get("/greeting").text == "Bitte <b>melden</b> Sie sich an."
