"""The charts: drawn anew by a script with a cursor, and by the server where there is none."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from support import history_scenes
from support.fleet_scenes import node_down


@pytest.fixture
def address(served):
    """Return where a dashboard is whose last day had something to show."""
    server = served(node_down())
    server.console.book = history_scenes.eventful().book
    return server.url


@pytest.mark.browser
@pytest.mark.parametrize("path", ["", "history/?range=6h"])
def test_the_cursor_says_the_figures_of_a_time(open_page, address, path):
    page = open_page()
    page.goto(address + path)
    latency = page.locator("[data-chart=latency]")
    expect(latency.locator("canvas")).to_be_visible()

    latency.hover(position={"x": 200, "y": 60})

    card = page.locator("section").filter(has=latency)
    expect(card.locator(".read")).to_contain_text("p95 at most")
    expect(card.locator(".read")).to_contain_text("kept 0")
    assert latency.locator("path.pl").first.is_hidden()


@pytest.mark.browser
def test_without_a_script_the_lines_of_the_server_stand_there(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(address)

    latency = page.locator("[data-chart=latency]")
    expect(latency.locator("path.pl.p95")).to_have_css("display", "inline")
    expect(page.locator("[data-chart=lost] rect.b-lost").first).to_be_visible()
    expect(page.locator(".uplot")).to_have_count(0)
    expect(page.get_by_text("Figures as a table")).to_be_visible()


@pytest.mark.browser
def test_on_a_phone_the_rest_is_folded_and_opens_without_a_script(open_page, address):
    page = open_page(width=390, java_script_enabled=False)
    page.goto(address)

    for name in ("verdict", "numbers", "timeline"):
        expect(page.locator(f"[data-live={name}]")).to_be_visible()
    for name in ("where", "speed", "recent", "policy", "chips", "attributes"):
        expect(page.locator(f"[data-live={name}]")).to_be_hidden()
    page.get_by_text("Where sessions are").first.click()
    expect(page.locator("[data-live=where]")).to_be_visible()
