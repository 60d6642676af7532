"""What a worker does at once when something changed, also outside of ticks."""

from __future__ import annotations

import pytest
from support.crew import INTERVAL, Crew

from flask_msm.errors import NodeBusyError, NodeValueError
from flask_msm.maintenance.retries import LIMIT


KEY = "msm:test:" + "a" * 40


@pytest.fixture
def crew():
    made = Crew(2, 3)
    for _ in range(3):
        made.tick()
    return made


@pytest.fixture
def one(crew):
    return crew.workers[0]


@pytest.fixture
def other(crew):
    return crew.workers[1]


def trusted(worker, node_id="n1"):
    return worker.cluster.state.view()[node_id].trusted


def test_a_single_write_that_went_past_a_node_is_kept_to_be_tried_again(one):
    one.cluster.reactions.left_out("n1", KEY)

    assert one.cluster.retries.nodes() == ["n1"]
    assert trusted(one)


def test_a_write_that_went_past_a_node_that_is_down_is_not_kept(crew, one):
    crew.nodes["n1"].fail()
    crew.tick(one)

    one.cluster.reactions.left_out("n1", KEY)

    assert one.cluster.retries.nodes() == []


def test_a_node_that_too_many_writes_went_past_is_trusted_by_no_worker(crew, one, other):
    for number in range(LIMIT + 1):
        one.cluster.reactions.left_out("n1", f"{KEY}{number}")

    assert one.cluster.retries.nodes() == []
    assert not trusted(one)
    crew.tick(other)
    assert not trusted(other)


def test_a_node_whose_single_write_cannot_be_repaired_in_time_is_not_trusted(crew, one):
    one.cluster.reactions.left_out("n1", KEY)
    one.cluster.monitor.rejoin = lambda key: frozenset()

    one.cluster.monitor.tick()
    assert trusted(one)
    crew.clock.advance(INTERVAL)
    one.cluster.monitor.tick()

    assert not trusted(one)
    assert one.cluster.retries.nodes() == []


def test_a_worker_that_ends_leaves_to_the_others_what_it_alone_knows_to_be_missing(
    crew, one, other
):
    one.cluster.reactions.left_out("n1", KEY)

    one.cluster.monitor.leave()

    crew.tick(other)
    assert not trusted(other)


def test_a_worker_that_ends_signs_off_where_it_can_and_waits_for_no_node(crew, one, other):
    crew.nodes["n1"].hang()

    one.cluster.monitor.leave()

    crew.nodes["n1"].heal()
    crew.tick(other)
    assert one.name not in other.cluster.workers.living()


def test_a_failure_of_one_operation_leaves_what_the_fleet_trusts_as_it_is(one):
    one.cluster.reactions.failed("n1", NodeBusyError("n1", "timed out"))

    assert trusted(one)


def test_distribution_that_is_stopped_already_is_not_stopped_again(one):
    one.cluster.reactions.stop_distribution("first")
    before = one.cluster.control.choice("distribution")

    one.cluster.reactions.stop_distribution("second")

    assert one.cluster.control.choice("distribution") == before


def test_a_node_that_is_left_alone_for_a_while_is_missed_with_every_tick(crew, one):
    crew.nodes["n1"].fail()
    one.cluster.monitor.tick()
    missed = one.cluster.control.standing("n1").missed
    crew.nodes["n1"].asked.clear()

    one.cluster.monitor.tick()

    assert not crew.nodes["n1"].asked
    assert one.cluster.control.standing("n1").missed > missed


def test_a_node_that_gives_no_statistics_is_up_all_the_same(crew, one):
    def refuses(*_):
        raise NodeValueError("n1", "no statistics")

    crew.nodes["n1"].stats = refuses

    crew.tick(one)
    crew.tick(one)

    assert one.cluster.state.rights("n1").alone


def test_nodes_that_are_filled_from_a_host_are_trusted_only_afterwards(crew, one):
    crew.nodes["n1"].restart_empty()
    crew.nodes["n1"].said["uptime"] = "0"
    crew.tick(one)
    before = one.cluster.control.standing("n1").missed

    one.cluster.failback.is_restoring = True
    one.cluster.monitor.tick()

    assert one.cluster.control.standing("n1").missed > before
    assert trusted(one, "n2")
