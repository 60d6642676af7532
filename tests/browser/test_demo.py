"""The demo as ``make demo`` starts it, and a browser that clicks each button it shows.

One demo for the whole file: each test leaves it as it found it, but for the last one.
"""

from __future__ import annotations

import os
import re
import signal

import pytest
import requests
from playwright.sync_api import expect
from support.demo import launched

from flask_msm.testing.memcached import wait_until


pytestmark = [pytest.mark.browser, pytest.mark.memcached]
#: Waiting for nodes to come back and workers to be missed takes minutes.
takes_minutes = pytest.mark.skipif(
    "EVERY_BUTTON" not in os.environ, reason="make test-all clicks every button"
)

#: Milliseconds in which something gets from a node through two workers to a page.
PATIENCE = 30_000
#: Answers to what was confirmed.
REFUSED, TOO_FAST = 400, 429
#: What a browser says of a page with such a status: the demo means it.
MEANT = re.compile(r"Failed to load resource: .* status of (401|429|500)")
#: All that looks like a button, by its text; what has a sign or changes its text, by its id.
BUTTONS = "button, a.button"
BY_ID = {"pause", "theme"}
LABELS = """
found => found.map(button => button.id || button.textContent.trim().replace(/\\s+/g, " "))
"""


class Clicker:
    """A person with a browser, who remembers which buttons there were and which were clicked.

    Args:
        page: Of a browser.
        url: What its addresses begin with.
    """

    def __init__(self, page, url):
        self.page = page
        self.url = url
        self.seen, self.clicked = set(), set()

    def open(self, path):
        """Go to a page."""
        self.page.goto(self.url + path)
        self.look()

    def look(self):
        """Remember the buttons of this page."""
        shown = self.page.locator(BUTTONS).filter(visible=True)
        self.seen.update(shown.evaluate_all(LABELS))

    def click(self, label, within="body"):
        """Click the first button of that name, or of that id."""
        self.look()
        place = self.page.locator(within)
        button = place.locator(f"button#{label}" if label in BY_ID else "button, a.button")
        if label not in BY_ID:
            button = button.filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
        button.first.click()
        self.clicked.add(label)
        self.look()

    def confirm(self, label):
        """Say why and what is asked for, and click; again while others were a moment ago.

        What is refused for another reason fails at once, with what the page says.
        """

        def taken():
            form = self.page.locator("form.review").filter(has_text=label)
            for name in ("reason", "word"):
                field = form.locator(f"#{name}")
                if field.count():
                    word = form.locator("label[for=word] code")
                    field.fill(word.inner_text() if name == "word" else "a look around")
            with self.page.expect_response(lambda r: r.request.method == "POST") as answered:
                self.click(label, within="form.review")
            self.page.wait_for_load_state()
            status = answered.value.status
            if status == TOO_FAST:
                self.page.go_back()
                return False
            if status >= REFUSED:
                pytest.fail(f"{label!r}: {status}: {self.page.locator('main').inner_text()}")
            return True

        wait_until(taken, "the order to be taken")


@pytest.fixture(scope="module")
def demo_and_first_verdicts(tmp_path_factory):
    """The demo, with three nodes and two workers, and its output until both are known."""
    verdicts = []
    with launched(tmp_path_factory.mktemp("demo")) as started:
        http = requests.Session()
        http.trust_env = False
        http.headers["Connection"] = "close"

        def workers():
            # A worker begins with the first that looks, and each time another may answer.
            answer = http.get(
                f"{started.url}/msm-admin/api/v1/state", auth=("ops", started.password), timeout=10
            )
            verdicts.append(answer.json()["verdict"])
            return len(answer.json()["workers"])

        wait_until(lambda: workers() == 2, "two workers to be seen")
        yield started, verdicts


@pytest.fixture(scope="module")
def demo(demo_and_first_verdicts):
    return demo_and_first_verdicts[0]


@pytest.fixture
def shop(demo, open_page):
    """A person who is signed in."""
    page = open_page()
    person = Clicker(page, demo.url)
    person.open("/sign-in")
    page.fill("#name", "Anna")
    person.click("Sign in", within="main")
    expect(page.locator(".who .name")).to_have_text("Anna")
    yield person
    open_page.messages[:] = [m for m in open_page.messages if not MEANT.match(m)]


@pytest.fixture
def operator(demo, open_page):
    """An operator of the dashboard, who comes by the link of the shop."""
    page = open_page(http_credentials={"username": "ops", "password": demo.password})
    page.goto(demo.url + "/break")
    page.get_by_role("link", name="the dashboard", exact=True).click()
    expect(page.locator("h1")).to_be_visible()
    yield Clicker(page, page.url.rstrip("/"))
    open_page.messages[:] = [m for m in open_page.messages if not MEANT.match(m)]


def choose(operator, action, value):
    """Choose a policy, by all pages that lead to it."""
    operator.open("/policy/")
    form = operator.page.locator(f'form[action$="act/{action}"]')
    form.locator(f'input[value="{value}"]').check()
    operator.click("Review the change", within=f'form[action$="act/{action}"]')
    submit = operator.page.locator("form.review .buttons button").inner_text()
    operator.confirm(submit)
    # Both workers obey before anything else is tried.
    facts = operator.page.locator("section", has=operator.page.locator("#in-force"))
    expect(facts).to_contain_text("a look around", timeout=PATIENCE)

    def obeyed():
        choice = state(operator)[action]
        return (choice["value"], choice["applied_by"], choice["of"]) == (value, 2, 2)

    wait_until(obeyed, "every worker to obey")


def state(operator):
    return operator.page.request.get(operator.url + "/api/v1/state").json()


def workers(operator):
    return {worker["id"] for worker in state(operator)["workers"]}


def states(operator):
    return [node["state"] for node in state(operator)["nodes"]]


def test_a_first_start_is_all_well_from_the_first_look(demo_and_first_verdicts, operator):
    verdicts = demo_and_first_verdicts[1]
    assert verdicts
    assert [verdict["title"] for verdict in verdicts if verdict["level"] != "ok"] == []
    expect(operator.page.locator("h1")).to_have_text(re.compile("Ready|All sessions"))


def test_policies_are_changed_and_changed_back(operator):
    before = {action: state(operator)[action]["value"] for action in ("policy", "on_reconnect")}
    operator.open("/")
    operator.click("Change the failure policy")
    operator.open("/policy/")
    operator.click("Cancel")
    operator.open("/policy/")
    operator.click("Review the change")
    operator.click("Back")

    # Between two changes of the fleet a pause is asked for.
    others = {"policy": "blacklist", "on_reconnect": "discard"}
    for action in others if "EVERY_BUTTON" in os.environ else ("policy",):
        choose(operator, action, others[action])
        choose(operator, action, before[action])

    assert operator.seen - operator.clicked == {*BY_ID, "Stop distribution", "Keep Raise"}


def test_distribution_is_stopped_and_started(operator):
    operator.open("/policy/")
    operator.click("Stop distribution")
    operator.confirm("Stop distribution")
    wait_until(
        lambda: state(operator)["distribution"]["value"] == "stopped", "distribution to be stopped"
    )
    operator.open("/policy/")
    operator.click("Resume distribution")
    operator.confirm("Resume distribution")
    wait_until(
        lambda: state(operator)["distribution"]["value"] != "stopped", "distribution to go on"
    )


@takes_minutes
def test_a_node_is_probed_drained_and_given_back(operator):
    wait_until(lambda: states(operator) == ["up"] * 3, "all nodes to be up")
    operator.open("/nodes/n2")
    operator.click("Probe now")
    operator.open("/nodes/n2")
    operator.click("Forget failures")
    operator.confirm("Forget and probe n2")
    operator.open("/nodes/n2")
    operator.click("Drain")
    operator.confirm("Drain n2")
    wait_until(lambda: states(operator)[1] == "drained", "the node to be drained")
    operator.open("/nodes/n2")
    operator.click("Undrain")
    operator.confirm("Undrain n2")
    wait_until(lambda: states(operator) == ["up"] * 3, "all nodes to be up")

    assert operator.seen - operator.clicked == {*BY_ID, "Back"}


@takes_minutes
def test_an_attribute_gets_onto_the_blacklist_and_off_it(operator, shop):
    shop.open("/break")
    shop.click("Put a lock into my session")
    expect(shop.page.locator("main")).to_contain_text("'lock' (_thread.lock)")
    choose(operator, "policy", "blacklist")
    shop.open("/break")
    shop.click("Put a lock into my session")
    expect(shop.page.locator(".flash")).to_contain_text("A lock was put into the session")

    def listed():
        return [entry["key"] for entry in state(operator)["blacklist"]]

    def pinned():
        return [entry["pinned"] for entry in state(operator)["blacklist"]]

    # Each worker counts what it stored itself, and hears of the others' a moment later.
    wait_until(lambda: "lock" in listed(), "the attribute to be listed")
    operator.open("/blacklist/")
    operator.click("Pin")
    operator.confirm("Pin it")
    wait_until(lambda: pinned() == [True], "it to be pinned")
    operator.open("/blacklist/")
    operator.click("Unpin")
    operator.confirm("Unpin it")
    wait_until(lambda: pinned() == [False], "it not to be pinned")
    operator.open("/blacklist/")
    operator.click("Clear")
    operator.confirm("Clear")
    wait_until(lambda: listed() == [], "nothing to be listed")
    choose(operator, "policy", "raise")

    left = {"Cancel", "Back", "Stop distribution"}
    assert operator.seen - operator.clicked <= {*BY_ID, *left}
    expect(shop.page.locator(".who .name")).to_have_text("Anna")


def test_a_session_is_looked_up_and_ended(operator, shop):
    cookie = next(c for c in shop.page.context.cookies() if c["name"] == "keep_session")
    operator.open("/sessions/")
    operator.page.fill("#session", cookie["value"])
    operator.click("Look it up")
    found = operator.page.locator("#found").inner_text()
    # The browser of an operator who is a customer as well.
    operator.page.context.add_cookies([cookie])
    operator.click("Look up my own")
    expect(operator.page.locator("#found")).to_have_text(found)
    operator.confirm("Revoke this session")

    shop.open("/cart")
    expect(shop.page.locator(".who")).to_contain_text("Sign in")
    # What says that it was revoked may be the last word, so that nothing polls.
    assert operator.seen - operator.clicked <= BY_ID


@takes_minutes
def test_lists_are_filtered_and_pages_can_be_paused_and_darkened(operator):
    for path in ("/workers/", "/events/"):
        operator.open(path)
        operator.click("Show")
        expect(operator.page.locator("h1")).to_be_visible()
    operator.click("pause")
    expect(operator.page.locator("#pause")).to_have_text("Resume")
    operator.click("pause")
    operator.click("theme")
    expect(operator.page.locator("html")).to_have_attribute("data-theme", re.compile("light|dark"))

    assert operator.seen == operator.clicked


@takes_minutes
def test_nodes_are_broken_and_mended_on_the_page_for_it_and_no_one_is_signed_out(operator, shop):
    wait_until(lambda: states(operator) == ["up"] * 3, "all nodes to be up")

    def node(name):
        return f'li.node:has(h2:text("{name}"))'

    def signed_in():
        shop.page.goto(shop.url + "/cart")
        expect(shop.page.locator(".who .name")).to_have_text("Anna")

    shop.seen.clear()
    shop.open("/break")
    shop.click("Kill it", within=node("n1"))
    wait_until(lambda: states(operator)[0] == "down", "the node to be down")
    signed_in()
    wait_until(
        lambda: shop.open("/break") or shop.seen >= {"Start it again, empty"},
        "the node to be offered for a start",
    )
    shop.click("Start it again, empty", within=node("n1"))
    wait_until(lambda: states(operator) == ["up"] * 3, "all nodes to be up")
    signed_in()
    shop.open("/break")
    shop.click("Let it hang", within=node("n2"))
    wait_until(lambda: states(operator)[1] == "down", "the node to be down")
    signed_in()
    shop.open("/break")
    shop.click("Let it go on", within=node("n2"))
    wait_until(lambda: states(operator) == ["up"] * 3, "all nodes to be up")
    signed_in()

    left = shop.seen - shop.clicked
    assert left == {"Sign out", "Put a lock into my session"}


@takes_minutes
def test_a_worker_that_was_killed_is_forgotten(operator):
    killed = workers(operator).pop()
    os.kill(int(killed.split(":")[1]), signal.SIGKILL)

    def can_be_forgotten():
        operator.open("/workers/")
        return "Forget" in operator.seen

    wait_until(can_be_forgotten, "the worker to be gone")
    operator.click("Forget")
    expect(operator.page.locator("main")).to_contain_text("is forgotten")
    wait_until(lambda: killed not in workers(operator), "the worker to be forgotten")
