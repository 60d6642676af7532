"""Reports of the workers are collected behind requests, bounded, by the clock of the reader."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.clock import FakeClock
from support.crew import BY, INTERVAL, Crew, report_of, sealed

from flask_msm.cluster.workers import SHOWN_FOR
from flask_msm.operations.observer import GONE, REFRESH
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


def shown(worker):
    """Return what a worker shows, without who shows it and when."""
    view = worker.console.view()
    return replace(view, at=0.0, observer=replace(view.observer, worker="", host=""), local=None)


def version(worker):
    return worker.console.observer._shown.version


def test_all_workers_show_what_one_of_them_gathered(one, other):
    before = shown(one)
    other.cluster.urgent.takes = False

    assert shown(other) == before
    assert before.observer.source == "fleet"
    assert before.observer.workers_seen == before.observer.workers_known == 2


def test_a_look_costs_one_round_trip_while_what_was_gathered_is_young(crew, one, other):
    one.console.view()
    one.cluster.urgent.kept = jobs = []
    crew.operations()

    one.console.view()
    other.console.view()

    assert [name for name, _ in crew.operations()] == ["gets"] * 4
    assert jobs == []


def test_a_worker_gathers_once_however_often_it_is_looked_at(crew, one):
    one.console.view()
    before = version(one)
    crew.clock.advance(REFRESH)
    one.cluster.urgent.kept = jobs = []
    one.console.view()
    one.console.view()
    assert len(jobs) == 1

    jobs.pop()(0.0)
    one.console.view()

    assert version(one) > before


def test_while_one_worker_gathers_no_other_one_does(crew, one, other):
    assert one.console.observer._digests.lease(1e12)
    crew.operations()

    other.console.view()

    assert "get_many" not in [name for name, _ in crew.operations()]


def test_a_turn_is_given_back_where_it_was_taken_also_while_the_first_home_does_not_answer(
    crew, one, other
):
    digests = one.console.observer._digests
    crew.nodes[digests.homes()[0]].fail()
    assert digests.lease(1e12)

    digests.release(1e12)

    assert other.console.observer._digests.lease(1e12)


def test_the_next_look_tries_again_when_the_job_was_not_taken(one):
    one.cluster.urgent.takes = False
    one.console.view()
    one.cluster.urgent.takes, asked = True, []
    one.cluster.urgent.kept = asked

    one.console.view()

    assert len(asked) == 1


def test_before_anything_was_gathered_a_worker_shows_itself(crew):
    late = crew.hire()
    late.cluster.urgent.kept = []

    view = late.console.view()

    assert [worker.id for worker in view.workers] == [late.name]
    assert view.observer.source == "self"


def test_a_worker_that_joined_a_moment_ago_is_not_missing_before_its_first_report(crew, one, other):
    late = crew.hire()
    late.cluster.monitor.begin()

    observer = one.console.view().observer
    assert (observer.workers_seen, observer.workers_known, observer.complete) == (2, 2, True)
    crew.tick(one, other, late)
    assert one.console.view().observer.workers_seen == 3


def test_a_worker_that_joined_and_never_reports_is_missing(crew, one, other):
    late = crew.hire()
    late.cluster.monitor.begin()
    late.cluster.reporter.publish = lambda _: None
    for _ in range(4):
        crew.tick(one, other, late)

    observer = one.console.view().observer
    assert (observer.workers_seen, observer.workers_known, observer.complete) == (2, 3, False)


def test_what_was_gathered_long_ago_is_not_shown_as_new(crew, one):
    one.console.view()
    one.cluster.urgent.kept = []
    for _ in range(int(GONE / INTERVAL) + 1):
        crew.tick()

    view = one.console.view()

    assert [worker.id for worker in view.workers] == [one.name]
    assert (view.observer.source, view.observer.complete) == ("self", False)


def test_a_worker_that_gathers_too_late_replaces_nothing_newer(one, other):
    digests = one.console.observer._digests
    heads = digests.heads(1e12)
    other.console.view()

    assert not digests.replace(b"{}", heads, 1e12)
    assert digests.heads(1e12).version == version(other)


def test_what_an_operator_changed_is_shown_by_every_worker_at_once(one, other):
    one.console.view()
    other.console.view()

    one.console.set_policy("local", **BY)

    assert other.console.view().policy.value == one.console.view().policy.value == "local"


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_what_was_shown_last_is_shown_by_all_when_a_home_of_it_dies(crew, one, other, node):
    one.console.view()
    before = version(one)
    crew.nodes[node].fail()
    for worker in (one, other):
        worker.cluster.urgent.kept = []
        worker.console.view()

    assert version(one) == version(other) == before


def test_a_digest_that_fits_no_item_lies_in_parts(crew, one, other):
    for node in crew.nodes.values():
        node.item_size_max = 1500
    view = shown(one)

    heads = one.console.observer._digests.heads(1e12)

    assert "parts" in next(iter(heads.by_node.values())).record.attributes.entries
    other.cluster.urgent.kept = []
    assert shown(other) == view


@pytest.mark.parametrize("kind", ["rubbish", "another key", "another shape", "no parts"])
def test_a_digest_that_is_not_believed_is_replaced(crew, one, kind):
    digests = one.console.observer._digests
    body = {
        "rubbish": b"rubbish",
        "another key": sealed(digests.key, {"body": (1, b"x")}, keys=keyring(("other",))),
        "another shape": digests.sealed(b"[1, 2]"),
        "no parts": sealed(digests.key, {"parts": (1, b"3")}),
    }[kind]
    crew.put(digests.key, body)

    assert one.console.view().observer.workers_seen == 2
    assert one.console.observer._shown is not None


def test_a_visitor_is_no_worker_and_starts_nothing(one, other):
    observer = one.console.observer
    one.cluster.urgent.kept = taken = []
    one.console.visit()

    assert (one.console.view().workers, taken) == ((), [])
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

    assert [worker.id for worker in one.console.view().workers] == [one.name]


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
