"""The routing: what holds for all sessions, at one look, and made anew with each change."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace

import pytest
from support.apps import make_app
from support.clock import FakeClock
from support.fake_node import FakeNode

from flask_msm.cluster.health import Thresholds
from flask_msm.cluster.mode import ModeSignal, ModeState
from flask_msm.cluster.nodes import FleetFacts, NodeTable
from flask_msm.cluster.routing import Router
from flask_msm.errors import NodeUnreachableError


MAX_SIZE, NOTICE = 10_000, 30.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def worker(clock):
    """A worker that trusts both nodes, and that is told of every change as in an application."""
    nodes = {node_id: FakeNode(node_id) for node_id in ("n1", "n2")}
    limits = Thresholds(failures=3, recoveries=1, backoff=1.0, max_backoff=1.0)
    table, mode = NodeTable(nodes, limits=limits, clock=clock), ModeState(clock)
    made = SimpleNamespace(nodes=nodes, table=table, mode=mode, others_keep=False)
    made.router = Router(
        nodes,
        table=table,
        mode=mode,
        others_keep=lambda: made.others_keep,
        notice=NOTICE,
        max_size=MAX_SIZE,
    )
    table.changed = mode.changed = made.router.renew
    table.learn(FleetFacts(trusted=frozenset(nodes)))
    return made


def test_nodes_that_are_up_and_trusted_count_alone(worker):
    assert worker.router.now.alone == {"n1", "n2"}


def test_a_node_that_fails_does_not_count_from_then_on(worker):
    before = worker.router.now

    worker.table.failed("n1", NodeUnreachableError("n1", "refused"))

    assert worker.router.now.alone == {"n2"}
    assert before.alone == {"n1", "n2"}


def test_a_node_that_the_fleet_does_not_trust_any_more_does_not_count(worker):
    worker.table.learn(FleetFacts(trusted=frozenset({"n2"})))

    assert worker.router.now.alone == {"n2"}


@pytest.mark.parametrize("signal", [ModeSignal.CLUSTER_DOWN, ModeSignal.STOP])
def test_no_node_counts_while_sessions_are_kept_elsewhere(worker, signal):
    worker.mode.signal(signal)

    assert worker.router.now.alone == frozenset()


def test_after_an_outage_workers_agree_when_each_of_them_has_noticed_that_it_is_over(worker, clock):
    assert worker.router.now.settled_at <= clock.time()

    worker.mode.signal(ModeSignal.CLUSTER_DOWN)
    worker.mode.signal(ModeSignal.CLUSTER_UP)

    assert worker.router.now.alone == {"n1", "n2"}
    assert worker.router.now.settled_at == clock.time() + NOTICE


def test_while_other_hosts_keep_changes_workers_do_not_agree(worker):
    worker.others_keep = True
    worker.router.renew()

    assert worker.router.now.settled_at == inf


def test_the_largest_record_is_what_the_smallest_node_takes(worker):
    assert worker.router.now.limit == MAX_SIZE

    worker.nodes["n2"].item_size_max = 2_000
    worker.router.renew()

    assert worker.router.now.limit == worker.nodes["n2"].largest


def test_an_application_makes_its_routing_anew_with_each_change():
    cluster = make_app().state.parts.cluster
    nodes = frozenset(cluster.nodes)

    cluster.state.learn(FleetFacts(trusted=nodes))
    assert cluster.router.now.alone == nodes

    cluster.mode.signal(ModeSignal.CLUSTER_DOWN)
    assert cluster.router.now.alone == frozenset()

    cluster.mode.signal(ModeSignal.CLUSTER_UP)
    assert cluster.router.now.alone == nodes
    assert cluster.router.now.settled_at > cluster.mode.back_at
    assert cluster.store.returning()

    cluster.membership.others_keep = True
    cluster.membership.changed()
    assert cluster.router.now.settled_at == inf


def test_a_probe_that_finds_a_smaller_node_lowers_the_limit():
    cluster = make_app().state.parts.cluster
    node_id, node = next(iter(cluster.nodes.items()))
    node.item_size_max = 2_000

    cluster.prober.probe(node_id)

    assert cluster.router.now.limit == node.largest
