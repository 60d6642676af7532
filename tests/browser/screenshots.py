"""Takes the pictures of the documentation: ``python tests/browser/screenshots.py``.

They show a fleet in memory whose last day had something to show. With ``--scenes`` every scene and
every page is taken, wide and narrow, light and dark; with ``--url`` the overview of a dashboard
that runs.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import contextmanager
from pathlib import Path


ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "dashboard"), str(ROOT / "tests")]

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from support.browser import Served, launched  # noqa: E402
from support.fleet_scenes import SCENES  # noqa: E402
from support.history_scenes import eventful  # noqa: E402


FOLDER, BUILD = ROOT / "docs" / "screenshots", ROOT / "build" / "screens"
PAGES = (
    "history/",
    "nodes/",
    "nodes/n3",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
    "act/policy?value=stop",
    "act/clear?attribute=%22upload%22",
)
SIZES = (1280, 390)
THEMES = ("light", "dark")
#: The pictures of the documentation: scene, page, width, theme.
PICTURES = {
    "overview": ("all_well", "", 1280, "light"),
    "node-down": ("node_down", "", 1280, "dark"),
    "sessions-lost": ("lost", "", 1280, "light"),
    "being-filled": ("partial", "", 1280, "light"),
    "phone": ("node_down", "", 390, "dark"),
    "history": ("node_down", "history/", 1280, "light"),
    "nodes": ("node_down", "nodes/", 1280, "light"),
    "node": ("node_down", "nodes/n3", 1280, "dark"),
    "workers": ("node_down", "workers/", 1280, "light"),
    "blacklist": ("node_down", "blacklist/", 1280, "light"),
    "look-up": ("node_down", "sessions/", 1280, "light"),
    "events": ("node_down", "events/", 1280, "light"),
    "policy": ("node_down", "policy/", 1280, "light"),
    "policy-review": ("node_down", "act/policy?value=local", 1280, "light"),
}


def main() -> None:
    """Take the pictures that are asked for."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to put them")
    parser.add_argument("--scenes", action="store_true", help="take every scene and every page")
    parser.add_argument("--url", help="address of a dashboard that runs")
    parser.add_argument("--user", help="name:password for it")
    options = parser.parse_args()
    folder = options.folder or (BUILD if options.scenes or options.url else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, launched(playwright) as browser:
        if not options.scenes and not options.url:
            for name, (scene, path, width, theme) in PICTURES.items():
                with shown(browser, width, theme) as page, served(scene) as address:
                    take(page, address + path, folder / f"{name}.png")
            return
        for width in SIZES:
            for theme in THEMES:
                with shown(browser, width, theme, options.user) as page:
                    if options.url:
                        take(page, options.url, folder / f"overview-{width}-{theme}.png")
                    else:
                        scenes(page, folder, f"{width}-{theme}")


def shown(browser, width, theme, user=None):
    """Return a page of a browser that signs in as *user*, ``name:password``."""
    more = {}
    if user:
        name, _, password = user.partition(":")
        more = {"http_credentials": {"username": name, "password": password}}
    return browser.new_page(
        viewport={"width": width, "height": 800},
        color_scheme=theme,
        **more,
    )


@contextmanager
def served(name):
    """Serve a scene with a day behind it; give its address."""
    scene = SCENES[name]
    with Served(scene()) as running:
        running.console.book = eventful(scene).book
        yield running.url


def scenes(page, folder, suffix):
    """Take every scene, and every page of one of them."""
    for name in SCENES:
        with served(name) as address:
            take(page, address, folder / f"{name}-{suffix}.png")
            for path in PAGES if name == "node_down" else ():
                short = path.split("?")[0].strip("/").replace("/", "-")
                take(page, address + path, folder / f"{short}-{suffix}.png")


def take(page, url, path):
    """Take a picture of a page, and make it small: 256 colours are off by nothing one sees."""
    page.goto(url)
    page.wait_for_selector("#theme:not([hidden])")
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-chart]')]"
        ".every((e) => !e.clientWidth || e.classList.contains('live'))"
    )
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(
            128, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
