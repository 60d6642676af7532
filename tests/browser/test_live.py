"""The page keeps itself up to date, does not disturb its reader, and shows when it cannot."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from playwright.sync_api import expect
from support.fleet_scenes import all_well, node_down
from werkzeug.datastructures import Headers


pytestmark = pytest.mark.browser

QUICK = 100


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Poll ten times a second."""
    monkeypatch.setattr("flask_msm_dashboard.context.POLL", QUICK / 1000)


def now():
    return time.time()


def after_polls(page, server, count=2):
    """Wait until the page asked *count* times more."""
    until = server.polls() + count
    while server.polls() < until:
        page.wait_for_timeout(10)


class UnderWay:
    """Counts what a page asks for and has no answer to yet."""

    def __init__(self, page):
        self._page, self.count = page, 0
        page.on("request", lambda _: self._add(1))
        page.on("requestfinished", lambda _: self._add(-1))
        page.on("requestfailed", lambda _: self._add(-1))

    def _add(self, number):
        self.count += number

    def wait_for_all(self):
        """Wait until every question that was asked is answered."""
        self._page.wait_for_timeout(QUICK)
        while self.count:
            self._page.wait_for_timeout(10)


def test_a_node_goes_down_and_comes_back_without_a_reload(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)
    page.evaluate("window.same = true")
    expect(page.locator("h1")).to_have_text("All sessions are safe")

    server.console.snapshot = node_down(at=now())
    expect(page.locator("h1")).to_contain_text("n3 is down")
    expect(page.locator("#n-n3 .word")).to_have_text("Down")
    assert page.title().startswith("n3 is down")
    expect(page.locator("#say")).to_contain_text("n3 is down")

    server.console.snapshot = all_well(at=now())
    expect(page.locator("#n-n3 .word")).to_have_text("Up")
    assert page.evaluate("window.same")


def test_only_what_changed_is_replaced(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)
    page.evaluate("document.querySelectorAll('[data-live] > *').forEach(e => e.mine = true)")

    policy = replace(server.console.snapshot.policy, set_by="bob")
    server.console.snapshot = replace(server.console.snapshot, policy=policy)
    expect(page.locator("[data-live=policy]")).to_contain_text("Set by bob")

    kept = page.eval_on_selector_all(
        "[data-live]", "all => all.filter(e => e.firstElementChild?.mine).map(e => e.dataset.live)"
    )
    assert {"verdict", "numbers", "chips"} <= set(kept)
    assert "policy" not in kept


def test_the_focus_stays_where_it_was(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)
    page.focus("#n-n3 a")

    server.console.snapshot = node_down(at=now())
    expect(page.locator("#n-n3 .word")).to_have_text("Down")

    assert page.evaluate("document.activeElement.textContent") == "n3"


def test_text_that_is_selected_stays_while_the_page_is_updated(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#n-n1'))")

    server.console.snapshot = node_down(at=now())
    expect(page.locator("h1")).to_contain_text("n3 is down")
    expect(page.locator("#n-n3 .word")).to_have_text("Up")

    page.evaluate("getSelection().removeAllRanges()")
    expect(page.locator("#n-n3 .word")).to_have_text("Down")


def test_a_paused_page_does_not_poll_and_names_its_state(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    under_way = UnderWay(page)
    page.goto(server.url)
    after_polls(page, server)

    page.get_by_role("button", name="Pause").click()
    under_way.wait_for_all()
    asked = server.polls()
    page.wait_for_timeout(4 * QUICK)
    expect(page.locator("#live")).to_contain_text("Paused")

    assert server.polls() == asked
    page.goto(server.url + "nodes/")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    after_polls(page, server)


def test_a_hidden_tab_asks_nothing(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    under_way = UnderWay(page)
    page.goto(server.url)
    hide = """hidden => {
      Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    under_way.wait_for_all()
    asked = server.polls()
    page.wait_for_timeout(4 * QUICK)

    assert server.polls() == asked
    page.evaluate(hide, False)
    after_polls(page, server)


def test_a_page_that_cannot_update_shows_it_until_it_can(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)
    bar = page.locator("#bar")
    expect(bar).to_be_hidden()

    server.fails = True
    expect(bar).to_contain_text("Not updating. These numbers are from")
    expect(page.locator("#live")).not_to_contain_text("Live")
    server.fails = False
    expect(bar).to_be_hidden()
    expect(page.locator("#live")).to_contain_text("Live")

    open_page.messages[:] = [m for m in open_page.messages if "status of 500" not in m]


def test_a_page_whose_access_ended_says_so_and_stops_polling(open_page, served):
    answers = ["write"]
    server = served(all_well(at=now()), moving=True, admin_access=lambda request: answers[-1])
    page = open_page()
    page.goto(server.url)

    answers.append(None)
    expect(page.locator("#bar")).to_contain_text("You are signed out.")
    asked = server.polls()
    page.wait_for_timeout(4 * QUICK)

    assert server.polls() == asked
    open_page.messages[:] = [m for m in open_page.messages if "status of 403" not in m]


def test_after_an_upgrade_it_asks_for_a_reload(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)

    server.app.extensions["dashboard"].context.build = "another"

    expect(page.locator("#bar")).to_contain_text("A new version is running.")
    expect(page.locator("#bar a")).to_have_text("Reload")


def test_ages_are_counted_by_the_page(open_page, served, monkeypatch):
    monkeypatch.setattr("flask_msm_dashboard.context.POLL", 60.0)
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)

    age = page.locator("[data-live=attributes] tbody tr").first.locator("time").last
    expect(age).to_have_text(re.compile(r"^\d+ (s|min) ago$"))
    first = age.text_content()
    expect(age).not_to_have_text(first)


def test_names_from_elsewhere_are_text_after_a_swap_as_well(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page()
    page.goto(server.url)

    evil = "<img src=x onerror=\"document.title='broken in'\">"
    server.console.note("x", evil, actor=evil, reason=evil)
    expect(page.locator("[data-live=recent]")).to_contain_text("<img src=x")

    assert page.locator("img").count() == 0
    assert "broken in" not in page.title()


def test_the_live_page_works_where_only_named_policies_may_make_html(open_page, served):
    server = served(all_well(at=now()), moving=True)

    inner = server.app.wsgi_app

    def strict(environ, start_response):
        def started(status, headers, *more):
            policy = Headers(headers)
            policy["Content-Security-Policy"] += (
                "; require-trusted-types-for 'script'; trusted-types flask-msm"
            )
            return start_response(status, policy.to_wsgi_list(), *more)

        return inner(environ, started)

    server.app.wsgi_app = strict

    page = open_page()
    page.goto(server.url)
    server.console.snapshot = node_down(at=now())

    expect(page.locator("h1")).to_contain_text("n3 is down")


def test_a_theme_is_chosen_and_kept_without_a_flash(open_page, served):
    server = served(all_well(at=now()), moving=True)
    page = open_page(theme="light")
    page.goto(server.url)
    theme = page.locator("#theme")

    expect(theme).to_have_attribute("aria-label", "Theme: as the system")
    theme.click()
    theme.click()
    expect(theme).to_have_attribute("aria-label", "Theme: dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert 'data-theme="dark"' in page.request.get(server.url).text(), "the server knows"
    theme.click()

    assert dark != page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert "data-theme" not in page.request.get(server.url).text()
