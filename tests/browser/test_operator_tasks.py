"""What an operator wants to know at night, in a browser: the ten tasks, and what each one costs.

One fleet for the whole file, so each test leaves it as it found it. Clicks and loaded pages are
counted from the overview, signed in; ``docs/dashboard.md`` says on which page each is answered.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from support.operator_stage import (
    alert_of_death,
    is_signed_in,
    is_time,
    outages,
    signed_in,
    stage,
    written_down,
)

from flask_msm.testing.memcached import wait_until


pytestmark = [pytest.mark.browser, pytest.mark.memcached]

#: Milliseconds in which something gets from a node through two workers to a page, on a machine
#: that is busy as well: a probe, a report, a look at the reports, a poll.
PATIENCE = 60_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with stage(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture(scope="module")
def context(browser):
    """One context for all pages; the console has to stay silent."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(PATIENCE)
    messages = []
    made.on("console", lambda message: messages.append(message.text))
    yield made
    made.close()
    assert messages == []


class Operator:
    """An operator at the overview of one worker: clicks and loaded pages are counted."""

    def __init__(self, page, base):
        self.page, self.base = page, base
        page.goto(base)
        self.clicks = self.loads = 0
        page.on("load", self._loaded)

    def _loaded(self, _):
        self.loads += 1

    @property
    def cost(self):
        """Clicks and pages so far, also one that shows all and is loading its last files."""
        self.page.wait_for_load_state("load")
        return self.clicks, self.loads

    def click(self, selector, **options):
        self.clicks += 1
        self.page.locator(selector, **options).first.click()

    def menu(self, path):
        self.click(f'nav[aria-label="Pages"] a[href$="/{path}/"]')
        self.page.wait_for_url(f"**/{path}/")

    def fill(self, reason, word=None):
        """Type what a review asks for."""
        self.page.get_by_label("Reason").fill(reason)
        if word:
            self.page.get_by_label(re.compile(f"Type {word}")).fill(word)

    def confirm(self, reason, word=None):
        self.fill(reason, word)
        self.click("form.review .buttons button")
        self.page.wait_for_url("**applied=*")

    def shows(self, selector, text):
        expect(self.page.locator(selector).first).to_contain_text(text, timeout=PATIENCE)

    def is_green(self):
        expect(self.page.locator(".verdict.ok")).to_be_visible(timeout=PATIENCE)

    def cause(self, title, text):
        """Wait for a cause in the verdict: what, since when, who is hurt, what to do."""
        item = self.page.locator(".attention > li").filter(has_text=title)
        expect(item).to_contain_text(text, timeout=PATIENCE)
        expect(item).to_contain_text("Who is hurt")
        expect(item).to_contain_text("What to do")
        assert item.locator("ol li").count() >= 1
        assert is_time(item.locator("small").first.inner_text())


@pytest.fixture
def operator_at(context, fleet):
    """Open the overview of the first worker or the second."""
    pages = []

    def make(number=0):
        pages.append(context.new_page())
        return Operator(pages[-1], f"{fleet.sites[number].url}/msm-admin/")

    yield make
    for page in pages:
        page.close()


def obeys(worker):
    """Return the state of a worker from its own report."""
    return worker.ask("/obeys").json()


def test_a_node_that_dies_and_comes_back_is_seen_on_the_pages_of_both_workers(fleet, operator_at):
    """Task 1."""
    operators = [operator_at(0), operator_at(1)]
    for operator in operators:
        operator.is_green()

    fleet.nodes[2].kill()

    for operator in operators:
        operator.shows("h1", "n3 is down. No user was signed out")
        operator.cause("n3 is down", "refused")
    fleet.nodes[2].start()
    for operator in operators:
        operator.is_green()
        assert operator.cost == (0, 0)


def test_a_node_that_hangs_is_told_from_one_that_is_dead(fleet, operator_at):
    """Task 2."""
    operator = operator_at()
    operator.is_green()

    fleet.nodes[0].pause()
    try:
        operator.cause("n1 is down", re.compile("time|in time|not answer"))
    finally:
        fleet.nodes[0].resume()

    operator.is_green()
    assert operator.cost == (0, 0)


def test_the_page_says_when_the_next_node_of_a_round_may_be_restarted(fleet, operator_at):
    """Task 3."""
    operator = operator_at()

    for number in (2, 1):
        fleet.nodes[number].kill()
        operator.cause(f"n{number + 1} is down", re.compile("estart no other node"))
        fleet.nodes[number].start()
        operator.is_green()

    assert operator.cost == (0, 0)


def test_a_policy_that_is_chosen_on_a_page_is_obeyed_by_the_other_worker(fleet, operator_at):
    """Task 4, and back."""
    here, other = fleet.sites
    operator, watched = operator_at(0), operator_at(1)
    assert other.ask("/unserializable/cart", {}).status == 500

    operator.menu("policy")
    operator.click("input[value=blacklist]")
    operator.click('form[action$="act/policy"] button')
    operator.shows("h1", "Change from Raise to Blacklist?")
    operator.confirm("until the fix is out")

    operator.shows("[data-live=banner]", "Applied by all 2 workers.")
    assert operator.cost == (4, 3)
    wait_until(lambda: obeys(other)["policy"] == "blacklist", "the other worker obeys")
    assert other.ask("/unserializable/cart", {}).status == 200
    watched.shows("[data-live=policy] .big", "Blacklist")
    watched.shows("[data-live=policy]", "anna.k")
    watched.shows("[data-live=attributes]", "cart")

    # At the other worker: a second change by one worker has to wait for some seconds.
    watched.menu("policy")
    watched.click("input[value=configured]")
    watched.click('form[action$="act/policy"] button')
    watched.confirm("it is out")
    watched.shows("[data-live=banner]", "Applied by all 2 workers.")
    assert watched.cost == (4, 3)
    assert obeys(here)["policy"] == "raise"

    # Who, when, why, from what to what: on the page of the other worker, and in the audit log.
    watched.page.goto(watched.base + "events/?kind=policy_changed")
    watched.shows(".events", "policy: raise -> blacklist")
    watched.shows(".events", "by anna.k (until the fix is out)")
    told = "raise -> blacklist, by anna.k (until the fix is out); told to n"
    wait_until(
        lambda: any(
            entry.logger == "flask_msm.audit" and told in entry.text for entry in fleet.entries()
        ),
        "it is in the audit log",
    )


def test_why_a_session_ended_is_the_answer_to_its_ref(fleet, operator_at):
    """Task 5."""
    site = fleet.sites[0]
    cookie, ref = signed_in(site)
    assert site.ask("/logout", {}, cookie=cookie).status == 200
    operator = operator_at(1)

    operator.menu("sessions")
    operator.page.fill("#session", ref)
    operator.click('form[action$="sessions/look-up"] button')

    operator.shows(".answer", "Signed out by its owner at 20")
    operator.shows(".answer", "Nothing failed")
    assert operator.cost == (2, 2)


def test_an_attribute_that_cannot_be_stored_is_listed_with_what_why_and_where(fleet, operator_at):
    """Task 6."""
    # With the default policy the request fails: its user saw an error.
    assert fleet.sites[1].ask("/unserializable/upload", {}).status == 500
    operator = operator_at()
    operator.shows("[data-live=attributes]", "upload")

    operator.menu("blacklist")

    operator.shows(".help", "How to fix one: store an id")
    entry = operator.page.locator(".entries li").filter(has_text="upload")
    expect(entry).to_contain_text("lock")
    expect(entry).to_contain_text("set_unserializable")
    expect(entry).to_contain_text(re.compile(r"\d+ times?, first .*, last "))
    assert operator.cost == (1, 1)


def test_a_stolen_session_is_ended_at_once(fleet, operator_at):
    """Task 7."""
    cookie, ref = signed_in(fleet.sites[1])
    operator = operator_at()

    operator.menu("sessions")
    operator.page.fill("#session", ref)
    operator.click('form[action$="sessions/look-up"] button')
    operator.fill("stolen laptop", word="revoke")
    operator.click('form[action$="sessions/revoke"] button')

    operator.shows("[data-live=banner]", "Accepted")
    assert operator.cost == (3, 3)
    wait_until(lambda: not is_signed_in(fleet.sites[1], cookie), "the thief is signed out")


def test_the_outage_of_last_night_is_a_row_also_after_a_deploy(fleet, operator_at):
    """Task 8."""
    site = fleet.sites[0]
    earlier = outages(site)
    fleet.nodes[2].kill()
    watched = operator_at()
    watched.cause("n3 is down", "refused")
    fleet.nodes[2].start()
    watched.is_green()
    # A page that asks for news in vain says so in its console.
    watched.page.close()
    # A worker writes down what has ended with one of its next ticks, and reads it back.
    written_down(site, "n3", earlier)
    fleet.stop()
    fleet.start()
    fleet.wait_all_up()
    written_down(site, "n3", earlier)
    operator = operator_at()

    operator.menu("history")

    row = operator.page.locator("table.outages tbody tr").filter(has_text="n3").first
    for column in ("End", "Duration"):
        expect(row.locator(f'[data-label="{column}"]')).to_contain_text(re.compile(r"\d"))
    expect(row.locator('[data-label="Sessions lost"]')).to_have_text(re.compile(r"^(?:0|\u2013)$"))
    assert operator.cost == (1, 1)


def test_whether_it_gets_worse_is_seen_on_one_axis(operator_at):
    """Task 9."""
    operator = operator_at()

    operator.menu("history")
    operator.click('nav[aria-label="Time shown"] a[href$="range=15m"]')
    # The page before it has the same chart.
    operator.page.wait_for_url("**range=15m*")

    chart = operator.page.locator('svg[role=img][aria-label*="time per request"]').first
    expect(chart).to_be_visible()
    expect(chart).to_have_attribute("aria-label", re.compile("time-out of a node"))
    assert operator.cost == (2, 2)


def test_an_alert_leads_to_the_page_of_what_is_broken(fleet, operator_at):
    """Task 10."""
    told, cause = alert_of_death(fleet, 1)
    operator = operator_at()

    operator.page.goto(operator.base + cause["href"])

    operator.shows("h1", "n2")
    operator.shows("#state", "Down")
    assert operator.cost == (0, 1)
    assert is_time(told["since"])
    assert cause["hurt"]
    assert cause["steps"]
    fleet.nodes[1].start()
    operator_at().is_green()


def test_distribution_is_stopped_and_started_for_all_workers(fleet, operator_at):
    here, other = fleet.sites
    operator, watched = operator_at(0), operator_at(1)

    operator.menu("policy")
    operator.click('a[href$="act/stop"]')
    operator.confirm("new switches", word="stop")
    operator.shows("[data-live=banner]", "Applied by all 2 workers.")
    watched.shows("h1", "Distribution is stopped by an operator")
    wait_until(lambda: obeys(other)["mode"] == "stopped", "the other worker obeys")
    assert obeys(here)["mode"] == "stopped"

    watched.click('.attention a[href$="act/resume"]')
    watched.confirm("they work")
    watched.shows("[data-live=banner]", "Applied by all 2 workers.")
    operator_at(0).is_green()
    wait_until(lambda: obeys(here)["mode"] == "distributed", "the first worker obeys")
