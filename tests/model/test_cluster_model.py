"""No acknowledged change is lost and no logout undone while one node at a time fails.

Worlds are played at random with fixed seeds; the machine lets each step be chosen, so that what it
finds is shortened. ``MODEL_WORLDS=200`` plays more of both.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.model import BOUND, FAULTS, INTERVAL, KINDS, PREFIX, Way, play, world

from flask_msm.cluster.trust import SyncStatus
from flask_msm.record.keys import storage_key
from flask_msm.storage import copy_writer
from flask_msm.storage import replicated_write as copies
from flask_msm.storage.replicated import ClusterStore


WORLDS = int(os.environ.get("MODEL_WORLDS", "1"))
#: How many worlds are played until one shows what is missing.
TRIES = 6
#: Time in seconds in which a node that is back has to be trusted by all workers.
RECOVERY = 60.0

SHAPES = {
    "three nodes": {"nodes": 3},
    "four nodes": {"nodes": 4, "workers": 4},
    "clocks that differ": {"nodes": 3, "skew": 1.0},
    "many replaced workers": {"nodes": 3, "replaced": 0.005},
    "nodes are drained": {"nodes": 4, "drains": 0.01},
    "a node added by a rolling deploy": {
        "nodes": 4,
        "members": 3,
        "deployed": ["n1", "n2", "n3", "n4"],
    },
    "a node removed by a rolling deploy": {"nodes": 4, "deployed": ["n1", "n2", "n4"]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_acknowledged_is_lost_and_no_logout_undone(shape):
    total = Counter()
    for seed in range(WORLDS):
        played = play(seed, **SHAPES[shape])
        total += played.counts
        assert not played.violations, f"world {seed}: {played.report()}"
    sys.stdout.write(f"{shape}: {dict(total)}\n")
    assert min(total[what] for what in ("acknowledged", "logouts", "moved", "replays")) > 0
    assert sum(total[fault] for fault in FAULTS) > 3 * WORLDS


def test_a_worker_that_ends_hands_over_what_it_alone_knows_to_be_missing():
    """A tombstone that did not reach one node, and a worker that is replaced at once."""
    for seed in range(4):
        with world(seed) as played:
            played.run(5.0)
            played.begin("write", 0, 0)
            played.run(0.5)
            worker, cookie = played.workers[0], played.browsers[0].cookie
            home = worker.parts.placement.homes(storage_key(PREFIX, cookie.sid))[0]
            worker.links[home].way = Way.HANGING
            played.begin("logout", 0, 0)
            played.finish()
            worker.links[home].way = Way.OPEN
            played.nodes[home].late.clear()

            played.retire(worker)
            played.run(BOUND + INTERVAL)
            for number in (0, 1, 2):
                played.begin("replay read", number)
            played.finish()

            assert played.counts["replays"] == 3
            assert not played.violations, played.report()


# -- what is missing is found --------------------------------------------------------------------


@contextmanager
def without_trust():
    """Every node that is up counts as trusted."""
    with mock.patch.object(SyncStatus, "trusted", True):
        yield


@contextmanager
def without_write_back():
    """What was read from several nodes and joined is served, and not written."""

    def as_it_is(store, key, loaded, *arguments, **options):
        return loaded

    with mock.patch.object(ClusterStore, "_written_back", as_it_is):
        yield


@contextmanager
def without_join():
    """A write overwrites what the node holds."""

    def the_other(one, other):
        return one if other is None else other

    with (
        mock.patch.object(copies, "join_optional", the_other),
        mock.patch.object(copy_writer, "join_optional", the_other),
        mock.patch.object(copies._Write, "learn", return_value=False),
    ):
        yield


def found_violations():
    """Return what the first world shows that shows anything."""
    return next((found for seed in range(TRIES) if (found := play(seed).violations)), Counter())


def test_the_model_finds_a_trusted_node_that_missed_a_write():
    with without_trust():
        found = found_violations()

    assert found["undead"] + found["unended"] > 0


def test_the_model_finds_a_joined_record_that_is_not_written_back():
    with without_write_back():
        found = found_violations()

    assert found["single"] > 0


def test_the_model_finds_writes_that_overwrite_instead_of_joining():
    with without_join():
        found = found_violations()

    assert found["lost"] > 0


# -- every step chosen ---------------------------------------------------------------------------


class ClusterMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 9), nodes=st.sampled_from((3, 4)))
    def start(self, seed, nodes):
        self.stack = ExitStack()
        self.world = self.stack.enter_context(world(seed, nodes=nodes, browsers=2))
        self.all_workers_trust_all_nodes_again()

    @rule(
        asked=st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 1)),
            min_size=1,
            max_size=5,
        ),
        order=st.lists(st.integers(0, 4), max_size=40),
    )
    def requests_overlap(self, asked, order):
        for kind, worker, browser in asked:
            self.world.begin(kind, worker, browser)
        for index in order:
            self.world.step(index)

    @rule(seconds=st.sampled_from((0.1, 0.5, 2.0, 6.0)))
    def time_passes(self, seconds):
        self.world.run(seconds)

    @precondition(lambda self: self.world.settled)
    @rule(kind=st.sampled_from(FAULTS), number=st.integers(0, 3))
    def a_node_fails(self, kind, number):
        node_ids = list(self.world.nodes)
        self.world.break_node(kind, node_ids[number % len(node_ids)])

    @precondition(lambda self: self.world.fault is not None)
    @rule()
    def the_node_is_back(self):
        self.world.heal()

    @precondition(lambda self: self.world.fault is None and not self.world.settled)
    @rule()
    def all_workers_trust_all_nodes_again(self):
        until = self.world.now + RECOVERY
        while not self.world.settled:
            assert self.world.now < until, self.world.report()
            self.world.step()

    @rule(number=st.integers(0, 2))
    def a_worker_ticks(self, number):
        self.world.workers[number].ticks_at = self.world.now

    @rule(number=st.integers(0, 2))
    def a_worker_is_replaced(self, number):
        self.world.retire(self.world.workers[number])

    @precondition(lambda self: self.world.settled)
    @rule(number=st.integers(0, 2))
    def a_worker_dies(self, number):
        self.world.kill(self.world.workers[number])

    @invariant()
    def all_is_well(self):
        assert not self.world.violations, self.world.report()

    def teardown(self):
        if hasattr(self, "stack"):
            try:
                self.world.finish()
                self.all_is_well()
            finally:
                self.stack.close()


def test_no_choice_of_steps_loses_or_undoes_anything():
    limits = settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=5 * WORLDS,
        stateful_step_count=60,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )

    run_state_machine_as_test(ClusterMachine, settings=limits)
