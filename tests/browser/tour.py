"""Takes the pictures of ``docs/dashboard.md`` from the example shop, with people in it."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from PIL import Image
from playwright.sync_api import expect
from support.demo import launched


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "screenshots"
#: Time in seconds people visit before the first picture, so that numbers have a history.
VISITS = 75
VISITORS = 4
PATIENCE = 30_000


@contextmanager
def shop():
    """Run the example shop; give its address and the dashboard's user and password."""
    with TemporaryDirectory() as folder, launched(Path(folder), "--workers", "4") as started:
        yield started.url, {"username": "ops", "password": started.password}


@contextmanager
def visitors(url):
    """Let people sign in and fill their carts until the end."""
    end = threading.Event()
    threads = [
        threading.Thread(target=visit, args=(url, f"visitor {n}", end)) for n in range(VISITORS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield end
    finally:
        end.set()
        for thread in threads:
            thread.join()


def visit(url, name, end):
    """Be one visitor: look, add, look at the cart, pause, and now and then be a new one."""
    while not end.is_set():
        browser = requests.Session()
        for step in range(60):
            page = browser.get(f"{url}/sign-in" if step == 0 else url, timeout=30).text
            form = {"csrf": re.search(r'name="csrf" value="([^"]+)"', page)[1]}
            if step == 0:
                browser.post(f"{url}/sign-in", {**form, "name": name}, timeout=30)
            else:
                things = re.findall(r'name="sku" value="([^"]+)"', page)
                browser.post(
                    f"{url}/cart/add", {**form, "sku": things[step % len(things)]}, timeout=30
                )
            browser.get(f"{url}/cart", timeout=30)
            if end.wait(0.2):
                return


def tour(browser, folder):
    """Take the four pictures.

    Args:
        browser: A Chromium that runs.
        folder: Where to put them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with shop() as (url, who), visitors(url) as end:
        admin = f"{url}/msm-admin/"
        end.wait(VISITS)
        wide = {"http_credentials": who, "viewport": {"width": 1280, "height": 800}}
        page = browser.new_page(**wide)
        page.goto(admin)
        expect(page.locator("h1")).to_have_text("All sessions are safe", timeout=PATIENCE)
        all_report(page)
        take(page, folder / "overview.png")

        page.goto(admin + "act/policy?value=blacklist")
        take(page, folder / "policy-review.png")

        node(browser, url, "n3", "kill")
        page.goto(admin)
        page.emulate_media(color_scheme="dark")
        # The first worker that sees it is not believed by the others yet.
        expect(page.locator("body")).to_contain_text("seen by all 4 workers", timeout=PATIENCE)
        all_report(page)
        take(page, folder / "node-down.png")

        phone = browser.new_page(
            http_credentials=who, viewport={"width": 390, "height": 844}, device_scale_factor=2
        )
        phone.goto(admin)
        expect(phone.locator("body")).to_contain_text("seen by all 4 workers", timeout=PATIENCE)
        all_report(phone)
        take(phone, folder / "phone.png", whole=False)


def all_report(page):
    """Wait until the page has all workers and was brought up to date by its script."""
    expect(page.locator("[data-live=chips]")).to_contain_text("4 of 4", timeout=PATIENCE)
    expect(page.locator("#live")).to_contain_text("ago")


def node(browser, url, name, what):
    """Break a node on the page of the shop that is for that."""
    page = browser.new_page()
    page.goto(f"{url}/break")
    page.locator(f"form[action$='/break/{name}/{what}'] button").click()
    page.wait_for_url("**/break")
    page.close()


def take(page, path, *, whole=True):
    """Take a picture, and make it small: 256 colours of such a page are off by nothing one sees."""
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
