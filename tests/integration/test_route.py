"""The route in the cookie, with the real load balancers and the samples in contrib."""

from __future__ import annotations

import pytest
from support.sites import Browser, Sites

from flask_msm.testing.memcached import wait_until
from harness.haproxy import HAProxy, haproxy
from harness.nginx import Nginx, nginx
from harness.processes import ROOT


pytestmark = pytest.mark.memcached
ROUTES = {"north": "10.0.0.11:8000", "south": "10.0.0.12:8000"}
FOUND = {"haproxy.cfg": haproxy(), "nginx.conf": nginx()}


@pytest.fixture
def workers(memcached, tmp_path):
    """Start a worker on each of two hosts; return them by route."""
    nodes = [memcached() for _ in range(3)]
    with Sites(nodes, tmp_path, MSM_STICKY=True) as made:
        for route in ROUTES:
            made.add(route, MSM_ROUTE=route, MSM_ADMIN=True, MSM_ADMIN_HEALTH_PUBLIC=True)
        made.start()
        yield dict(zip(ROUTES, made.sites, strict=True))


@pytest.fixture(params=FOUND)
def proxy(request, workers, tmp_path):
    if FOUND[request.param] is None:
        pytest.skip(f"{request.param.partition('.')[0]} is not installed")
    lines = (ROOT / "contrib" / request.param).read_text()
    for route, worker in workers.items():
        assert ROUTES[route] in lines
        lines = lines.replace(ROUTES[route], f"127.0.0.1:{worker.port}")
    folder = tmp_path / "balancer"
    folder.mkdir()
    if request.param == "nginx.conf":
        made = Nginx(folder, lines)
    else:
        # The port of a worker that was killed stays taken here, and says nothing.
        lines = lines.replace("conn-failure", "conn-failure empty-response")
        _, defaults, backend = lines.partition("defaults\n")
        defaults, _, backend = backend.partition("frontend")
        made = HAProxy(
            folder,
            defaults=defaults.replace("    mode http\n", ""),
            backend="backend" + backend.partition("\nbackend")[2],
        )
    with made:
        # The balancer may not have found all of them well yet.
        missing = {str(pid) for pid in pids(workers)}

        def finds_all() -> bool:
            missing.discard(Browser().send(made.port, "/pid").text)
            return not missing

        wait_until(finds_all, "the balancer finds both workers")
        yield made


def cookie_of(browser):
    return browser.cookies["session"]


def who(browser, proxy):
    """Return which worker answers."""
    return int(browser.ask(proxy, "/pid").text)


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

    workers["north"].kill()

    for number, browser in enumerate(browsers):
        assert browser.read(proxy) == {"number": number, "step": 4}
        assert routes[who(browser, proxy)] == "south"
        browser.ask(proxy, "/set", {"after": number})
        assert cookie_of(browser).endswith(".south")
        assert browser.read(proxy) == {"number": number, "step": 4, "after": number}
