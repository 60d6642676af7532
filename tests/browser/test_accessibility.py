"""axe over every page and state, in both themes, wide and narrow; the keyboard alone."""

from __future__ import annotations

import os

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from support import history_scenes
from support.fleet_scenes import SCENES, node_down, partial


PATHS = (
    "history/",
    "nodes/",
    "nodes/n3",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
    "act/stop",
    "act/policy?value=local",
    "nodes/unknown",
)
#: All that WCAG 2.2 AA asks for, and good practice.
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What a theme can change.
COLOURS = ["color-contrast", "link-in-text-block"]
#: What can change below 560 px, the last of our breakpoints.
SIZES = ["target-size"]
#: Every theme and width once; ``make test-all`` looks at every page in every pair of them.
CHECKS = (("light", 1440, EVERYTHING), ("dark", 390, EVERYTHING), ("dark", 320, SIZES))
#: Axe is brought into every page before anything of its own; a policy of the page cannot mind.
START = """only => {
  window.found = axe.run(document, {
    runOnly: only, resultTypes: ["violations"], preload: false, iframes: false,
  });
}"""


def start(page, only=EVERYTHING):
    """Let axe look at a page, by some of its rules or tags; it needs some time for that."""
    page.evaluate(START, only)


def faults(page):
    """Return what axe found."""
    found = page.evaluate("() => window.found")
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def overflow(page):
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


@pytest.fixture
def visits(served):
    """Return how to come to every state, and to every page of one of them.

    That is a server, a snapshot, a path, and what to check there.
    """
    server = served()
    scenes = [(server, scene(), "", CHECKS) for scene in SCENES.values() if scene is not node_down]
    pages = [(server, node_down(), path, CHECKS) for path in ("", *PATHS)]
    reader = served(partial(), admin_access=lambda request: "read")
    closed = served(admin_access=None)
    eventful = served()
    eventful.console.book = history_scenes.eventful().book
    return [
        *scenes,
        *pages,
        (eventful, node_down(), "history/", CHECKS),
        (reader, partial(), "", CHECKS),
        (reader, partial(), "workers/", CHECKS),
        (closed, node_down(), "", CHECKS),
    ]


@pytest.mark.browser
def test_no_page_has_a_fault_and_none_overflows(open_page, visits):
    """One load for each, because axe is what takes the time."""
    page = open_page()
    page.add_init_script(AXE_SCRIPT)

    found = walked(page, visits)

    # Chromium mentions pages that answer with an error.
    open_page.messages[:] = [m for m in open_page.messages if "status of 40" not in m]
    assert found == []


@pytest.mark.browser
def test_no_page_has_a_fault_where_its_scripts_do_not_run(open_page, served):
    server = served(node_down())
    server.console.book = history_scenes.eventful().book
    page = open_page()
    page.add_init_script(AXE_SCRIPT)
    page.route("**/*.js?*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    checks = (("light", 1440, EVERYTHING), ("dark", 390, EVERYTHING))
    paths = ("", "history/", "nodes/n3", "blacklist/", "sessions/")

    assert walked(page, [(server, node_down(), path, checks) for path in paths]) == []
    assert page.locator("#theme").is_hidden()


@pytest.mark.browser
@pytest.mark.skipif("EVERY_BUTTON" not in os.environ, reason="make test-all looks in every way")
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_no_page_has_a_fault_in_any_width_and_theme(open_page, served, scripts):
    server = served(node_down())
    server.console.book = history_scenes.eventful().book
    page = open_page()
    page.add_init_script(AXE_SCRIPT)
    if not scripts:
        page.route(
            "**/*.js?*", lambda route: route.fulfill(body="", content_type="text/javascript")
        )
    ways = [(theme, width, EVERYTHING) for theme in ("light", "dark") for width in (1440, 768, 390)]

    found = walked(page, [(server, node_down(), path, ways) for path in ("", *PATHS, "history/")])

    open_page.messages[:] = [m for m in open_page.messages if "status of 40" not in m]
    assert found == []


def walked(page, visits):
    """Return the faults of all *visits*."""
    found = []
    for server, snapshot, path, checks in visits:
        server.console.snapshot = snapshot
        page.goto(server.url + path)
        for theme, width, only in checks:
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 800})
            start(page, only)
            found += [(page.url, theme, width, fault) for fault in faults(page)]
            if overflow(page) > 0:
                found.append((page.url, theme, width, "overflow"))
    return found


@pytest.mark.browser
@pytest.mark.parametrize("path", ["", "workers/", "blacklist/", "policy/"])
def test_nothing_overflows_between_phone_and_wide(open_page, served, path):
    """640 is also what is left of 1280 when everything is shown at twice its size."""
    page = open_page()
    page.goto(served(node_down()).url + path)
    for width in (640, 760, 900, 1020, 1101, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page) <= 0, width


@pytest.mark.browser
def test_the_tool_finds_a_fault_that_was_planted(open_page, served):
    page = open_page()
    page.add_init_script(AXE_SCRIPT)
    page.goto(served(node_down()).url)
    page.evaluate("document.querySelector('h1').style.color = '#ffeedd'")
    # Two side by side that are too small, and have no name.
    page.evaluate(
        """() => { for (let n = 0; n < 2; n++) {
          const small = document.createElement("button");
          small.style.cssText = "all: unset; display: inline-block; width: 4px; height: 4px";
          document.querySelector("main").append(small);
        } }"""
    )

    found = {}
    for only in (EVERYTHING, COLOURS, SIZES):
        start(page, only)
        found[only[0]] = {fault[0] for fault in faults(page)}

    assert found[EVERYTHING[0]] >= {"color-contrast", "button-name", "target-size"}
    assert found[COLOURS[0]] == {"color-contrast"}
    assert found[SIZES[0]] == {"target-size"}


@pytest.mark.browser
@pytest.mark.parametrize("path", ["", "act/stop", "policy/", "blacklist/"])
def test_every_stop_of_the_tab_key_can_be_seen(open_page, served, path):
    page = open_page()
    page.goto(served(node_down()).url + path)
    page.wait_for_selector("#theme:not([hidden])")
    stops = []
    while len(stops) < 80:
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
              const e = document.activeElement, box = e.getBoundingClientRect();
              if (e === document.body) return null;
              const style = getComputedStyle(e);
              return {text: e.textContent.trim() || e.name,
                      outline: style.outlineStyle + style.outlineWidth,
                      seen: box.bottom > 0 && box.top < innerHeight && box.height >= 16};
            }"""
        )
        if stop is None:
            break
        stops.append(stop)

    assert stops[0]["text"] == "Skip to the content"
    assert len(stops) > 8
    assert [s for s in stops if not s["seen"] or s["outline"] in {"none0px", "none2px"}] == []


@pytest.mark.browser
def test_a_policy_is_changed_with_the_keyboard_alone(open_page, served):
    server = served(node_down())
    page = open_page()
    page.goto(server.url)

    def press_until(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(selector)

    press_until("a[href$='/policy/'].button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/policy/")
    press_until("input[value=blacklist]")
    page.keyboard.press("ArrowUp")
    press_until("button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/act/policy?value=local")
    press_until("#reason")
    page.keyboard.type("night shift")
    page.keyboard.press("Enter")
    page.wait_for_url("**/policy/?applied=*")

    assert server.console.calls == [("set_policy", "local", "anna.k", "night shift", "112")]


@pytest.mark.browser
def test_forced_colours_keep_what_is_drawn(open_page, served):
    page = open_page(forced_colors="active")
    page.goto(served(node_down()).url)

    strokes = page.eval_on_selector_all(
        ".spark .line", "lines => lines.map(line => getComputedStyle(line).stroke)"
    )

    assert "none" not in strokes
