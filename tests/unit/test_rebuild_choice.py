"""Which node is rebuilt, and when: not while another is down, has missed a write, or is left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.clock import FakeClock

from flask_msm.cluster.health import NodeState
from flask_msm.cluster.trust import SyncStatus
from flask_msm.maintenance.rebuild_starter import (
    FILLED_AFTER,
    FILLED_AGAIN,
    LEFT_FOR,
    RebuildStarter,
)
from flask_msm.record.hybrid_clock import stamp_at


HOLD_OFF = 5.0


class Site:
    """Two nodes, of which ``n1`` lacks something."""

    def __init__(self):
        self.clock = FakeClock()
        self.missed = 1
        self.filled_at = self.lost_at = 0
        self.believes = self.takes = self.succeeds = True
        self.other = NodeState.UP
        self.left_to_others = set()
        self.rebuilt, self.published, self.jobs = [], [], []
        self.fills = 0
        self.starter = RebuildStarter(
            self,
            membership=SimpleNamespace(
                table=self, control=self, clock=self.clock, may_believe=lambda: self.believes
            ),
            reactions=SimpleNamespace(publish=lambda: self.published.append(True)),
            bulk=SimpleNamespace(put=self.queue),
            hold_off=HOLD_OFF,
            rebuilds=True,
        )

    # -- what the starter needs of others

    def view(self):
        def seen(state, *, trusted):
            health = SimpleNamespace(state=state)
            return SimpleNamespace(state=state, health=health, trusted=trusted)

        return {"n1": seen(NodeState.UP, trusted=False), "n2": seen(self.other, trusted=True)}

    def standing(self, _):
        return SyncStatus(self.missed, 0)

    def drain(self, _):
        return SimpleNamespace(value=None, stamp=0)

    def filled(self, _):
        return self.filled_at

    def lost(self):
        return {"n1": self.lost_at}

    def rebuild(self, node_id, sources, *, is_missed):
        self.rebuilt.append((node_id, sources))
        if is_missed:
            self.fills += 1
            self.filled_at = stamp_at(self.clock.time()) + 1
        return self.succeeds

    def queue(self, job):
        if self.takes:
            self.jobs.append(job)
        return self.takes

    # -- what tests need

    def tick(self):
        """Do as a tick does, and then what was queued; return how many rebuilds were begun."""
        before = len(self.rebuilt)
        self.starter.start()
        while self.jobs:
            self.jobs.pop()(0.0)
        return len(self.rebuilt) - before


@pytest.fixture
def site():
    made = Site()
    made.tick()
    made.clock.advance(HOLD_OFF)
    return made


def test_a_node_that_misses_nothing_for_long_enough_is_rebuilt_from_the_others(site):
    site.tick()

    assert site.rebuilt == [("n1", ["n2"])]
    assert site.published


def test_a_node_that_missed_a_write_lately_is_not_rebuilt_yet(site):
    site.missed = 2

    assert not site.tick()
    site.clock.advance(HOLD_OFF / 2)
    assert not site.tick()
    site.clock.advance(HOLD_OFF / 2)
    assert site.tick()


def test_a_node_that_one_worker_goes_on_missing_gets_its_copies_and_is_not_trusted_for_it(site):
    def miss(seconds):
        for _ in range(round(seconds)):
            site.missed += 1
            site.tick()
            site.clock.advance(1.0)
        return site.fills

    # It has known of the node for one hold-off.
    assert not miss((FILLED_AFTER - 1) * HOLD_OFF - 1)
    assert miss(3) == 1
    assert miss(FILLED_AGAIN / 2) == 1
    site.lost_at = stamp_at(site.clock.time())
    assert miss(3) == 2
    assert miss(FILLED_AGAIN) == 3
    assert len(site.rebuilt) == site.fills


def test_nothing_is_rebuilt_while_what_the_fleet_knows_is_not_complete(site):
    site.believes = False

    assert not site.tick()


def test_nothing_is_rebuilt_while_another_node_is_down_that_may_hold_the_only_copy(site):
    site.other = NodeState.DOWN

    assert not site.tick()


def test_a_rebuild_that_did_not_succeed_is_not_published(site):
    site.succeeds = False

    assert site.tick()
    assert not site.published


def test_a_rebuild_that_could_not_be_queued_is_begun_with_the_next_tick(site):
    site.takes = False
    assert not site.tick()

    site.takes = True
    assert site.tick()


def test_a_node_of_which_others_can_read_more_is_left_to_them_for_some_ticks(site):
    site.left_to_others.add("n1")

    assert [site.tick() for _ in range(LEFT_FOR + 1)] == [0] * LEFT_FOR + [1]
