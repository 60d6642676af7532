"""A sign-in that is sent twice, over two hosts and real memcached: no browser is signed out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, session
from support.patience import PATIENT

from flask_msm import MemcachedSessionManager, regenerate
from flask_msm.testing.memcached import wait_until
from harness.memcached import addresses


BROWSERS = 60
COOKIE = "session"


class Host:
    """An application with local storage of its own.

    Args:
        nodes: Memcached processes.
        folder: Local storage.
        config: More of its configuration.
    """

    def __init__(self, nodes, folder, **config) -> None:
        self.app = app = Flask("shop", static_folder=None)
        app.config.update(
            SECRET_KEY="twice " * 6, MSM_NODES=addresses(nodes), MSM_LOCAL_DIR=str(folder)
        )
        app.config.update(MSM_ADMIN=False, MSM_PROBE_INTERVAL=0.5, **PATIENT, **config)
        self.manager = MemcachedSessionManager(app)

        @app.get("/visit/<int:number>")
        def visit(number):
            session["visitor"] = number
            return "ok"

        @app.post("/sign-in/<int:number>")
        def sign_in(number):
            session["user"] = number
            regenerate()
            return session.ref

        @app.get("/user")
        def user():
            return str(session.get("user"))

        @app.get("/ref")
        def ref():
            return session.ref or ""

    def ask(self, path, cookie=None, method="GET"):
        """Return the text of the answer, and the cookie that the browser has then."""
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        client = self.app.test_client(use_cookies=False)
        response = client.open(path, method=method, headers=headers)
        assert response.status_code == 200, response.text
        for line in response.headers.getlist("Set-Cookie"):
            cookie = line.partition(";")[0].partition("=")[2] or None
        return response.text, cookie

    def all_up(self) -> bool:
        return self.manager.check(self.app).all_up


@pytest.fixture
def nodes(memcached):
    return [memcached() for _ in range(3)]


SHAPES = {
    "grace": {"MSM_REGENERATE_GRACE": 300},
    "no grace": {"MSM_REGENERATE_GRACE": 0},
    "sticky": {"MSM_STICKY": True},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def hosts(request, nodes, tmp_path):
    made = []
    for number in range(2):
        folder = tmp_path / f"host{number}"
        folder.mkdir(mode=0o700)
        made.append(Host(nodes, folder, **request.param))
    for host in made:
        host.ask("/visit/0")
        wait_until(host.all_up, "the host trusts all nodes")
    yield made
    for host in made:
        host.manager.close(host.app)


def test_no_double_click_of_a_sign_in_signs_out_while_a_node_is_killed(hosts, nodes):
    with ThreadPoolExecutor(2) as clicks:
        for number in range(1, BROWSERS + 1):
            if number == BROWSERS // 2:
                nodes[1].kill()
            _, old = hosts[number % 2].ask(f"/visit/{number}")
            answers = double_click(clicks, hosts, number, old, together=number % 4 > 0)

            # Whichever answer comes last, its cookie is good on both hosts and named rightly.
            for ref, cookie in answers:
                assert cookie != old
                for host in hosts:
                    assert host.ask("/user", cookie)[0] == str(number)
                    assert host.ask("/ref", cookie)[0] == ref


def double_click(clicks, hosts, number, cookie, *, together):
    """Sign in at both hosts with one cookie, at once or one after the other."""
    start = threading.Barrier(2 if together else 1)

    def click(host):
        start.wait(60)
        return host.ask(f"/sign-in/{number}", cookie, "POST")

    if not together:
        return [click(host) for host in hosts]
    return list(clicks.map(click, hosts))
