"""One worker's view of the nodes: immutable, replaced as a whole, changes reported once."""

from __future__ import annotations

import threading

import pytest
from support.clock import FakeClock

from flask_msm.cluster.health import NodeState, Observation, Thresholds
from flask_msm.cluster.nodes import FleetFacts, NodeTable
from flask_msm.errors import NodeBusyError, NodeUnreachableError, NodeValueError


LIMITS = Thresholds(failures=3, recoveries=2, backoff=2.0, max_backoff=30.0)
ALL = frozenset({"n1", "n2", "n3"})
BUSY = NodeBusyError("n1", "timed out")
GONE = NodeUnreachableError("n1", "connection refused")


class Watched:
    """A table of nodes, its clock, and the changes it returned."""

    def __init__(self, ids=("n1", "n2", "n3"), trusted=ALL) -> None:
        self.clock = FakeClock()
        self.state = NodeTable(ids, limits=LIMITS, clock=self.clock, chance=lambda: 1.0)
        self.state.learn(FleetFacts(frozenset(trusted)))
        self.reported = []

    def failed(self, *what):
        self._note(self.state.failed(*what))

    def observe(self, *what):
        self._note(self.state.observe(*what))

    def learn(self, facts):
        self._note(self.state.learn(facts))

    def _note(self, changes):
        for node_id, before, after in changes:
            self.reported.append((node_id, before.state.value, after.state.value))

    def state_of(self, node_id="n1"):
        return self.state.view()[node_id].state


@pytest.fixture
def watched():
    return Watched()


def test_nodes_begin_up_and_untrusted():
    state = NodeTable(["n1"], limits=LIMITS, clock=FakeClock())

    view = state.view()["n1"]
    assert (view.state, view.trusted) == (NodeState.UP, False)
    assert (view.rights.alone, view.rights.joined, view.rights.written) == (False, True, True)


# -- telling -------------------------------------------------------------------------------------


def test_a_change_is_returned_once(watched):
    for _ in range(10):
        watched.failed("n1", GONE)

    assert watched.reported == [("n1", "up", "down")]


def test_many_requests_that_fail_at_once_make_one_change():
    watched = Watched()
    gate = threading.Barrier(8)

    def fail():
        gate.wait()
        for _ in range(50):
            watched.failed("n1", GONE)

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert watched.reported == [("n1", "up", "down")]


def test_a_failure_that_does_not_change_the_state_is_not_reported(watched):
    watched.failed("n1", BUSY)
    watched.failed("n1", BUSY)

    assert watched.reported == [("n1", "up", "suspect")]
    assert watched.state.view()["n1"].health.doubts == 2


def test_a_way_down_and_back_is_reported_step_by_step(watched):
    watched.failed("n1", BUSY)
    watched.failed("n1", GONE)
    watched.observe("n1", Observation.PROBE_SUCCESS)
    watched.observe("n1", Observation.PROBE_SUCCESS)

    assert watched.reported == [
        ("n1", "up", "suspect"),
        ("n1", "suspect", "down"),
        ("n1", "down", "recovering"),
        ("n1", "recovering", "up"),
    ]


def test_the_class_and_reason_of_a_failure_are_kept(watched):
    watched.failed("n1", GONE)

    error = watched.state.view()["n1"].health.error
    assert error == "NodeUnreachableError: connection refused"


# -- requests ------------------------------------------------------------------------------------


def test_failures_are_counted_and_not_forgotten_with_a_success(watched):
    watched.failed("n1", BUSY)
    watched.observe("n1", Observation.SUCCESS)
    watched.observe("n1", Observation.PROBE_SOFT, BUSY)
    watched.failed("n1", GONE)
    watched.observe("n1", Observation.PROBE_HARD, GONE)
    watched.observe("n1", Observation.PROBE_SUCCESS)

    assert watched.state.failures("n1") == (2, 2)
    assert watched.state.failures("n2") == (0, 0)


def test_a_success_resets_a_node_in_doubt(watched):
    watched.failed("n1", BUSY)
    watched.failed("n1", BUSY)
    watched.observe("n1", Observation.SUCCESS)
    assert watched.state.view()["n1"].health.doubts == 0
    assert watched.state_of() is NodeState.UP

    watched.failed("n1", BUSY)
    watched.failed("n1", BUSY)

    assert watched.state_of() is NodeState.SUSPECT


def test_a_suspect_node_is_not_read_alone(watched):
    watched.failed("n1", BUSY)

    rights = watched.state.rights("n1")
    assert (rights.alone, rights.joined, rights.written) == (False, True, True)


def test_the_last_node_is_spared_by_requests_and_taken_by_probes(watched):
    for node_id in ("n2", "n3"):
        watched.failed(node_id, GONE)

    for _ in range(20):
        watched.failed("n1", BUSY)
    assert watched.state_of() is NodeState.SUSPECT

    watched.observe("n1", Observation.PROBE_SOFT, BUSY)
    assert watched.state_of() is NodeState.DOWN


def test_the_only_node_is_the_last_one():
    watched = Watched(ids=["n1"])

    for _ in range(20):
        watched.failed("n1", BUSY)

    assert watched.state_of() is NodeState.SUSPECT


def test_a_node_is_the_last_one_when_the_others_are_drained(watched):
    watched.learn(FleetFacts(ALL, {"n2": "drained", "n3": "draining"}))

    for _ in range(20):
        watched.failed("n1", BUSY)

    assert watched.state_of() is NodeState.SUSPECT


# -- probes --------------------------------------------------------------------------------------


def test_a_node_that_is_down_is_due_when_it_was_left_alone_for_long_enough(watched):
    assert watched.state.due("n1")
    watched.failed("n1", GONE)
    assert not watched.state.due("n1")
    watched.clock.advance(1.99)
    assert not watched.state.due("n1")
    watched.clock.advance(0.01)

    assert watched.state.due("n1")


def test_a_wall_clock_that_jumps_does_not_bring_an_attempt_forward(watched):
    watched.failed("n1", GONE)
    watched.clock.now += 86_400

    assert not watched.state.due("n1")


def test_forgetting_failures_makes_a_node_due_and_its_back_off_short(watched):
    for _ in range(5):
        watched.observe("n1", Observation.PROBE_HARD, GONE)
    reported = list(watched.reported)
    assert not watched.state.due("n1")

    watched.state.forget_failures("n1")

    assert watched.state.due("n1")
    assert watched.state_of() is NodeState.DOWN
    assert watched.reported == reported
    watched.observe("n1", Observation.PROBE_HARD, GONE)
    assert watched.state.view()["n1"].health.retry_at == watched.clock.monotonic() + 2.0


# -- facts of the fleet --------------------------------------------------------------------------


def test_a_node_is_read_alone_when_the_fleet_trusts_it():
    watched = Watched(trusted=())
    assert not watched.state.rights("n1").alone

    watched.learn(FleetFacts(frozenset({"n1"})))

    assert watched.state.rights("n1").alone
    assert not watched.state.rights("n2").alone
    assert watched.reported == [("n1", "up", "up")]


def test_a_drain_lies_over_what_the_worker_sees(watched):
    watched.learn(FleetFacts(ALL, {"n1": "draining", "n2": "drained"}))

    assert watched.state_of("n1") is NodeState.DRAINING
    assert watched.state_of("n2") is NodeState.DRAINED
    assert watched.state.view()["n1"].health.state is NodeState.UP
    assert not watched.state.rights("n1").written
    assert not watched.state.rights("n2").joined
    assert watched.reported == [("n1", "up", "draining"), ("n2", "up", "drained")]


def test_a_change_of_a_drained_node_is_seen_and_not_reported(watched):
    watched.learn(FleetFacts(ALL, {"n2": "drained"}))
    watched.reported.clear()

    watched.observe("n2", Observation.PROBE_HARD, GONE)

    assert watched.state.view()["n2"].health.state is NodeState.DOWN
    assert watched.state_of("n2") is NodeState.DRAINED
    assert watched.reported == []


def test_a_node_may_lack_values_until_it_says_that_it_dropped_none(watched):
    state = watched.state
    assert state.may_lack("n1")

    state.note_complete("n1", complete=True)
    assert not state.may_lack("n1")

    state.note_complete("n1", complete=False)
    assert state.may_lack("n1")


def test_a_node_that_refused_a_value_may_lack_it_and_is_not_in_doubt(watched):
    state = watched.state
    state.note_complete("n1", complete=True)

    state.failed("n1", NodeValueError("n1", "refused the value: out of memory"))

    assert state.may_lack("n1")
    assert watched.reported == []
