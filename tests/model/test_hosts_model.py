"""No outage of all nodes loses a change that a host has, ends a session or undoes a logout.

Several hosts with local storage, random worlds with fixed seeds, and a machine that chooses each
step. ``MODEL_WORLDS=20`` plays more of both.
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
from support.model import FAULTS, KINDS
from support.model_hosts import OUTAGES, RETURN, hosts, play_hosts

from flask_msm.cluster.ended_sessions import EndedSessions
from flask_msm.maintenance.failback import Failback
from flask_msm.storage.failover import FailoverStore
from flask_msm.storage.local.journal import MemoryJournal


WORLDS = int(os.environ.get("MODEL_WORLDS", "1"))
#: How many worlds are played until one shows what is missing.
TRIES = 8

SHAPES = {
    "any worker serves any request": {},
    "a browser stays on its host": {"routing": "home"},
    "sticky": {"routing": "home", "sticky": True},
    "discard": {"on_reconnect": "discard"},
    "sticky, discard": {"routing": "home", "sticky": True, "on_reconnect": "discard"},
}


def play(seed, **options):
    return play_hosts(seed, **{"hosts": 2, "workers": 4, **options})


@pytest.mark.parametrize("shape", SHAPES)
def test_no_outage_loses_what_a_host_has_or_undoes_a_logout(shape):
    what = ["acknowledged", "kept on a host", "reads while disturbed", "returns", "replays"]
    if SHAPES[shape].get("sticky"):
        what.append("changes in a journal")
    total = Counter()
    for seed in range(max(WORLDS, TRIES)):
        played = play(seed, **SHAPES[shape])
        total += played.counts
        assert not played.violations, f"world {seed}: {played.report()}"
        if seed + 1 >= WORLDS and min(total[one] for one in what) > 0:
            break
    sys.stdout.write(f"{shape}: {dict(total)}\n")
    assert min(total[one] for one in what) > 0, total


# -- what is missing is found --------------------------------------------------------------------


@contextmanager
def without_marks():
    """It is not remembered which sessions the cluster does not know, nor which ones ended."""
    with (
        mock.patch.object(MemoryJournal, "add", return_value=None),
        mock.patch.object(EndedSessions, "has", return_value=False),
    ):
        yield


@contextmanager
def without_tombstones():
    """Sessions that ended are not handed over."""

    def only_the_living(returner, found, *arguments, **options):
        living = [key for key in found if not returner._has_ended(key)]
        return hand_over(returner, living, *arguments, **options)

    hand_over = Failback._hand_over
    with (
        mock.patch.object(Failback, "_hand_over", only_the_living),
        mock.patch.object(EndedSessions, "fresh", return_value=[]),
        mock.patch.object(EndedSessions, "has", return_value=False),
    ):
        yield


@contextmanager
def without_giving_back():
    """What nodes forgot stays with the hosts."""
    with mock.patch.object(Failback, "_forgotten", return_value=None):
        yield


@contextmanager
def without_local_copies():
    """What this host has is not looked at while a node answers."""

    def as_it_is(store, loaded, entry, deadline):
        return loaded

    with mock.patch.object(FailoverStore, "_with_local", as_it_is):
        yield


@contextmanager
def without_weak_entries():
    """A guess counts as much as what was known."""
    with mock.patch("flask_msm.sessions.unit_of_work.UnitOfWork._weak_names", return_value=set()):
        yield


MISSING = {
    "marks of what the cluster lacks": (
        without_marks,
        {},
        ("lost", "undead", "signed out"),
    ),
    "the hand-over of what ended": (without_tombstones, {"first": 7}, ("undead",)),
    "a look at this host": (without_local_copies, {}, ("forgotten",)),
    "that a guess is one": (without_weak_entries, {}, ("overwritten",)),
}


def idle_session_and_nodes_that_forgot():
    """Return what is wrong with a session that was not used while all nodes came back empty."""
    with hosts(0, hosts=2, workers=2, browsers=1) as made:

        def settle():
            until = made.now + RETURN
            while not made.settled and made.now < until:
                made.step()

        settle()
        made.begin("write", 0, 0)
        made.finish()
        made.run(1.0)
        made.break_all("outage, back empty")
        made.run(5.0)
        made.heal()
        settle()
        for worker in (0, 1):
            made.begin("read", worker, 0)
            made.finish()
        assert made.counts["reads"] == 3
        return made.violations


def test_an_idle_session_that_one_host_has_is_given_back_to_nodes_that_forgot_it():
    assert not idle_session_and_nodes_that_forgot()

    with without_giving_back():
        assert idle_session_and_nodes_that_forgot()["lost"] > 0


@pytest.mark.parametrize("what", MISSING)
def test_the_model_finds_each_rule_that_is_switched_off(what):
    switched_off, options, expected = MISSING[what]
    first = options.get("first", 0)
    with switched_off():
        found = Counter()
        for seed in range(first, first + TRIES):
            found += play(seed, steps=3_000).violations
            if any(found[kind] for kind in expected):
                return

    pytest.fail(f"nothing of {expected} was found, only {dict(found)}")


# -- every step chosen ---------------------------------------------------------------------------


class HostsMachine(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 9),
        sticky=st.booleans(),
        routing=st.sampled_from(("any", "home")),
        on_reconnect=st.sampled_from(("promote", "promote", "discard")),
    )
    def start(self, seed, sticky, routing, on_reconnect):
        self.stack = ExitStack()
        options = {"routing": "home" if sticky else routing, "sticky": sticky}
        self.world = self.stack.enter_context(
            hosts(seed, hosts=2, workers=4, browsers=2, on_reconnect=on_reconnect, **options)
        )
        self.all_is_handed_over()

    @rule(
        asked=st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 1)),
            min_size=1,
            max_size=5,
        ),
        order=st.lists(st.integers(0, 4), max_size=30),
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
    @rule(kind=st.sampled_from(OUTAGES))
    def all_nodes_go(self, kind):
        self.world.break_all(kind)

    @precondition(lambda self: self.world.settled)
    @rule(kind=st.sampled_from(FAULTS), number=st.integers(0, 2))
    def a_node_fails(self, kind, number):
        self.world.break_node(kind, list(self.world.nodes)[number])

    @precondition(lambda self: self.world.fault is not None)
    @rule()
    def what_failed_is_back(self):
        self.world.heal()

    @precondition(lambda self: self.world.fault is None and not self.world.settled)
    @rule()
    def all_is_handed_over(self):
        until = self.world.now + RETURN
        while not self.world.settled:
            assert self.world.now < until, self.world.report()
            self.world.step()

    @rule(number=st.integers(0, 3))
    def a_worker_is_replaced(self, number):
        self.world.retire(self.world.workers[number])

    @precondition(lambda self: self.world.settled or self.world.outage == "down")
    @rule(number=st.integers(0, 3))
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


def test_no_choice_of_steps_loses_or_undoes_anything_in_an_outage():
    limits = settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=10 * WORLDS,
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )

    run_state_machine_as_test(HostsMachine, settings=limits)
