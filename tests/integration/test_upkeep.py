"""Probes, trust and rebuilds on real memcached processes, tick by tick."""

from __future__ import annotations

import socket

import pytest
from flask import Flask
from support.behaviours import answers
from support.cli_operator import settle
from support.patience import NOTICES, PATIENT, rebuild_soon

from flask_msm import MemcachedSessionManager
from flask_msm.cluster.health import NodeState
from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import keyring, storage_key
from flask_msm.record.record import Kind, Record
from flask_msm.record.token import new_sid
from flask_msm.testing.fake_server import FakeServer
from flask_msm.testing.memcached import wait_until
from harness.memcached import addresses


SECRET = "upkeep"
KEYS = keyring((SECRET,))
PREFIX = "msm:upkeep:"


class Fleet:
    """Workers of one application in this process, each with its own state; ticked by hand."""

    def __init__(self, nodes) -> None:
        self.nodes = nodes
        self.apps = []

    def spec(self, count=None):
        return addresses(self.nodes[:count])

    def worker(self, **config):
        # Workers that were not heard of for ten intervals are gone.
        rhythm = {"MSM_PROBE_INTERVAL": 2, "MSM_PROBE_MAX_BACKOFF": 2, "MSM_RECOVERY_THRESHOLD": 1}
        cluster, state = self.outsider(**{**rhythm, **config})
        rebuild_soon(cluster.monitor)
        cluster.monitor.begin()
        return cluster, state

    def outsider(self, **config):
        """Return the parts of a command line: it knows nothing yet."""
        app = Flask("upkeep")
        app.config.update(SECRET_KEY=SECRET, MSM_NODES=self.spec(), MSM_KEY_PREFIX=PREFIX)
        app.config.update({**PATIENT, **config})
        MemcachedSessionManager(app)
        self.apps.append(app)
        return app.extensions["msm"].parts.cluster, app.extensions["msm"]

    def close(self):
        for app in self.apps:
            app.extensions["msm"].close()
            for background in app.extensions["msm"].parts.cluster.backgrounds:
                background.close()
            for node in app.extensions["msm"].nodes.values():
                node.close()


@pytest.fixture
def fleet(memcached):
    made = Fleet([memcached() for _ in range(3)])
    yield made
    made.close()


def kinds(state):
    return [event.kind for event in state.parts.events.newest()]


def store_sessions(state, count):
    """Store *count* sessions and return their keys."""
    clock = state.repository.clock
    found = []
    for number in range(count):
        key = storage_key(PREFIX, new_sid())
        now = clock.time()
        attributes = Attributes({"number": (1, str(number).encode())}, {}, 0)
        record = Record(Kind.DATA, now, now, now + 1000, 1, attributes)
        saved = state.store.save(
            key, lambda seen, made=record: made, known=None, deadline=clock.monotonic() + 60
        )
        assert saved.copies == 2
        found.append(key)
    return found


def holders(state, key):
    """Return the nodes that hold a session; local storage is no node."""
    return state.store.cluster.holders(key, state.repository.clock.monotonic() + 60)


def test_a_worker_trusts_nobody_before_it_knows_what_the_fleet_knows(fleet):
    app = Flask("upkeep")
    app.config.update(SECRET_KEY=SECRET, MSM_NODES=fleet.spec())
    MemcachedSessionManager(app)
    fleet.apps.append(app)

    state = app.extensions["msm"].parts.cluster.state

    assert not any(view.trusted for view in state.view().values())


def test_a_node_that_restarts_empty_is_rebuilt_and_trusted_again(fleet):
    cluster, state = fleet.worker()
    keys = store_sessions(state, 300)
    victim = fleet.nodes[0]
    victim.kill()
    cluster.monitor.tick()
    assert cluster.state.view()["n1"].state is NodeState.DOWN
    victim.restart()

    settle(cluster)

    for key in keys:
        assert set(state.parts.placement.homes(key)) <= set(holders(state, key))
    assert "rebuild_finished" in kinds(state)


def test_a_restart_between_two_ticks_is_not_hidden_by_news_of_another_node(fleet):
    """A worker that brings a node the control state notices that it had it before."""
    one, _ = fleet.worker()
    other, _ = fleet.worker()
    fleet.nodes[0].restart()

    one.reactions.give_up(["n2"])
    one.backgrounds[1].flush(60)
    other.monitor.tick()

    assert not other.state.view()["n1"].trusted


def test_a_node_that_is_flushed_while_it_is_told_the_news_is_not_taken_for_told(fleet):
    cluster, _ = fleet.worker()
    shared, node = cluster.control.shared, cluster.nodes["n1"]
    pulled = shared.pull(node, 1e12)
    fleet.nodes[0].flush()
    shared.put("news", b"1")

    shared.push(node, pulled, 1e12)

    assert not shared.pull(node, 1e12).found


def test_a_flushed_node_loses_its_trust_and_is_rebuilt(fleet):
    cluster, state = fleet.worker()
    (key,) = store_sessions(state, 1)
    home = int(state.parts.placement.homes(key)[0][1:])
    with fleet.nodes[home - 1].connect() as connection:
        connection.sendall(b"flush_all\r\n")
        assert connection.recv(100) == b"OK\r\n"
    cluster.monitor.tick()
    assert not cluster.state.view()[f"n{home}"].trusted
    assert "node_lost_memory" in kinds(state)

    settle(cluster)

    assert set(holders(state, key)) == set(state.parts.placement.homes(key))


def test_a_hung_node_is_taken_down_by_probes_and_comes_back(fleet):
    cluster, _ = fleet.worker(MSM_RETRY_ATTEMPTS=0, **NOTICES)
    fleet.nodes[0].pause()

    def is_down():
        cluster.monitor.tick()
        return cluster.state.view()["n1"].state is NodeState.DOWN

    try:
        wait_until(is_down, "the hung node is down")
    finally:
        fleet.nodes[0].resume()
    settle(cluster)


def test_workers_with_different_nodes_trust_nobody_until_they_agree_and_all_is_rebuilt(fleet):
    old, old_state = fleet.worker(MSM_NODES=fleet.spec(2))
    keys = store_sessions(old_state, 100)
    new, new_state = fleet.worker()

    def trust_nobody():
        # Each has a thread that ticks as well: a tick by hand may be one too many.
        new.monitor.tick()
        old.monitor.tick()
        views = [*old.state.view().values(), *new.state.view().values()]
        return not any(view.trusted for view in views)

    wait_until(trust_nobody, "workers know that they differ")
    old.runtime.stop()
    old.monitor.leave()

    settle(new)

    for key in keys:
        assert set(new_state.parts.placement.homes(key)) <= set(holders(new_state, key))


def test_a_drained_node_is_copied_away_and_left_alone_until_it_is_taken_back(fleet):
    cluster, state = fleet.worker()
    keys = store_sessions(state, 100)

    anna = {"actor": "anna", "reason": "new disk", "based_on": None}
    assert state.console.drain("n1", **anna).nodes

    def drained():
        cluster.monitor.tick()
        return cluster.state.view()["n1"].state is NodeState.DRAINED

    wait_until(drained, "n1 is drained")
    for key in keys:
        assert len(set(holders(state, key)) - {"n1"}) == 2
    fleet.nodes[0].kill()
    assert state.store.load(keys[0], at_least=1, deadline=1e12).record is not None
    fleet.nodes[0].restart()
    assert state.console.undrain("n1", **anna).nodes
    settle(cluster)


def test_the_gate_opens_only_when_losing_any_node_would_lose_nothing(fleet):
    cluster, state = fleet.worker()
    console = state.console
    cluster.monitor.tick()
    assert console.check().all_up
    store_sessions(state, 20)

    fleet.nodes[0].kill()
    assert not console.check().all_up
    fleet.nodes[0].restart()
    # No worker has ticked since: the node is there, and no worker knows yet that it is empty.
    assert not console.check().all_up
    cluster.monitor.tick()
    assert not console.check().all_up

    settle(cluster)

    def is_open() -> bool:
        cluster.monitor.tick()
        return console.check().all_up

    wait_until(is_open, "the gate opens")


def test_a_node_that_gives_no_statistics_and_lists_no_keys_stays_in_use(fleet, memcached):
    guarded = FakeServer(answers(b"ERROR\r\n"))
    with guarded:
        from flask_msm.errors import NodeValueError
        from flask_msm.memcached.client import MemcachedNode
        from flask_msm.process.clock import SystemClock

        node = MemcachedNode(
            "n9", host="127.0.0.1", port=guarded.port, connect_timeout=60, timeout=60, pool_size=1
        )
        with pytest.raises(NodeValueError):
            node.metadump(PREFIX, SystemClock().monotonic() + 60)
        node.close()


def test_one_write_that_did_not_arrive_is_repaired_without_a_rebuild(fleet):
    cluster, state = fleet.worker(MSM_RETRY_ATTEMPTS=0, **NOTICES)
    (key,) = store_sessions(state, 1)
    home = int(state.parts.placement.homes(key)[1][1:])
    fleet.nodes[home - 1].pause()
    try:
        loaded = state.store.load(key, at_least=1, deadline=1e12)

        def rewrite(seen):
            attributes = Attributes({"number": (9, b"9")}, {}, 0)
            return seen._replace(version=9, attributes=attributes)

        state.store.save(key, rewrite, known=loaded, deadline=1e12)
    finally:
        fleet.nodes[home - 1].resume()
    assert not cluster.control.standing(f"n{home}").missed

    cluster.monitor.tick()

    item = cluster.nodes[f"n{home}"].start_gets(key, 1e12).result()
    record = state.parts.envelope.open(item.value, key)
    assert record.attributes.alive() == {"number": b"9"}
    assert not cluster.control.standing(f"n{home}").missed


def fill(node):
    """Store more than a node of 2 MB can hold."""
    with socket.create_connection(("127.0.0.1", node.port), 5) as connection:
        value = b"x" * 3000
        for number in range(1500):
            connection.sendall(b"set other:%d 0 0 3000 noreply\r\n%s\r\n" % (number, value))
        connection.sendall(b"version\r\n")
        assert connection.recv(100).startswith(b"VERSION")
