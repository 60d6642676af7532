"""Machines and nodes whose clocks are wrong: nothing is lost by it, and it is reported once."""

from __future__ import annotations

import pytest
from flask import session
from hypothesis import given
from hypothesis import strategies as st
from support.apps import LIFE
from support.clock import FakeClock
from support.crew import Crew

from flask_msm.cluster.ended_sessions import LISTED
from flask_msm.memcached import wire
from flask_msm.memcached.wire import RELATIVE_TTL_LIMIT, ttl_for
from flask_msm.process.clock import TOLERANCE, FleetClock, earliest
from flask_msm.record.hybrid_clock import HybridLogicalClock, milliseconds


HOUR, DAY = 3600.0, 86_400.0


# -- the clock of the fleet ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "correction"),
    [
        ([], 0.0),
        ([59.0, -59.0, 3.0], 0.0),
        ([-7200.0, -7200.0, -7201.0], -7200.0),
        ([40 * DAY, 0.0, 1.0], 0.0),  # one node is wrong
        ([40 * DAY, 0.0], 0.0),  # of two the one that agrees is believed
        ([40 * DAY, -7200.0], -7200.0),
        ([40 * DAY], 40 * DAY),  # the only report: all workers go by it
        ([1e17, -7200.0, -7200.0, -7200.0], -7200.0),
        ([1e17], 0.0),  # that is no time
    ],
)
def test_the_clock_is_corrected_by_the_median_of_the_nodes(ahead, correction):
    clock = FleetClock(FakeClock())

    clock.correct(ahead)

    assert clock.correction == correction
    assert clock.time() == clock.own_time() + correction


def test_whole_seconds_of_nodes_do_not_move_the_clock_to_and_fro():
    clock = FleetClock(FakeClock())
    for seconds in (7200.2, 7199.6, 7201.0):
        clock.correct([seconds])
        assert clock.correction == 7200.2

    clock.correct([1.0])  # it was set right
    assert clock.correction == 0.0


@given(st.lists(st.floats(-1e9, 1e9), max_size=5))
def test_a_life_ends_only_when_it_is_over_by_both_clocks(ahead):
    clock = FleetClock(FakeClock())
    clock.correct(ahead)

    assert earliest(clock) <= clock.time()
    assert earliest(clock) <= clock.own_time()
    assert earliest(FakeClock()) == FakeClock().time()


@pytest.mark.parametrize("seconds", [2 * HOUR, 40 * DAY])
@pytest.mark.parametrize("end", [FleetClock.earliest, FleetClock.over_before])
def test_a_clock_that_is_set_ahead_ends_no_life_before_the_nodes_are_asked_again(seconds, end):
    own = FakeClock()
    clock = FleetClock(own)
    clock.correct([0.0])
    began = own.now

    own.now += seconds
    assert end(clock) == began
    own.advance(10.0)
    assert end(clock) == began + 10.0
    clock.correct([-seconds])
    assert end(clock) == began + 10.0

    own.now -= seconds  # it was set right
    assert end(clock) <= began + 10.0
    clock.correct([0.0])
    assert end(clock) == began + 10.0


@pytest.mark.parametrize("seconds", [2 * HOUR, 40 * DAY])
def test_a_clock_that_was_set_ahead_for_a_moment_leaves_no_stamps_ahead(seconds):
    own = FakeClock()
    clock = FleetClock(own)
    clock.correct([0.0])
    stamps = HybridLogicalClock(clock, worker=1)

    own.now += seconds
    stamps.next()
    clock.correct([-seconds])
    stamps.next()
    own.now -= seconds
    clock.correct([0.0])

    assert milliseconds(stamps.next()) / 1000 < own.now + 1


# -- times to live -------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-(10**9), -40 * DAY, 0.0, 0.4, 40 * DAY])
@pytest.mark.parametrize("life", [60.0, 29 * DAY, 31 * DAY, 400 * DAY])
def test_an_item_lives_as_long_as_meant_when_the_clock_of_its_node_is_wrong(life, ahead):
    now = 1_800_000_000.0
    ttl = wire.checked_ttl(ttl_for(now + life, now), ahead)

    node_now = now + ahead
    ends_in = ttl if ttl <= RELATIVE_TTL_LIMIT else ttl - node_now

    assert life <= ends_in <= life + 2


@pytest.mark.parametrize("ahead", [1e18, -1e18])
def test_a_clock_that_is_none_makes_no_illegal_time_to_live(ahead):
    assert 1 <= wire.checked_ttl(1_800_000_000, ahead) < wire.TTL_LIMIT
    assert wire.checked_ttl(60, ahead) == 60


# -- workers -------------------------------------------------------------------------------------


def set_nodes(crew, clock, **ahead):
    """Have the nodes report the time of *clock*."""
    for node_id, node in crew.nodes.items():
        node.said["time"] = str(int(clock.now + ahead.get(node_id, 0.0)))


def tick(crew, *workers, times=1, **ahead):
    for _ in range(times):
        set_nodes(crew, crew.clock, **ahead)
        crew.tick(*(workers or crew.workers))


def wrong_worker(crew, seconds):
    """Return one more worker, on a machine whose clock is wrong."""
    clock = FakeClock(crew.clock.now + seconds)
    worker = crew.hire(clock=clock)
    worker.state.repository.clock.asked = False
    return worker


def events(workers, kind):
    found = [event for w in workers for event in w.state.parts.events.newest()]
    return [event for event in found if event.kind == kind]


@pytest.fixture
def crew():
    made = Crew(2, nodes=3)
    tick(made)
    return made


def begin(worker):
    worker.do(lambda: session.__setitem__("name", "anna"))
    return worker.cookie()


def name(worker, cookie):
    return worker.ask(lambda: session.get("name"), client=worker.browser(cookie))


@pytest.mark.parametrize("seconds", [2 * HOUR, -2 * HOUR, 40 * DAY])
def test_a_worker_whose_clock_is_wrong_ends_no_session(crew, seconds):
    right = crew.workers[0]
    cookie = begin(right)
    wrong = wrong_worker(crew, seconds)

    # Before it asked the nodes, and after it did.
    assert name(wrong, cookie) == "anna"
    tick(crew, *crew.workers, wrong)
    assert name(wrong, cookie) == "anna"
    # What it stores lives as long as anything; readers see to it that it is not longer.
    theirs = begin(wrong)
    assert name(right, theirs) == "anna"
    ttls = {
        ttl
        for node in crew.nodes.values()
        for key, ttl in node.ttls.items()
        if ":fleet:" not in key
    }
    longest = LIFE * 1.1 + 1 + max(0, -seconds)
    assert all(LIFE <= ttl <= longest for ttl in ttls)


def test_a_worker_whose_clock_is_wrong_ends_a_life_when_it_is_over(crew):
    cookie = begin(crew.workers[0])
    wrong = wrong_worker(crew, -2 * HOUR)
    tick(crew, *crew.workers, wrong)

    for clock in (crew.clock, wrong.clock):
        clock.advance(LIFE * 1.1 + 2 * HOUR + 1)
    tick(crew, *crew.workers, wrong)

    assert name(crew.workers[0], cookie) is None
    assert name(wrong, cookie) is None


def test_a_clock_that_is_set_ahead_while_no_node_answers_ends_no_life(crew):
    fleet = crew.workers[0].state.repository.clock
    began = earliest(fleet)
    for node in crew.nodes.values():
        node.fail()

    crew.clock.now += 40 * DAY
    crew.tick(crew.workers[0])

    assert began < earliest(fleet) < began + TOLERANCE


def test_a_node_that_is_ahead_ends_no_life(crew):
    cookie = begin(crew.workers[0])

    tick(crew, n1=40 * DAY)
    assert name(crew.workers[0], cookie) == "anna"
    # Even if all nodes agree in it.
    tick(crew, n1=40 * DAY, n2=40 * DAY, n3=40 * DAY)

    assert name(crew.workers[0], cookie) == "anna"
    assert name(crew.workers[1], cookie) == "anna"


def test_of_sign_outs_later_than_those_of_a_clock_that_was_ahead_all_are_listed(crew):
    """Its stamps were made before it knew, so they stay ahead; and one of another version."""
    ahead = wrong_worker(crew, HOUR)
    for node in crew.nodes.values():
        node.said.pop("time", None)
    theirs = ahead.cluster.ended_sessions
    for number in range(LISTED + 500):
        theirs.add(f"{number:064x}")
    crew.tick(ahead, *crew.workers)

    ours = crew.workers[0].cluster.ended_sessions
    for number in range(400):
        ours.add(f"{number:063x}a")
    crew.tick(*crew.workers, ahead)
    crew.tick(*crew.workers, ahead)

    for worker in (*crew.workers, ahead):
        listed = worker.cluster.ended_sessions.shared.attributes.entries
        assert len(listed) == LISTED
        assert all(f"{number:063x}a" in listed for number in range(400))


def test_a_worker_that_asked_the_nodes_stamps_with_their_time(crew):
    ahead = wrong_worker(crew, HOUR)
    tick(crew, *crew.workers, ahead, times=2)

    endings = ahead.cluster.ended_sessions
    endings.add("f" * 64)
    tick(crew, ahead)

    stamp = endings.shared.attributes.entries["f" * 64][0]
    assert abs((stamp >> 16) / 1000 - crew.clock.now) < TOLERANCE
    assert max(s for s, _ in ahead.cluster.control.shared.attributes.entries.values()) >> 16 < (
        (crew.clock.now + TOLERANCE) * 1000
    )


def test_a_worker_whose_clock_is_wrong_says_when_it_started_by_that_of_the_nodes(crew):
    wrong = wrong_worker(crew, 2 * HOUR)
    tick(crew, *crew.workers, wrong)

    started = wrong.cluster.reporter.facts({})["started"]

    assert abs(started - crew.clock.now) < 2 * TOLERANCE


def test_a_machine_whose_clock_is_wrong_is_reported_once_by_name(crew):
    late = [wrong_worker(crew, -2 * HOUR) for _ in range(2)]
    tick(crew, *crew.workers, *late, times=4)

    (event,) = events((*crew.workers, *late), "host_clock")
    assert "is 2 hours behind the nodes" in event.text


def test_a_node_whose_clock_is_wrong_is_reported_once_by_name_and_its_end_too(crew):
    tick(crew, times=4, n2=40 * DAY)

    (event,) = events(crew.workers, "node_clock")
    assert (event.node, "n2 is 40 days ahead of the others" in event.text) == ("n2", True)
    assert crew.workers[0].cluster.nodes["n2"].clock_ahead == pytest.approx(40 * DAY, abs=2)
    assert events(crew.workers, "host_clock") == []

    tick(crew, times=8)

    assert len(events(crew.workers, "node_clock_over")) == 1
    assert abs(crew.workers[0].cluster.nodes["n2"].clock_ahead) < TOLERANCE
