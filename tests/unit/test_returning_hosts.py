"""An outage that this worker has not seen: what other hosts keep of it, no node can know."""

from __future__ import annotations

import pytest
from flask import session
from support.crew import INTERVAL, Crew

from flask_msm.cluster.mode import Mode
from flask_msm.storage.store import RecordRefusedError


#: Time in seconds after which each of these workers has noticed a return.
BACKOFF = 10.0
NOTICE = BACKOFF + 2 * INTERVAL


def doubts(worker):
    """Return whether *worker* does not believe a miss of the nodes."""
    return worker.state.store.returning()


def begin(crew):
    worker = crew.hire()
    worker.cluster.monitor.begin()
    return worker


def mode(worker):
    return worker.cluster.mode.mode


def until(crew, condition, *workers):
    for _ in range(99):
        if condition():
            return
        crew.tick(*workers)
    pytest.fail("it took too long")


@pytest.fixture
def crew():
    made = Crew(1, 3, MSM_PROBE_MAX_BACKOFF=BACKOFF)
    for _ in range(3):
        made.tick()
    return made


@pytest.fixture
def old(crew):
    return crew.workers[0]


def outage(crew, old):
    crew.outage()
    until(crew, lambda: mode(old) is Mode.LOCAL)
    old.do(lambda: session.__setitem__("name", "anna"))
    assert old.state.store.local.dirty_keys()


def back(crew):
    for node in crew.nodes.values():
        node.heal()


def test_a_worker_that_begins_alone_believes_the_nodes(crew, old):
    old.cluster.monitor.leave()

    assert not doubts(begin(crew))


def test_a_worker_that_begins_believes_the_nodes_when_all_others_have_reported(crew, old):
    new = begin(crew)
    began = crew.clock.monotonic()
    assert doubts(new)

    until(crew, lambda: not doubts(new), old, new)

    assert crew.clock.monotonic() - began < NOTICE


def test_a_worker_believes_the_nodes_without_dead_hosts_after_the_time_to_notice_a_return(
    crew, old
):
    new = begin(crew)
    began = crew.clock.monotonic()

    until(crew, lambda: not doubts(new), new)

    assert crew.clock.monotonic() - began >= NOTICE


def test_a_worker_that_begins_before_others_notice_the_return_doubts_the_nodes(crew, old):
    outage(crew, old)
    back(crew)

    new = begin(crew)
    assert mode(old) is Mode.LOCAL
    assert doubts(new)

    until(crew, lambda: mode(old) is Mode.DISTRIBUTED, old)
    crew.tick(old)
    crew.tick(new)
    crew.tick(new)
    assert not doubts(new)


def test_no_worker_believes_the_nodes_while_a_host_hands_over(crew, old):
    outage(crew, old)
    back(crew)
    old.cluster.urgent.takes = False
    until(crew, lambda: mode(old) is Mode.DISTRIBUTED, old)
    new = begin(crew)

    for _ in range(40):
        crew.tick(old, new)
        assert doubts(new)

    old.cluster.urgent.takes = True
    for _ in range(3):
        crew.tick(old, new)
    assert not doubts(new)


def test_a_record_that_nodes_do_not_take_is_not_waited_for(crew, old, monkeypatch):
    outage(crew, old)
    back(crew)
    new = begin(crew)
    hand_over = old.state.store.hand_over
    refused = []

    def refuse(*arguments, **options):
        refused.append(hand_over)
        raise RecordRefusedError

    monkeypatch.setattr(old.state.store, "hand_over_many", lambda *_: ())
    monkeypatch.setattr(old.state.store, "hand_over", refuse)
    until(crew, lambda: refused, old)
    for _ in range(3):
        crew.tick(old, new)

    assert old.state.store.local.dirty_keys()
    assert not doubts(new)


def test_others_learn_at_once_that_a_host_has_given_all_changes_back(crew, old):
    outage(crew, old)
    back(crew)
    until(crew, lambda: mode(old) is Mode.DISTRIBUTED, old)

    assert not old.state.store.local.dirty_keys()
    assert not begin(crew).cluster.workers.kept_elsewhere()


def test_others_learn_at_once_that_a_host_changed_nothing_in_an_outage(crew, old):
    crew.outage()
    until(crew, lambda: mode(old) is Mode.LOCAL)
    back(crew)
    until(crew, lambda: mode(old) is Mode.DISTRIBUTED, old)

    assert not begin(crew).cluster.workers.kept_elsewhere()
