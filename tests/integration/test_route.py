"""The route in the cookie, with a real HAProxy and the lines of the documentation."""

from __future__ import annotations

import signal

import pytest
from support.fleet import Fleet
from support.haproxy import BINARY, HAProxy
from support.patience import PATIENT
from support.workers import Browser

from flask_msm.testing.memcached import wait_until


pytestmark = [
    pytest.mark.memcached,
    pytest.mark.skipif(BINARY is None, reason="haproxy is not installed"),
]

ROUTES = {"north": "10.0.0.11:8000", "south": "10.0.0.12:8000"}


@pytest.fixture
def fleet(tmp_path, memcached):
    with Fleet(tmp_path, MSM_STICKY=True, **PATIENT) as made:
        made.add_nodes("n1", "n2", "n3")
        yield made


@pytest.fixture
def workers(fleet, tmp_path):
    """Start a worker on each of two hosts; return them by route."""
    configs = [
        {**fleet.config_for(), "MSM_ROUTE": route, "MSM_LOCAL_DIR": str(tmp_path / route)}
        for route in ROUTES
    ]
    return dict(zip(ROUTES, fleet.start(*configs), strict=True))


@pytest.fixture
def proxy(workers, tmp_path):
    ports = {ROUTES[route]: worker.port for route, worker in workers.items()}
    with HAProxy(tmp_path, ports) as made:
        yield made


def cookie_of(browser):
    return browser.cookies["session"]


def who(browser, proxy):
    """Return which worker answers, on a connection of its own."""
    return int(browser.ask(proxy, "/pid", headers={"Connection": "close"}).text)


def pids(workers):
    return {int(Browser().ask(worker, "/pid").text): route for route, worker in workers.items()}


def test_requests_of_a_session_go_to_the_worker_its_cookie_names(workers, proxy):
    routes = pids(workers)
    browsers = [Browser() for _ in range(6)]

    for number, browser in enumerate(browsers):
        browser.ask(proxy, "/set", {"number": number})

    for number, browser in enumerate(browsers):
        route = cookie_of(browser).rpartition(".")[2]
        assert {routes[who(browser, proxy)] for _ in range(6)} == {route}
        assert browser.read(proxy) == {"number": number}
    # Without a cookie they take turns, so that both have sessions.
    assert {cookie_of(browser).rpartition(".")[2] for browser in browsers} == set(ROUTES)


def test_when_the_worker_is_killed_another_one_goes_on_and_nothing_is_lost(workers, proxy):
    routes = pids(workers)
    browsers = [Browser() for _ in range(6)]
    for step in range(5):
        for number, browser in enumerate(browsers):
            browser.ask(proxy, "/set", {"number": number, "step": step})
    northern = [b for b in browsers if cookie_of(b).endswith(".north")]
    assert northern
    # The last changes of a sticky session are written to the nodes behind the response.
    for browser in northern:
        wait_until(
            lambda browser=browser: browser.read(workers["south"]).get("step") == 4,
            "the nodes have it",
        )

    workers["north"].stop(signal.SIGKILL)

    for number, browser in enumerate(browsers):
        assert browser.read(proxy) == {"number": number, "step": 4}
        assert routes[who(browser, proxy)] == "south"
        browser.ask(proxy, "/set", {"after": number})
        assert cookie_of(browser).endswith(".south")
        assert browser.read(proxy) == {"number": number, "step": 4, "after": number}
