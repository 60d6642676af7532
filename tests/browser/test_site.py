"""The built documentation: nothing is wider than the window, and nothing comes from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser

#: What reaches beyond the window and is in nothing that scrolls.
CUT = """() => [...document.querySelectorAll('article *')].filter(one => {
    const box = one.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1) return false;
    for (let up = one.parentElement; up; up = up.parentElement)
        if (getComputedStyle(up).overflowX !== 'visible') return false;
    return true;
}).map(one => one.textContent.slice(0, 60))"""


@pytest.fixture(scope="module")
def site():
    """Build the documentation, or what changed since ``make docs`` or ``make test`` built it."""
    folder = ROOT / "build" / "docs"
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    subprocess.run([*command, "--conf-dir", "docs", ".", str(folder)], cwd=ROOT, check=True)
    return folder


def test_no_page_of_the_site_is_wider_than_the_window_or_loads_from_elsewhere(browser, site):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    names = sorted(site.rglob("*.html"))
    for name in names:
        page.goto(name.as_uri())
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name.name
            assert page.evaluate(CUT) == [], name.name
    page.close()

    assert len(names) > 13
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    drawn = (site / "docs" / "how-it-works.html").read_text(encoding="utf-8")
    assert drawn.count('<div class="diagram"') == 6
    assert "sequenceDiagram" not in drawn
