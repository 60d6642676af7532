"""A browser, two real workers and three real memcached: what happens is seen, what is done holds.

One fleet and one Chromium for the whole file, so each test leaves the fleet as it found it.
"""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect
from support.operator import ANNA, POLL
from support.sites import Browser, Sites

from flask_msm.testing.memcached import wait_until
from harness.memcached import Memcached


pytestmark = [pytest.mark.browser, pytest.mark.memcached]

QUICK = 0.25
#: Milliseconds in which something gets from a node through two workers to a page, on a machine
#: that is busy as well: a probe, a report, a look at the reports, a poll.
PATIENCE = 60_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two workers that share three nodes and a host."""
    folder = tmp_path_factory.mktemp("fleet")
    config = {
        "MSM_PROBE_INTERVAL": QUICK,
        "MSM_PROBE_MAX_BACKOFF": QUICK,
        "MSM_ADMIN": True,
        "MSM_LOCAL_DIR": str(folder / "storage"),
        "MSM_ADMIN_ACCESS": ANNA,
        "MSM_ENVIRONMENT": "test",
    }
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(POLL, str(QUICK))
        nodes = [stack.enter_context(Memcached()) for _ in range(3)]
        running = stack.enter_context(Sites(nodes, folder, **config))
        running.add("one", "other")
        running.start()
        running.wait_all_up()
        yield running
        assert running.troubles() == []


@pytest.fixture(scope="module")
def context(browser):
    """One context for all pages; the console has to stay silent."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(PATIENCE)
    messages = []
    made.on("console", lambda message: messages.append(message.text))
    made.on("weberror", lambda error: messages.append(str(error.error)))
    yield made
    made.close()
    assert messages == []


@pytest.fixture
def open_at(context, fleet):
    """Open a page of the dashboard of one worker, the first or the second."""
    pages = []

    def make(number, path=""):
        page = context.new_page()
        pages.append(page)
        page.goto(f"{fleet.sites[number].url}/msm-admin/{path}")
        page.evaluate("window.same = true")
        return page

    yield make
    for page in pages:
        page.close()


def shows(page, selector, text):
    """Wait until *page*, which was not loaded again, shows *text*."""
    expect(page.locator(selector)).to_contain_text(text, timeout=PATIENCE)
    assert page.evaluate("window.same"), "the page was loaded again"


def obeys(worker):
    """Return the state of a worker from its own report."""
    return Browser().ask(worker, "/obeys").json()


def confirm(page, reason, button, word=None):
    """Do what a review asks for."""
    page.get_by_label("Reason").fill(reason)
    if word:
        page.get_by_label(re.compile(f"Type {word}")).fill(word)
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**applied=*")
    page.evaluate("window.same = true")


def test_a_node_that_dies_and_comes_back_is_seen_on_the_pages_of_both_workers(fleet, open_at):
    pages = [open_at(0), open_at(1)]
    for page in pages:
        shows(page, "h1", "All sessions are safe")
        shows(page, "[data-live=verdict] .sure", "3 of 3 nodes answer")

    fleet.nodes[2].kill()
    for page in pages:
        shows(page, "#n-n3 .word", "Down")
        shows(page, "[data-live=verdict]", "refused")
        shows(page, "h1", "n3 is down")
        assert page.title().startswith("n3 is down")
        shows(page, "[data-live=recent]", "n3")
    fleet.nodes[2].start()
    for page in pages:
        shows(page, "#n-n3 .word", "Up")
        shows(page, "h1", "All sessions are safe")


def test_a_policy_that_is_chosen_on_a_page_is_obeyed_by_the_other_worker(fleet, open_at):
    here, other = fleet.sites
    assert obeys(other)["policy"] == "raise"
    assert other.ask("/unserializable/cart", {}).status == 500
    page, watched = open_at(0, "policy/"), open_at(1)

    page.locator("input[value=blacklist]").check()
    page.get_by_role("button", name="Review the change").first.click()
    expect(page.locator("h1")).to_have_text("Change from Raise to Blacklist?")
    confirm(page, "until the fix is out", "Change to Blacklist")

    shows(page, "[data-live=banner]", "Accepted.")
    shows(page, "[data-live=banner]", "Applied by all 2 workers.")
    shows(page, "[data-live=choices]", "applied by 2 of 2 workers")
    wait_until(lambda: obeys(other)["policy"] == "blacklist", "the other worker obeys")
    assert other.ask("/unserializable/cart", {}).status == 200
    shows(watched, "[data-live=policy] .big", "Blacklist")
    shows(watched, "[data-live=policy]", "anna.k")
    shows(watched, "[data-live=attributes]", "cart")

    # Who, when, why, from what to what: on the page of the other worker, and in the audit log.
    events = open_at(1, "events/?kind=policy_changed")
    shows(events, ".events li", "policy: raise -> blacklist")
    shows(events, ".events li", "by anna.k (until the fix is out)")
    expect(events.locator(".events li .when")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
    (line,) = [entry for entry in fleet.entries() if entry.logger == "flask_msm.audit"]
    assert "raise -> blacklist, by anna.k (until the fix is out); told to n" in line.text

    watched.goto(f"{other.url}/msm-admin/act/policy?value=raise")
    confirm(watched, "it is out", "Change to Raise")
    shows(watched, "[data-live=banner]", "Applied by all 2 workers.")
    shows(page, "[data-live=choices]", "Raise, applied by 2 of 2 workers")
    assert obeys(here)["policy"] == "raise"


def test_distribution_is_stopped_and_started_for_all_workers(fleet, open_at):
    here, other = fleet.sites
    page, watched = open_at(0, "policy/"), open_at(1)

    page.get_by_role("link", name="Stop distribution").click()
    confirm(page, "new switches", "Stop distribution", word="stop")
    shows(page, "[data-live=banner]", "Applied by all 2 workers.")
    shows(watched, "h1", "Distribution is stopped by an operator")
    wait_until(lambda: obeys(other)["mode"] == "stopped", "the other worker obeys")
    assert obeys(here)["mode"] == "stopped"

    watched.get_by_role("link", name="Resume distribution").click()
    confirm(watched, "they work", "Resume distribution")
    shows(watched, "[data-live=banner]", "Applied by all 2 workers.")
    shows(page, "h1", "All sessions are safe")
    wait_until(lambda: obeys(here)["mode"] == "distributed", "the first worker obeys")
