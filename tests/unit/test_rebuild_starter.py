"""Which order a drain carries out, and what becomes of one that is taken back meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import session
from support.clock import FakeClock
from support.crew import BY, Crew

from flask_msm.cluster.control import Control
from flask_msm.cluster.health import NodeState
from flask_msm.cluster.shared_map import MAX_SIZE, SharedMap
from flask_msm.maintenance.rebuild_starter import RebuildStarter
from flask_msm.record.envelope import Envelope
from flask_msm.record.hybrid_clock import HybridLogicalClock
from flask_msm.record.keys import keyring


class Drain:
    """A node that is being drained; ``meanwhile`` is called while it is copied."""

    def __init__(self):
        clock = FakeClock()
        envelope = Envelope(
            lambda: keyring(("secret",)), codec_id=0, compress_above=4096, max_size=MAX_SIZE
        )
        shared = SharedMap(
            "control", envelope=envelope, stamps=HybridLogicalClock(clock), clock=clock
        )
        self.control = Control(shared, worker=lambda: "worker")
        self.jobs = []
        self.copied = []
        self.meanwhile = lambda: None
        self.starter = RebuildStarter(
            SimpleNamespace(drain=self.copy, left_to_others=set()),
            membership=SimpleNamespace(
                table=SimpleNamespace(view=self.view),
                control=self.control,
                clock=clock,
                may_believe=lambda: True,
            ),
            reactions=SimpleNamespace(publish=lambda: None),
            bulk=SimpleNamespace(put=self.queue),
            hold_off=0.0,
            rebuilds=True,
        )
        self.order("draining")

    def order(self, value):
        self.control.set_drain("n1", value, who="anna", why="")

    def queue(self, job):
        self.jobs.append(job)
        return True

    def copy(self, node_id, others):
        self.copied.append(node_id)
        self.meanwhile()
        return True

    def view(self):
        up = SimpleNamespace(state=NodeState.UP)
        other = SimpleNamespace(
            state=NodeState.UP, health=up, trusted=True, rights=SimpleNamespace(written=True)
        )
        return {"n1": SimpleNamespace(state=NodeState.DRAINING, health=up), "n2": other}

    def work(self):
        while self.jobs:
            self.jobs.pop()(0.0)


@pytest.fixture
def drain():
    return Drain()


def test_a_drain_that_is_complete_is_written_down(drain):
    drain.starter.start()
    drain.work()

    assert drain.control.drains() == {"n1": "drained"}


def test_an_order_taken_back_while_the_node_is_copied_stays_taken_back(drain):
    drain.meanwhile = lambda: drain.order(None)
    drain.starter.start()
    drain.work()

    assert drain.copied == ["n1"]
    assert drain.control.drains() == {}


def test_an_order_taken_back_before_copying_begins_stays_taken_back(drain):
    drain.starter.start()
    drain.order(None)
    drain.work()

    assert drain.control.drains() == {}


def test_an_order_taken_back_before_it_is_seen_is_not_carried_out(drain):
    drain.order(None)
    drain.starter.start()

    assert drain.jobs == []
    drain.order("draining")
    drain.starter.start()
    drain.work()
    assert drain.control.drains() == {"n1": "drained"}


def test_a_node_is_drained_while_one_that_was_drained_before_is_stopped():
    crew = Crew(2, nodes=4)
    one = crew.workers[0]

    for node_id in ("n1", "n3"):
        crew.tick()
        one.console.drain(node_id, **BY)
        for _ in range(6):
            crew.tick()
        assert one.cluster.control.drain(node_id).value == "drained"
        crew.nodes[node_id].fail()


def test_a_node_is_filled_while_one_that_is_full_takes_no_lease():
    crew = Crew(2, nodes=3)
    crew.tick()
    crew.nodes["n1"].too_much = lambda *_: True
    crew.nodes["n3"].restart_empty()

    for _ in range(10):
        crew.tick()

    assert {worker.cluster.state.view()["n3"].trusted for worker in crew.workers} == {True}


def stored(worker, count):
    """Return the storage keys of so many sessions that *worker* has stored."""
    keys = []
    for _ in range(count):
        worker.do(lambda: session.update(name="anna"))
        keys.append(worker.key())
        worker.client.delete_cookie("session")
    return keys


def test_what_a_worker_writes_before_it_knows_of_a_drain_has_two_copies_when_it_is_complete():
    crew = Crew(2, nodes=4, MSM_MIRROR=False)
    one, two = crew.workers
    two.state.store.nodes.views = two.cluster.state
    crew.tick()
    one.console.drain("n3", **BY)
    crew.tick(one)

    keys = stored(two, 20)
    for _ in range(6):
        crew.tick()

    assert one.cluster.control.drain("n3").value == "drained"
    left = [crew.nodes[node_id] for node_id in ("n1", "n2", "n4")]
    assert [sum(key in node.items for node in left) for key in keys] == 20 * [2]


def test_a_node_rebuilt_during_a_drain_gets_what_the_drained_one_was_home_to():
    crew = Crew(2, nodes=4, MSM_MIRROR=False)
    one = crew.workers[0]
    one.state.store.nodes.views = one.cluster.state
    crew.tick()
    crew.nodes["n1"].fail()
    crew.tick()
    one.console.drain("n4", **BY)
    crew.tick()
    keys = stored(one, 20)
    crew.nodes["n1"].restart_empty()
    # Nothing can be done for a while; then it is the turn of n1 before that of n4.
    crew.nodes["n3"].fail()
    for _ in range(4):
        crew.tick()
    crew.nodes["n3"].heal()

    for _ in range(12):
        crew.tick()

    assert one.console.check().all_up
    first = one.cluster.replicated.nodes.placement.first
    assert all(
        key in crew.nodes[node_id].items
        for key in keys
        for node_id in first(2, key, {"n1", "n2", "n3"}.__contains__)
    )


def test_a_node_that_lost_its_memory_is_drained_and_what_it_lacks_has_two_copies():
    crew = Crew(2, nodes=4, MSM_MIRROR=False)
    one = crew.workers[0]
    crew.tick()
    keys = stored(one, 20)
    crew.nodes["n4"].restart_empty()
    crew.tick()
    one.console.drain("n4", **BY)

    for _ in range(8):
        crew.tick()

    assert one.console.check().all_up
    left = [crew.nodes[node_id] for node_id in ("n1", "n2", "n3")]
    assert [sum(key in node.items for node in left) for key in keys] == 20 * [2]


def test_nodes_are_restarted_one_after_another_while_one_is_drained_and_no_session_goes():
    crew = Crew(2, nodes=4, MSM_MIRROR=False)
    crew.tick()
    keys = stored(crew.workers[0], 20)
    crew.workers[0].console.drain("n3", **BY)
    for _ in range(6):
        crew.tick()
    assert crew.workers[0].cluster.control.drain("n3").value == "drained"
    crew.nodes["n3"].fail()
    left = [crew.nodes[node_id] for node_id in ("n1", "n2", "n4")]

    for node in left:
        node.restart_empty()
        for _ in range(10):
            crew.tick()
        assert {worker.console.check().all_up for worker in crew.workers} == {True}

    assert [sum(key in node.items for node in left) for key in keys] == 20 * [2]


def test_a_node_that_returns_while_another_one_stays_away_gets_its_copies_once_and_no_trust():
    crew = Crew(2, nodes=4, MSM_REQUEST_DEADLINE=2, MSM_MIRROR=False)
    crew.tick()
    one = crew.workers[0]
    keys = stored(one, 20)
    crew.nodes["n2"].fail()
    crew.tick()
    crew.nodes["n3"].restart_empty()

    for _ in range(50):
        crew.tick()

    homes = one.cluster.replicated.nodes.placement.homes
    lost = [key for key in keys if "n3" in homes(key) and "n2" not in homes(key)]
    assert lost
    assert set(lost) <= crew.nodes["n3"].items.keys()
    assert not one.cluster.state.view()["n3"].trusted
    events = [each for worker in crew.workers for each in worker.state.parts.events.newest()]
    assert [each.kind for each in events].count("rebuild_began") == 1
