"""axe over every page and state, in both themes, wide and narrow; the keyboard alone."""

from __future__ import annotations

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from support.fleet_scenes import SCENES, node_down, partial


PATHS = (
    "nodes/",
    "nodes/n3",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
    "act/stop",
    "act/policy?value=local",
    "nodes/nobody",
)
#: All that WCAG 2.2 AA asks for, and good practice.
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What a theme can do wrong.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
#: What less width can do wrong, below the last of our breakpoints.
SIZES = {"type": "rule", "values": ["target-size"]}
CHECKS = {
    "light": {1280: EVERYTHING, 390: EVERYTHING, 320: SIZES},
    "dark": {1280: COLOURS, 390: COLOURS, 320: SIZES},
}


def faults(page, rules):
    """Return what axe finds. It is brought into the page once, which takes a while."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(
        "options => axe.run(document, options)",
        {"runOnly": rules, "resultTypes": ["violations"], "preload": False, "iframes": False},
    )
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
def places(served):
    """Return the addresses of every state, and of every page of one of them."""
    urls = [served(scene()).url for scene in SCENES.values()]
    base = served(node_down()).url
    reader = served(partial(), admin_access=lambda request: "read").url
    closed = served(admin_access=None).url
    return [*urls, *(base + path for path in PATHS), reader, reader + "workers/", closed]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_fault_and_none_overflows(open_page, places, theme):
    page = open_page(theme=theme)
    found = []
    for place in places:
        page.goto(place)
        for width, rules in CHECKS[theme].items():
            page.set_viewport_size({"width": width, "height": 800})
            found += [(place, width, fault) for fault in faults(page, rules)]
            if overflow(page) > 0:
                found.append((place, width, "overflow"))
    # Chromium mentions pages that answer with an error.
    open_page.messages[:] = [m for m in open_page.messages if "status of 40" not in m]

    assert found == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [640, 760, 900, 1020, 1101, 2560])
def test_nothing_overflows_between_phone_and_wide(open_page, served, width):
    """640 is also what is left of 1280 when everything is shown at twice its size."""
    base = served(node_down()).url
    page = open_page(width=width)
    for path in ("", "workers/", "blacklist/", "policy/"):
        page.goto(base + path)
        assert overflow(page) <= 0, path


@pytest.mark.browser
def test_the_tool_finds_a_fault_that_was_planted(open_page, served):
    page = open_page()
    page.goto(served(node_down()).url)
    page.evaluate("document.querySelector('h1').style.color = '#ffeedd'")

    assert {fault[0] for fault in faults(page, EVERYTHING)} == {"color-contrast"}


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
