"""One Chromium for all tests here, and pages that complain about everything."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect, sync_playwright
from support.browser import HOW_TO_INSTALL, Served, chromium, launched


#: Time in milliseconds in which what is waited for comes true, on a machine that is busy as well.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


# Not for all tests: the loop of Playwright would run on in their thread.
@pytest.fixture(scope="module")
def browser():
    if chromium() is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with sync_playwright() as playwright, launched(playwright) as running:
        yield running


@pytest.fixture
def open_page(browser, served):
    """Open pages; the console has to stay silent in all of them."""
    del served  # only so that pages are closed before what they ask
    contexts, messages = [], []

    def make(*, width=1280, theme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=theme, **options
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        return page

    make.messages = messages
    yield make
    for context in contexts:
        context.close()
    assert messages == []


@pytest.fixture
def served():
    """Serve the dashboard over a fake console; ends with the test."""
    running = []

    def make(snapshot=None, **options):
        server = Served(snapshot, **options)
        server.__enter__()
        running.append(server)
        return server

    yield make
    for server in running:
        server.__exit__()
