"""Reading and acting in a browser: with a script, without one, from elsewhere."""

from __future__ import annotations

import re
import threading
import time

import pytest
from playwright.sync_api import expect
from support.fleet_scenes import all_well, node_down, stopped


pytestmark = pytest.mark.browser


def test_a_policy_is_changed_and_the_page_counts_who_obeys(open_page, served, monkeypatch):
    monkeypatch.setattr("flask_msm_dashboard.context.POLL", 0.1)
    server = served(all_well(at=time.time()), moving=True)
    page, other = open_page(), open_page()
    other.goto(server.url)
    page.goto(server.url + "policy/")

    page.locator("input[value=raise]").check()
    page.get_by_role("button", name="Review the change").first.click()
    expect(page.locator("h1")).to_have_text("Change from Blacklist to Raise?")
    page.get_by_label("Reason").fill("the code is fixed")
    page.get_by_role("button", name="Change to Raise").click()

    expect(page.locator("[data-live=banner]")).to_contain_text("Applied by 1 of 8 workers so far.")
    expect(other.locator("[data-live=policy] .big")).to_have_text("Raise")
    server.console.apply_everywhere()
    expect(page.locator("[data-live=banner]")).to_contain_text("Applied by all 8 workers.")


def test_everything_can_be_read_and_done_without_a_script(open_page, served, monkeypatch):
    monkeypatch.setattr("flask_msm_dashboard.action_views._FLEET_PAUSE", 600.0)
    server = served(node_down())
    page = open_page(java_script_enabled=False)
    page.goto(server.url)

    expect(page.locator("h1")).to_contain_text("Degraded")
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
    page.get_by_role("link", name="Start again").click()
    page.get_by_label("Reason").fill("done")
    page.get_by_role("button", name="Start distribution").click()

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


def test_a_node_is_probed_and_drained(open_page, served):
    server = served(all_well())
    page = open_page()
    page.goto(server.url + "nodes/n1")

    page.get_by_role("button", name="Probe now").click()
    expect(page.locator("[data-live=banner]")).to_contain_text("n1 answered in 1.2 ms")
    page.goto(server.url + "nodes/n1")
    page.get_by_role("link", name="Drain").click()
    page.get_by_label("Reason").fill("more memory")
    page.get_by_role("button", name="Drain n1").click()

    expect(page.locator("#n-n1 .word")).to_have_text("Draining")


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


def test_a_reader_has_nothing_to_press(open_page, served):
    server = served(node_down(), admin_access=lambda request: "read")
    page = open_page()
    page.goto(server.url + "nodes/n1")

    expect(page.locator("main button")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("You can look but not change.")


def test_the_page_has_few_and_small_parts(open_page, served):
    server = served(node_down())
    page = open_page()
    sizes = {}
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    page.goto(server.url)
    page.wait_for_load_state("load")

    assert len([url for url in sizes if "static" in url]) <= 3
    assert all(url.startswith("http://localhost") for url in sizes)
