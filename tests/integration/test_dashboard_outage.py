"""The dashboard while what it shows is broken: real nodes, killed or stopped, and a broken store.

The application of each test reads the session before every request, as Flask-Login would.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, session
from support.behaviours import forwards
from support.patience import NOTICES, PATIENT

from flask_msm import MemcachedSessionManager
from flask_msm.memcached.exchange import PendingReply
from flask_msm.operations.observer import REFRESH
from flask_msm.testing.fake_server import FakeServer
from flask_msm.testing.memcached import wait_until
from flask_msm_dashboard import Access
from harness.memcached import addresses


pytestmark = pytest.mark.memcached

PAGES = (
    "",
    "history/",
    "nodes/",
    "nodes/n2",
    "workers/",
    "blacklist/",
    "sessions/",
    "events/",
    "policy/",
    "act/policy?value=local",
    "act/stop",
    "api/v1/state",
    "api/v1/metrics",
    "api/v1/health",
)
QUICK = 0.25
#: Longest time in seconds a page before a change gives a node to answer.
MOMENT = 0.25


class RaisingCache:
    """A cache of the application of which nothing works."""

    def _fail(self, *_args, **_more):
        raise OSError("this cache is broken")

    get = set = delete = add = has = clear = _fail


class Shop:
    """An application over real nodes, with a session in them.

    Args:
        nodes: The nodes.
        folder: Where it keeps things.
        asked: What was asked of nodes so far, see the fixture.
        reads: Whether the session is read before every request.
        config: More of its configuration.
    """

    def __init__(self, nodes, folder, asked, *, reads=True, **config):
        self._asked, self._reads = asked, reads
        self.app = app = Flask("shop")
        app.config.update(
            SECRET_KEY="dashboard " * 4,
            MSM_NODES=addresses(nodes),
            MSM_PROBE_INTERVAL=QUICK,
            MSM_PROBE_MAX_BACKOFF=QUICK,
            MSM_ADMIN_ACCESS=lambda request: Access("write", "anna.k"),
            **NOTICES,
        )
        if "MSM_LOCAL_CACHE" not in config:
            app.config["MSM_LOCAL_DIR"] = str(folder / "storage")
        app.config.update(config)
        self.manager = MemcachedSessionManager(app)

        @app.before_request
        def who():
            if reads:
                session.get("user")

        @app.get("/in")
        def sign_in():
            session["user"] = "bob"
            return "in"

        self.client = app.test_client()
        assert self.client.get("/in").status_code == 200

    def states(self):
        return [node.state for node in self.manager.state(self.app).console.view().nodes]

    def wait(self, *states):
        wait_until(lambda: self.states() == list(states), f"the nodes are {states}")

    def pages(self):
        """Return what every page says; none may fail, or ask a node that does not answer.

        Where the session is not read first, they wait for a moment only.
        """
        found, here = {}, threading.get_ident()
        for path in PAGES:
            states = zip(self.manager.state(self.app).nodes, self.states(), strict=True)
            down = {node_id for node_id, state in states if state == "down"}
            self._asked.clear()
            response = self.client.get(f"/msm-admin/{path}")
            asked = {node: left for thread, node, left in list(self._asked) if thread == here}
            assert response.status_code == 200, (path, response.text)
            assert not asked.keys() & down, path
            if not self._reads:
                assert all(left <= MOMENT for left in asked.values()), path
            found[path] = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))
        return found


@pytest.fixture
def asked(monkeypatch):
    """Return a list to which thread, node and time left (seconds) of every command are added."""
    found = []
    begin = PendingReply.begin

    def noted(exchange):
        left = exchange._deadline - time.monotonic()
        found.append((threading.get_ident(), exchange._endpoint.node, left))
        return begin(exchange)

    monkeypatch.setattr(PendingReply, "begin", noted)
    return found


@pytest.fixture
def nodes(memcached):
    return [memcached() for _ in range(3)]


@pytest.fixture
def shop_over(tmp_path, asked):
    made = []

    def make(nodes, **config):
        made.append(Shop(nodes, tmp_path, asked, **config))
        return made[-1]

    yield make
    for shop in made:
        shop.manager.close(shop.app)


def test_while_all_nodes_are_down_every_page_says_whom_it_can_see(nodes, shop_over):
    shop = shop_over(nodes)
    shop.wait("up", "up", "up")
    for node in nodes:
        node.kill()
    # No worker has noticed yet.
    shop.pages()

    shop.wait("down", "down", "down")
    wait_until(
        lambda: "others cannot be seen" in shop.pages()["workers/"], "only this host is seen"
    )
    pages = shop.pages()
    assert "No memcached node answers: sessions are kept on hosts" in pages[""]
    assert "1 worker of this host, others cannot be seen" in pages[""]
    assert "onnection refused" in pages["nodes/n2"]
    assert "Last numbers at" in pages["nodes/"]
    assert "node_down" in pages["events/"]
    for path in PAGES[:9]:
        assert "through local storage of" in pages[path], path
    review = pages["act/policy?value=local"]
    assert "No node answers: only workers of host" in review, "whom it reaches is said before"


def test_a_node_that_hangs_holds_up_no_page_and_is_named(nodes, shop_over):
    shop = shop_over(nodes, reads=False, MSM_TIMEOUT=3, MSM_FAILURE_THRESHOLD=1)
    shop.wait("up", "up", "up")
    nodes[1].pause()
    # Not noticed yet: pages ask nodes for a moment only.
    shop.pages()

    shop.wait("up", "down", "up")
    pages = shop.pages()
    assert "n2 is down" in pages[""]
    assert "timed out" in pages["nodes/n2"]
    nodes[1].resume()
    wait_until(lambda: "down" not in shop.states(), "the node is back")


def test_a_node_that_hangs_and_code_that_reads_the_session_first(nodes, shop_over):
    shop = shop_over(nodes)
    shop.wait("up", "up", "up")
    nodes[1].pause()
    shop.wait("up", "down", "up")

    assert "is down" in shop.pages()[""]


def test_a_local_store_that_raises_at_every_call_breaks_no_page(nodes, shop_over, monkeypatch):
    # With no place for a newer digest the last one is shown as long as it may be.
    monkeypatch.setattr("flask_msm.operations.observer.GONE", 2.0)
    monkeypatch.setattr("flask_msm.operations.observer.OLD", 1.0)
    shop = shop_over(nodes, MSM_LOCAL_CACHE=RaisingCache())
    shop.wait("up", "up", "up")
    assert "All sessions are safe" in shop.pages()[""]
    for node in nodes:
        node.kill()
    shop.wait("down", "down", "down")

    shop.client.get("/in")
    pages = shop.pages()
    assert "No memcached node answers: sessions are kept on hosts" in pages[""]
    assert "No store keeps sessions: local storage fails as well" in pages[""]
    assert "the cache raised OSError: changes of sessions are lost there" in pages[""]
    assert "local storage: the cache raised OSError" in pages["events/"]
    assert "forged" not in pages["events/"], "what is not there was not forged"


def test_twenty_open_dashboards_ask_the_nodes_no_more_than_one(nodes, shop_over, monkeypatch):
    # Collected reports are old when the test decides so.
    monkeypatch.setattr("flask_msm.operations.observer.REFRESH", 1e6)
    heard = Counter()

    def hear(data):
        heard["commands"] += 1
        heard["stats"] += data.startswith(b"stats")

    first, second = (FakeServer(forwards(node.port, on_data=hear)) for node in nodes[:2])
    with first, second:
        # The first probe is the only one: what else is asked for is asked for by pages.
        slow = {**PATIENT, "MSM_PROBE_INTERVAL": 600, "MSM_PROBE_MAX_BACKOFF": 600}
        shop = shop_over([first, second], reads=False, **slow)
        shop.wait("up", "up")
        observer = shop.manager.state(shop.app).console.observer
        cluster = observer.cluster

        def probed():
            state = shop.client.get("/msm-admin/api/v1/state").json
            return all(node["limit_bytes"] for node in state["nodes"])

        wait_until(probed, "the first probe")
        wait_until(lambda: not cluster.monitor._ticking.locked(), "its tick is over")

        def poll(times):
            client = shop.app.test_client()
            for _ in range(times):
                assert client.get("/msm-admin/?live=nodes:0,verdict:0").status_code == 200

        def gathered_for(dashboards):
            """Return how often the fleet was asked for, in each second."""
            heard.clear()
            times.clear()
            began = time.monotonic()
            with ThreadPoolExecutor(dashboards) as pool:
                list(pool.map(poll, [5] * dashboards))
            assert heard["stats"] == 0
            return (len(times) - 1) / max(REFRESH, time.monotonic() - began)

        times, refresh = [], observer.refresh
        monkeypatch.setattr(observer, "refresh", lambda: times.append(1) or refresh())
        # However many look.
        assert gathered_for(1) <= 1 / REFRESH
        assert gathered_for(20) <= 1 / REFRESH
