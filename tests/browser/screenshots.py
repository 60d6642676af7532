"""Takes the pictures of the documentation: ``python tests/browser/screenshots.py``.

Without an option it shows scenes of a fleet in memory; with ``--url``, the overview of a dashboard
that runs; with ``--tour``, the example shop with people in it, for ``docs/dashboard.md``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "dashboard"), str(ROOT / "tests")]

from playwright.sync_api import sync_playwright  # noqa: E402
from support.browser import Served, launched  # noqa: E402
from support.fleet_scenes import SCENES  # noqa: E402
from tour import FOLDER, tour  # noqa: E402


PAGES = (
    "history/",
    "nodes/",
    "nodes/n3",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
)
SIZES = (1280, 390)
THEMES = ("light", "dark")


def main() -> None:
    """Take all pictures."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to put them")
    parser.add_argument("--tour", action="store_true", help="start the example shop and show that")
    parser.add_argument("--url", help="address of a dashboard that runs")
    parser.add_argument("--user", help="name:password for it")
    options = parser.parse_args()
    if options.tour:
        with sync_playwright() as playwright, launched(playwright) as browser:
            tour(browser, options.folder or FOLDER)
        return
    folder = options.folder or ROOT / "build" / "screens"
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, launched(playwright) as browser:
        for width in SIZES:
            for theme in THEMES:
                more = {}
                if options.user:
                    name, _, password = options.user.partition(":")
                    more = {"http_credentials": {"username": name, "password": password}}
                page = browser.new_page(
                    viewport={"width": width, "height": 800}, color_scheme=theme, **more
                )
                if options.url:
                    take(page, options.url, folder / f"overview-{width}-{theme}.png")
                else:
                    scenes(page, folder, f"{width}-{theme}")
                page.close()


def scenes(page, folder, suffix):
    """Take every scene, and every page of one of them."""
    for name, scene in SCENES.items():
        with Served(scene()) as served:
            take(page, served.url, folder / f"{name}-{suffix}.png")
            if name != "node_down":
                continue
            for path in (*PAGES, "act/policy?value=stop"):
                short = path.split("?")[0].strip("/").replace("/", "-")
                take(page, served.url + path, folder / f"{short}-{suffix}.png")


def take(page, url, path):
    """Take one picture of a whole page."""
    page.goto(url)
    page.wait_for_selector("#theme:not([hidden])")
    page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    main()
