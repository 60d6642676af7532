"""Every button of every page of the dashboard, in every state, does what it says."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from support.dashboard import client_of
from support.fake_console import FakeConsole
from support.fleet_scenes import NOW, SCENES

from flask_msm.operations.snapshot import SessionFacts


takes_minutes = pytest.mark.skipif(
    "EVERY_BUTTON" not in os.environ, reason="make test-all clicks every button"
)
BASE = "/msm-admin/"
PATHS = (
    "",
    "nodes/",
    "nodes/n1",
    "nodes/n2",
    "nodes/n3",
    "nodes/unknown",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
)
#: Its words, where it goes: the command the console gets in the end, or the page it opens.
LEADS_TO = {
    ("Back", "nodes/"): "nodes/",
    ("Cancel", ""): "",
    ("Clear", "act/clear"): ("clear_blacklist", ["cart_pdf"]),
    ("Clear all listed", "act/clear"): ("clear_blacklist", ["cart_pdf", "upload"]),
    ("Change the failure policy", "policy/"): "policy/",
    ("Drain", "act/drain"): ("drain", "n1"),
    ("Forget", "act/forget"): ("forget_worker", "web-2:11211"),
    ("Forget failures", "act/reset"): ("reset_circuit", "n1"),
    ("Look it up", "sessions/look-up"): ("lookup", "abcdefghij"),
    ("Look up my own", "sessions/look-up"): ("lookup", "my-cookie"),
    ("Pin", "act/pin"): ("pin", "cart_pdf"),
    ("Probe now", "act/probe"): ("probe", "n1"),
    ("Resume distribution", "act/resume"): ("distribute", "running"),
    ("Review the change", "act/on_reconnect"): ("set_on_reconnect", "promote"),
    ("Review the change", "act/policy"): ("set_policy", "blacklist"),
    ("Revoke this session", "sessions/revoke"): ("revoke", "a handle"),
    ("Show", "events/"): "events/",
    ("Show", "workers/"): "workers/",
    ("Stop distribution", "act/stop"): ("distribute", "stopped"),
    ("Undrain", "act/undrain"): ("undrain", "n2"),
    ("Unpin", "act/unpin"): ("unpin", "_trace_cb"),
}
#: Other tests click the rest.
ALWAYS = {
    ("Back", "nodes/"),
    ("Look up my own", "sessions/look-up"),
    ("Clear", "act/clear"),
}
#: These are clicked in ``test_live.py``: they are for the page itself.
FOR_THE_PAGE = {"pause", "theme"}
FOUND = SessionFacts(ref="abcdefghij", handle="a handle")


class Buttons(HTMLParser):
    """All of a page that looks like a button."""

    def __init__(self, html):
        super().__init__()
        self.found = set()
        self.form = self.target = self.words = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "form":
            self.form = attributes["action"]
        is_link = tag == "a" and "button" in attributes.get("class", "").split()
        if (tag == "button" or is_link) and attributes.get("id") not in FOR_THE_PAGE:
            self.target, self.words = attributes.get("href", self.form), ""

    def handle_data(self, data):
        if self.words is not None:
            self.words += data

    def handle_endtag(self, tag):
        if tag in {"a", "button"} and self.words is not None:
            words = " ".join(self.words.split())
            self.found.add((words, urlsplit(self.target).path.removeprefix(BASE)))
            self.words = None


@pytest.fixture(scope="module")
def places():
    """Where each button is found first: the name of the scene, and the path."""
    found = {}
    for name, scene in SCENES.items():
        client, console = client_of(FakeConsole(scene()))
        console.found = FOUND
        for path in PATHS:
            for button in Buttons(client.get(BASE + path).text).found:
                found.setdefault(button, (name, path))
    return found


def test_each_button_there_is_has_a_line_here(places):
    # To end a session is offered once it is found.
    assert {*places, ("Revoke this session", "sessions/revoke")} == LEADS_TO.keys()


@pytest.mark.browser
@pytest.mark.parametrize(
    "button",
    [
        pytest.param(
            button, id=" to ".join(button), marks=() if button in ALWAYS else takes_minutes
        )
        for button in LEADS_TO
    ],
)
def test_a_button_does_what_it_says(open_page, served, places, button):
    scene, path = places.get(button, ("all_well", "sessions/"))
    server = served(SCENES[scene](at=NOW))
    server.console.found = FOUND
    page = open_page()
    page.context.add_cookies([{"name": "session", "value": "my-cookie", "url": server.url}])
    page.goto(server.url + path)
    if path == "sessions/":
        page.fill("#session", "abcdefghij")
    if button[0] == "Revoke this session":
        click(page, "Look it up", "sessions/look-up")

    click(page, *button)

    opened = page.url.removeprefix(server.url)
    if opened.startswith("act/"):
        # The other button of a review leads away, and nothing is done.
        with page.expect_navigation():
            page.locator("form.review .buttons a.button").click()
        assert server.console.calls == []
        page.go_back()
        confirm(page)
    expected = LEADS_TO[button]
    if isinstance(expected, str):
        assert urlsplit(opened).path == expected
        assert server.console.calls == []
    else:
        assert server.console.calls[-1][:2] == expected
    expect(page.locator("h1").first).to_be_visible()
    # Chromium mentions the page that is not there.
    open_page.messages[:] = [m for m in open_page.messages if "status of 404" not in m]


def click(page, words, target):
    """Click the first button of these words that goes there."""
    own = re.compile(r"^\s*" + r"\s+".join(words.split()) + r"\s*$")
    where = BASE + target
    places = f'form[action="{where}"] button, a.button[href^="{where}"]'
    button = page.locator(places).filter(has_text=own).first
    if target == "sessions/revoke":
        fill(page)
    with page.expect_navigation():
        button.click()


def confirm(page):
    """Say why and what is asked for, and do it."""
    fill(page)
    with page.expect_navigation():
        page.locator("form.review .buttons button").click()


def fill(page):
    form = page.locator("form.review").first
    for name in ("reason", "word"):
        field = form.locator(f"#{name}")
        if field.count():
            word = form.locator("label[for=word] code")
            field.fill(word.inner_text() if name == "word" else "a look around")
