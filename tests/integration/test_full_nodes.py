"""Real memcached processes that are full, evict, or take small items only."""

from __future__ import annotations

from collections import Counter

import pytest
from flask import Flask, session
from support.patience import PATIENT

from flask_msm import MemcachedSessionManager, SessionTooLargeError
from flask_msm.testing.memcached import wait_until
from harness.memcached import addresses


#: Sessions that are in use, and bytes of each: about a hundred fill three nodes.
ACTIVE, SIZE = 60, 6_000


class Shop:
    """An application in this process whose host keeps no copies."""

    def __init__(self, nodes, **config):
        self.app = Flask("full")
        self.app.config.update(
            SECRET_KEY="full",
            MSM_NODES=addresses(nodes),
            MSM_PROBE_INTERVAL=0.1,
            MSM_COMPRESS_ABOVE=0,
            MSM_MIRROR=False,
            MSM_LOCAL_CACHE="simple",
            PROPAGATE_EXCEPTIONS=True,
            **PATIENT,
        )
        self.app.config.update(config)
        MemcachedSessionManager(self.app)
        self.state = self.app.extensions["msm"]

        @self.app.get("/put/<int:size>")
        def put(size):
            session["value"] = "x" * size
            return "", 204

        @self.app.get("/note/<word>")
        def note(word):
            session["note"] = word
            return "", 204

        @self.app.get("/")
        def read():
            return {"size": len(session.get("value", "")), "note": session.get("note")}

    def browser(self, size=None):
        client = self.app.test_client()
        if size is not None:
            assert client.get(f"/put/{size}").status_code == 204
        return client

    def held(self):
        """Return how many copies of sessions all nodes hold."""
        cluster, until = self.state.parts.cluster, self.state.repository.clock.monotonic() + 60
        prefix = self.state.settings.key_prefix
        keys = [
            key
            for node in cluster.nodes.values()
            for key in node.metadump(prefix, until)
            if ":fleet:" not in key
        ]
        return len(keys)

    def close(self):
        self.state.close()
        for background in self.state.parts.cluster.backgrounds:
            background.close()
        for node in self.state.nodes.values():
            node.close()


@pytest.fixture
def shop():
    made = []

    def make(nodes, **config):
        made.append(Shop(nodes, **config))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_sessions_in_use_outlast_evictions_and_the_death_of_a_node(memcached, shop):
    nodes = [memcached("-m", "2") for _ in range(3)]
    one = shop(nodes)
    active = [one.browser(SIZE) for _ in range(ACTIVE)]
    for number in range(600):
        one.browser(SIZE)  # one that never comes back
        assert active[number % ACTIVE].get("/").json["size"] == SIZE
    assert all(int(node.stats()["evictions"]) > 100 for node in nodes)

    nodes[0].kill()
    sizes = [browser.get("/").json["size"] for browser in active]

    assert sizes == [SIZE] * ACTIVE


def test_with_a_home_away_a_session_that_may_have_been_evicted_is_not_signed_out(memcached, shop):
    nodes = [memcached("-m", "2") for _ in range(2)]
    one = shop(nodes)
    idle = one.browser(3000)
    while int(nodes[1].stats()["evictions"]) < 400:
        one.browser(3000)
    wait_until(
        lambda: all(one.state.parts.cluster.state.may_lack(node_id) for node_id in ("n1", "n2")),
        "evictions are known",
    )
    nodes[0].kill()

    response = idle.get("/")

    assert response.json["size"] == 0
    assert "Set-Cookie" not in response.headers


def test_the_limit_of_a_small_node_is_known_before_the_first_request(memcached, shop):
    one = shop([memcached("-I", "512k") for _ in range(2)])

    with pytest.raises(SessionTooLargeError, match=str(512 * 1024 - 512)):
        one.browser(700_000)


def test_meta_commands_go_to_nodes_that_make_room_only(memcached, shop):
    one = shop([memcached(), memcached("-M")])
    one.browser(10)
    cluster = one.state.parts.cluster
    wait_until(lambda: len(cluster.prober.numbers) == 2, "both nodes are probed")

    assert [node.takes_meta for node in cluster.nodes.values()] == [True, False]


def test_nodes_that_are_full_and_refuse_keep_their_trust_and_no_change_is_lost(memcached, shop):
    nodes = [memcached("-m", "2", "-M") for _ in range(2)]
    one = shop(nodes)
    while all(int(node.stats()["store_no_memory"]) < 5 for node in nodes):
        one.browser(3000)
    browsers = [one.browser() for _ in range(20)]

    for number, browser in enumerate(browsers):
        assert browser.get(f"/note/{number}").status_code == 204
        assert browser.get("/put/3000").status_code == 204
    notes = [browser.get("/").json for browser in browsers]

    assert notes == [{"note": str(number), "size": 3000} for number in range(20)]
    views = one.state.parts.cluster.state.view()
    assert all(view.trusted for view in views.values())


#: More than the nodes have connections for: memcached keeps some of them for itself.
WORKERS, CONNECTIONS = 45, 40


def test_workers_that_need_more_connections_than_nodes_have_take_turns_and_lose_nothing(
    memcached, shop
):
    nodes = [memcached("-c", str(CONNECTIONS)) for _ in range(3)]
    workers = [shop(nodes, MSM_PROBE_INTERVAL=1.0) for _ in range(WORKERS)]
    browsers = [worker.browser() for worker in workers]
    for number, browser in enumerate(browsers):
        assert browser.get(f"/note/{number}").status_code == 204

    for number, browser in enumerate(browsers):
        other = workers[number - 1].browser()
        other.set_cookie("session", browser.get_cookie("session").value)
        assert other.get("/").json["note"] == str(number)

    events = [event for worker in workers for event in worker.state.parts.events.newest()]
    crowded = Counter(event.node for event in events if event.kind == "node_connections")
    assert {worker.state.mode for worker in workers} == {"distributed"}
    assert crowded
    assert set(crowded.values()) == {1}
    assert not {"node_down", "node_suspect", "mode_local"} & {event.kind for event in events}
