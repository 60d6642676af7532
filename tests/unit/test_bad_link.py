"""One worker that cannot reach a node, while all others can."""

from __future__ import annotations

import pytest
from flask import session
from support.crew import Crew
from support.fake_node import FakeNode
from support.policies import contents, visit, write

from flask_msm.record.keys import is_digest


SESSIONS, TRIES = 12, 1400


@pytest.fixture
def crew():
    made = Crew(3, nodes=3)
    for _ in range(4):
        made.tick()
    for number in range(SESSIONS):
        visit(made.workers[0], write(number=number), None)
    return made


@pytest.fixture
def blind(crew):
    """The worker that is cut off from a node that has come back empty."""
    worker = crew.workers[2]
    wall = FakeNode("n1")
    wall.fail()
    worker.cluster.nodes["n1"] = wall
    crew.nodes["n1"].restart_empty()
    return worker


def sessions(crew, node_id):
    return {key for key in crew.nodes[node_id].items if is_digest(key.rpartition(":")[2])}


def missing(crew):
    """Return the sessions of which ``n1`` is a home and has no copy."""
    homes = crew.workers[0].state.parts.placement.homes
    held = sessions(crew, "n2") | sessions(crew, "n3")
    return {key for key in held if "n1" in homes(key)} - sessions(crew, "n1")


def trusts(worker):
    return worker.cluster.state.view()["n1"].trusted


def test_a_node_gets_its_copies_back_although_one_worker_goes_on_missing_it(crew, blind):
    assert missing(crew)

    for _ in range(20):
        crew.tick()

    assert not missing(crew)
    assert not any(trusts(worker) for worker in crew.workers)


def test_a_node_is_trusted_when_the_last_worker_reaches_it_again(crew, blind):
    for _ in range(20):
        crew.tick()
    blind.cluster.nodes["n1"] = crew.nodes["n1"]
    for node in crew.nodes.values():
        # It was given back; a node in memory forgets nothing by itself.
        node.items.pop("msm:shop:fleet:lease:n1", None)

    for _ in range(40):
        crew.tick()

    assert all(trusts(worker) for worker in crew.workers)


def test_a_sign_out_at_a_worker_that_is_cut_off_from_one_home_stays_final(crew):
    """More of them than the list of sessions that ended has room for: the rest hangs on trust."""
    first, second, blind = crew.workers
    wall, node = FakeNode("n1"), crew.nodes["n1"]
    cookies = [visit(first, write(number=number), None)[1] for number in range(TRIES)]
    wall.fail()
    blind.cluster.nodes["n1"] = wall
    for number, cookie in enumerate(cookies):
        visit(blind, lambda: session.clear(), cookie)
        if number % 100 == 99:
            crew.tick()
    crew.tick()
    crew.tick()

    assert [cookie for cookie in cookies if visit(second, contents, cookie)[0]] == []
    blind.cluster.nodes["n1"] = node
    for _ in range(40):
        crew.tick()
        for holder in crew.nodes.values():
            holder.items.pop("msm:shop:fleet:lease:n1", None)
    assert all(trusts(worker) for worker in crew.workers)
    assert [cookie for cookie in cookies if visit(second, contents, cookie)[0]] == []
