"""What a tick asks of the nodes, and what follows from what it and requests find."""

from __future__ import annotations

from collections import Counter

import pytest
from support.crew import INTERVAL, Crew

from flask_msm.cluster.health import NodeState
from flask_msm.errors import NodeBusyError


@pytest.fixture
def crew():
    made = Crew(1, nodes=3)
    # With every third tick a worker announces itself anew.
    for _ in range(7):
        made.tick()
    made.operations()
    return made


@pytest.fixture
def one(crew):
    return crew.workers[0]


def test_a_tick_asks_each_node_once_for_its_statistics_and_once_for_all_maps(crew, one):
    one.cluster.monitor.tick()

    asked = Counter(name for name, _ in crew.operations())
    # The report of the worker is kept on two nodes.
    assert asked == {"stats": 3, "look": 3, "gets": 2, "cas": 2}


def test_a_tick_that_has_news_writes_them_once_to_each_node(crew, one):
    one.cluster.ended_sessions.add("a" * 40)

    one.cluster.monitor.tick()

    asked = Counter(name for name, _ in crew.operations())
    assert asked == {"stats": 3, "look": 3, "gets": 2, "cas": 2 + 3}


def test_a_command_reads_and_writes_each_node_once(crew, one, monkeypatch):
    # What is shown and remembered of it is written behind it; here all is done at once.
    monkeypatch.setattr(one.console.observer, "renew", lambda: None)
    monkeypatch.setattr(one.cluster.history, "add_change", lambda *_, **_named: None)
    crew.operations()

    one.console.set_policy("local", actor="anna", reason="", based_on=None)

    asked = Counter(name for name, _ in crew.operations())
    assert asked == {"get_many": 3, "cas": 3}


def test_a_success_of_a_node_without_doubts_takes_no_lock(one):
    with one.cluster.state._lock:
        one.cluster.reactions.answered("n1")


def test_a_success_ends_the_doubts_about_a_node(one):
    one.cluster.reactions.failed("n1", NodeBusyError("n1", "timed out"))
    assert one.cluster.state.view()["n1"].state is NodeState.SUSPECT

    one.cluster.reactions.answered("n1")

    assert one.cluster.state.view()["n1"].state is NodeState.UP


def test_a_listener_is_called_without_any_lock(crew):
    held = []

    def listener(event):
        cluster = new.cluster
        parts = cluster.state, cluster.mode, cluster.retries, cluster.conditions
        locks = [part._lock for part in (*parts, cluster.control.shared)]
        locks.append(cluster.reactions._acting)
        held.append((event.kind, any(lock.locked() for lock in locks)))

    new = crew.hire(listener=listener)
    crew.tick(new)
    crew.outage()
    crew.tick(new)
    new.console.set_policy("local", actor="anna", reason="", based_on=None)
    crew.clock.advance(INTERVAL)

    assert {"node_down", "mode_local", "policy_changed"} <= {kind for kind, _ in held}
    assert not any(locked for _, locked in held)
