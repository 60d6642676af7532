"""Reports of the workers are collected behind requests, bounded, by the clock of the reader."""

from __future__ import annotations

import pytest
from support.clock import FakeClock
from support.crew import INTERVAL, Crew, report_of, sealed

from flask_msm.cluster.workers import SHOWN_FOR
from flask_msm.operations.observer import OLD, REFRESH
from flask_msm.record.keys import keyring


DAY = 86_400.0


@pytest.fixture
def crew():
    made = Crew(2)
    made.tick()
    made.tick()
    return made


@pytest.fixture
def one(crew):
    return crew.workers[0]


@pytest.fixture
def other(crew):
    return crew.workers[1]


def statuses(worker):
    return {
        seen.id: "gone" if seen.gone else "stale" if seen.stale else "live"
        for seen in worker.console.view().workers
    }


def test_every_worker_is_seen(one, other):
    seen = one.console.observer.refresh()

    assert set(seen.reports) == {one.name, other.name} == seen.known
    assert seen.source == "fleet"


def test_a_look_asks_no_node_and_collected_reports_are_shown_for_a_while(crew, one):
    observer = one.console.observer
    one.cluster.urgent.kept = jobs = []
    crew.operations()

    for _ in range(10):
        observer.seen()

    assert crew.operations() == []
    assert len(jobs) == 1
    jobs.pop()(0.0)
    crew.clock.advance(REFRESH)
    observer.seen()
    assert len(jobs) == 1


def test_the_next_look_tries_again_when_the_job_was_not_taken(crew, one):
    observer = one.console.observer
    one.cluster.urgent.takes = False
    observer.seen()
    crew.clock.advance(REFRESH)
    one.cluster.urgent.takes, asked = True, []
    one.cluster.urgent.kept = asked

    observer.seen()

    assert len(asked) == 1


def test_before_anything_was_gathered_a_worker_shows_itself(crew):
    late = crew.hire()
    late.cluster.urgent.kept = []

    seen = late.console.observer.seen()

    assert set(seen.reports) == {late.name}
    assert seen.source == "self"


def test_who_looks_after_a_while_sees_itself_and_how_many_others_there_are(crew, one, other):
    observer = one.console.observer
    observer.refresh()
    assert set(observer.seen().reports) == {one.name, other.name}
    one.cluster.urgent.kept = []
    for _ in range(int(OLD / INTERVAL) + 1):
        crew.tick()

    seen = observer.seen()

    assert set(seen.reports) == {one.name}, "what was gathered long ago is not shown as new"
    assert (seen.source, seen.known) == ("self", {one.name, other.name})
    assert not one.console.view().observer.complete


def test_a_worker_is_not_called_silent_when_no_report_was_collected_for_a_while(crew, one, other):
    observer = one.console.observer
    observer.refresh()
    one.cluster.urgent.kept = []
    for _ in range(int(OLD / INTERVAL) - 1):
        crew.tick()

    assert statuses(one) == {one.name: "live", other.name: "live"}


def test_a_visitor_is_no_worker_and_starts_nothing(one, other):
    observer = one.console.observer
    one.cluster.urgent.kept = taken = []
    one.console.visit()

    seen = observer.seen()

    assert (seen.reports, taken) == ({}, [])
    assert set(observer.refresh().reports) == {one.name, other.name}


def test_without_nodes_the_host_is_asked(crew, one, other):
    crew.outage()
    crew.tick()

    seen = one.console.observer.refresh()

    # Memory of the process is no storage of the host: only what this worker noted is there.
    assert seen.source == "host"
    assert set(seen.reports) == {one.name}
    assert seen.known == {one.name, other.name}


def test_a_worker_that_removed_itself_is_not_shown_any_more(crew, one, other):
    one.console.observer.refresh()
    other.cluster.monitor.leave()
    crew.tick(one)

    assert set(one.console.observer.seen().reports) == {one.name}


# -- clocks --------------------------------------------------------------------------------------


def test_a_worker_that_is_silent_becomes_stale_then_gone(crew, one, other):
    found = []
    for _ in range(12):
        found.append(statuses(one).get(other.name))
        crew.tick(one)

    assert found[:2] == ["live", "live"]
    assert list(dict.fromkeys(found)) == ["live", "stale", "gone"]


def test_a_worker_that_is_silent_is_shown_as_gone_for_an_hour(crew, one, other):
    for _ in range(20):
        crew.tick(one)

    assert statuses(one) == {one.name: "live", other.name: "gone"}
    assert one.console.view().observer.complete
    crew.clock.advance(SHOWN_FOR)
    crew.tick(one)
    assert statuses(one) == {one.name: "live"}


@pytest.mark.parametrize("skew", [-DAY, -60.0, 60.0, DAY])
def test_a_worker_that_goes_on_is_live_when_its_clock_is_wrong(crew, one, skew):
    odd = crew.hire(clock=FakeClock(crew.clock.now + skew))
    for _ in range(15):
        crew.tick(one, odd)
        statuses(one)

    assert statuses(one)[odd.name] == "live"
    seen = {worker.id: worker for worker in one.console.view().workers}
    assert abs(seen[odd.name].last_heard - crew.clock.now) <= 3 * INTERVAL


@pytest.mark.parametrize("skew", [-DAY, 60.0, DAY])
def test_a_worker_that_ended_does_not_live_on_because_its_clock_was_ahead(crew, one, skew):
    odd = crew.hire(clock=FakeClock(crew.clock.now + skew))
    for _ in range(4):
        crew.tick(one, odd)
        statuses(one)
    found = []
    for _ in range(12):
        crew.tick(one)
        found.append(statuses(one).get(odd.name))

    assert "stale" in found
    assert "gone" in found


def test_events_of_a_clock_a_day_ahead_are_not_in_the_future(crew, one):
    odd = crew.hire(clock=FakeClock(crew.clock.now + DAY))
    odd.state.parts.events.add("info", "odd", "from tomorrow")
    for _ in range(3):
        crew.tick(one, odd)

    (event,) = [event for event in one.console.view().events if event.kind == "odd"]

    assert event.at <= crew.clock.now


def test_a_report_of_a_huge_stamp_and_time_hides_no_worker(crew, one, other):
    facts = {"at": 10**20, "mode": "stopped"}
    reports = one.cluster.reporter.reports
    crew.put(reports.key(other.name), report_of(reports, other.name, facts, stamp=(1 << 63) - 1))
    one.console.observer.refresh()
    for _ in range(3):
        crew.tick()

    view = one.console.view()

    assert view.observer.workers_seen >= 1
    assert all(worker.last_heard <= crew.clock.now for worker in view.workers)


# -- refused reports are counted -----------------------------------------------------------------


def refusals(worker):
    events = worker.state.parts.events.newest()
    return [event.text for event in events if event.kind == "fleet_record_refused"]


def test_forged_reports_are_an_event_once_and_then_counted(crew, one, other):
    reports = one.cluster.reporter.reports
    for _ in range(20):
        crew.put(reports.key(other.name), b"rubbish")
        one.console.observer.refresh()
        crew.tick(one)

    assert len(refusals(one)) == 1
    assert one.cluster.reporter.facts({})["refused"] >= 20
    crew.clock.advance(3600)
    crew.put(reports.key(other.name), b"rubbish")
    one.console.observer.refresh()
    crew.tick(one)
    assert len(refusals(one)) <= 2


@pytest.mark.parametrize("newer", [False, True], ids=["forged", "of another secret"])
def test_a_control_record_that_is_not_believed_is_an_event(crew, one, newer):
    key = one.cluster.control.shared.key
    crew.put(key, sealed(key, {}, keys=keyring(("newer",))) if newer else b"forged")

    crew.tick(one)

    assert len(refusals(one)) == 1
