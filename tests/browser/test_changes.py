"""Reading and acting in a browser: with a script, without one, from elsewhere."""

from __future__ import annotations

import re
import threading

import pytest
from playwright.sync_api import expect
from support.fleet_scenes import all_well, node_down, stopped


pytestmark = pytest.mark.browser


def test_everything_can_be_read_and_done_without_a_script(open_page, served, monkeypatch):
    monkeypatch.setattr("flask_msm_dashboard.action_views._FLEET_PAUSE", 600.0)
    server = served(node_down())
    page = open_page(java_script_enabled=False)
    page.goto(server.url)

    expect(page.locator("h1")).to_contain_text("n3 is down")
    expect(page.locator("#live")).to_have_text("Read at 20:54:24 UTC Reload")
    expect(page.locator("#pause")).to_be_hidden()
    expect(page.locator("#theme")).to_be_hidden()
    page.get_by_role("link", name="Reload").click()
    page.get_by_role("link", name="Change the failure policy").click()
    page.get_by_role("link", name="Stop distribution").click()
    page.get_by_label("Reason").fill("moving n1")
    page.get_by_label(re.compile("Type stop")).fill("stop")
    page.get_by_role("button", name="Stop distribution").click()
    expect(page.locator("h1")).to_have_text("Distribution is stopped by an operator")
    page.get_by_role("link", name="Resume distribution").click()
    page.get_by_label("Reason").fill("done")
    page.get_by_role("button", name="Resume distribution").click()

    # A pause has to be between two such changes, and this was faster.
    expect(page.locator("h1")).to_have_text("Too fast")
    assert [call[0] for call in server.console.calls] == ["distribute"]
    open_page.messages.clear()


def test_a_double_click_is_one_change_and_shows_what_became_of_it(open_page, served):
    server = served(all_well())
    page = open_page()
    page.goto(server.url + "act/policy?value=raise")
    page.get_by_label("Reason").fill("the code is fixed")

    changed, clicked = server.console.set_policy, threading.Event()

    def slow(*args, **options):
        clicked.wait(10)
        return changed(*args, **options)

    server.console.set_policy = slow
    box = page.get_by_role("button", name="Change to Raise").bounding_box()
    place = box["x"] + 5, box["y"] + 5
    with page.expect_request(lambda request: request.method == "POST"):
        page.mouse.click(*place)
    page.mouse.move(*place)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    clicked.set()

    expect(page.locator("[data-live=banner]")).to_contain_text("Accepted.")
    assert [call[0] for call in server.console.calls] == ["set_policy"]


def test_a_page_of_another_site_changes_nothing(open_page, served):
    server = served(stopped())
    page = open_page()
    page.goto(server.url + "act/resume")
    token = page.locator("input[name=token]").get_attribute("value")

    form = f"""<form method=post action="{server.url}act/resume"><input name=token value="{token}">
      <input name=based_on value=113><input name=reason value=x><button>go</button></form>"""
    page.goto("about:blank")
    page.set_content(form)
    page.get_by_role("button", name="go").click()
    expect(page.locator("h1")).to_have_text("Closed")

    assert server.console.calls == []
    open_page.messages.clear()


def test_the_page_cannot_be_framed(open_page, served):
    server = served(all_well())
    page = open_page()
    page.goto("about:blank")
    page.set_content(f'<iframe src="{server.url}"></iframe>')
    page.wait_for_load_state("load")

    assert page.frames[-1].url.startswith("chrome-error:")
    open_page.messages.clear()


def test_the_page_has_few_parts_and_all_of_them_are_its_own(open_page, served):
    server = served(node_down())
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.wait_for_load_state("load")

    static = {url.split("/")[-1].split("?")[0] for url in asked if "/static/" in url}
    charts = {"uPlot.min.css", "uPlot.iife.min.js", "charts.js"}
    assert static - charts == {"msm.css", "msm.js"}
    assert all(url.startswith("http://localhost") for url in asked)
