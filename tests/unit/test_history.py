"""The history is kept for the fleet: it outlives workers, nodes and hosts, and stays bounded."""

from __future__ import annotations

import pytest
from flask import session
from support.crew import BY, INTERVAL, Crew

from flask_msm.cluster import map_state
from flask_msm.cluster.lost_sessions import Reason
from flask_msm.maintenance.history_records import DAY_STEP, LIVES, Book
from flask_msm.operations.history import BEFORE
from flask_msm.record.attributes import NOTHING
from flask_msm.storage.metrics import STEP


DAY = 86_400
BEGIN = 1_700_000_100 // DAY_STEP * DAY_STEP


@pytest.fixture
def crew():
    made = Crew(2, nodes=3)
    made.tick()
    return made


def later(crew, seconds=DAY_STEP, *workers):
    """Let time pass, with ticks before and after."""
    crew.clock.advance(seconds)
    for _ in range(4):
        crew.tick(*workers)


def count(worker, reads, *, found=True):
    meter = worker.state.repository.meter
    for _ in range(reads):
        meter.loaded(meter._clock.monotonic(), found)


def points(worker, name="24h"):
    return [point for point in worker.console.history(name).points if point is not None]


def spans(worker, node):
    found = worker.console.history("24h").spans
    return [span.state for span in found if span.node == node]


# -- numbers -------------------------------------------------------------------------------------


def test_a_point_is_the_sum_of_what_all_workers_counted_in_its_slot(crew):
    one, other = crew.workers
    count(one, 3)
    count(other, 4, found=False)
    crew.tick()

    later(crew, 2 * DAY_STEP)

    assert [(p.hits, p.misses) for p in points(one) if p.operations] == [(3, 4)]
    assert {point.workers for point in points(one)} == {2}
    assert points(other) == points(one)


def test_what_a_worker_counted_before_it_ended_is_in_the_point(crew):
    one, other = crew.workers
    count(other, 4)
    other.cluster.monitor.leave()

    later(crew, 2 * DAY_STEP, one)

    assert [p.hits for p in points(one) if p.operations] == [4]


def test_a_slot_that_no_worker_wrote_is_a_gap(crew):
    later(crew, 2 * DAY_STEP)
    later(crew, 8 * DAY_STEP)

    found = crew.workers[0].console.history("24h").points

    known = [number for number, point in enumerate(found) if point is not None]
    assert None in found[known[0] : known[-1]]


def test_of_two_writers_of_a_point_the_one_that_saw_more_workers_wins():
    books = []
    for workers, hits in ((2, 5), (9, 1), (3, 7)):
        book = Book()
        book.add_point("day", BEGIN, workers, {"hits": hits, "workers": workers})
        books.append(book)

    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        joined = NOTHING
        for place in order:
            joined = map_state.join(joined, books[place].records["day"])
        assert Book({"day": joined}).points("day") == {BEGIN: {"hits": 1, "workers": 9}}


def test_hours_are_sums_of_the_points_of_the_day(crew):
    one = crew.workers[0]
    for _ in range(26):
        count(one, 1)
        later(crew, DAY_STEP - 4 * INTERVAL)

    hours = points(one, "7d")

    over = hours[-1].at + 3600
    assert len(hours) == 2
    assert sum(p.hits for p in points(one) if p.at < over) == sum(p.hits for p in hours) >= 24
    assert one.cluster.history.records.read(1e12).points("week")


def test_the_last_fifteen_minutes_have_a_point_for_each_half_minute(crew):
    one = crew.workers[0]
    count(one, 2)
    crew.tick()
    one.console.observer.refresh()

    (point,) = [point for point in points(one, "15m") if point.operations]

    assert (point.hits, point.p50, point.hit_ratio) == (2, 0.00025, 1.0)


def recent(worker):
    """Return the steps of the last fifteen minutes, oldest first."""
    worker.console.observer.refresh()
    return worker.console.history("15m").points


def refuse(worker, key):
    worker.state.repository.losses.note(Reason.NOT_FOUND, key)


def test_a_session_that_was_lost_is_in_the_half_minute_in_which_it_was_lost_first(crew):
    one, other = crew.workers
    count(one, 1)
    refuse(one, "a")
    crew.clock.advance(4 * STEP)
    for worker, key in ((one, "a"), (other, "a"), (other, "b")):
        count(worker, 1)
        refuse(worker, key)
    crew.tick()

    found = recent(one)

    assert [point and point.lost for point in found[-5:]] == [1, None, None, None, 1]
    assert one.console.view().lost.lost == 2
    assert [outage.lost for outage in one.console.history("15m").outages] == [1, 1]


@pytest.mark.parametrize("number", [64, 1000])
def test_what_is_lost_in_each_half_minute_adds_up_to_what_is_lost(crew, number):
    one = crew.workers[0]
    for place in range(number):
        refuse(one, str(place))
        crew.clock.advance(600 / number)
    crew.tick()

    found = recent(one)

    lost = [point.lost for point in found if point is not None and point.lost]
    assert sum(lost) == one.console.view().lost.lost
    assert sum(lost) == pytest.approx(number, rel=0.4)
    assert len(lost) > 15


def test_of_a_report_that_does_not_say_when_sessions_were_lost_no_step_says_so():
    crew = Crew(1, nodes=3)
    one = crew.workers[0]
    count(one, 1)
    refuse(one, "a")
    report = one.cluster.reporter.facts

    def older(*arguments):
        facts = report(*arguments)
        del facts["lost"]["not_found"]["ages"]
        del facts["traffic"]["kept"]
        return facts

    one.cluster.reporter.facts = older
    crew.tick(one)

    (point,) = [point for point in recent(one) if point is not None]

    assert one.console.view().lost.lost == 1
    assert (point.lost, point.kept, point.hits) == (None, None, 1)


def test_sessions_kept_on_a_host_are_in_the_half_minutes_at_whose_end_they_waited(crew):
    one = crew.workers[0]
    crew.tick()
    assert recent(one)[-1].kept == 0
    crew.clock.advance(STEP)
    crew.outage()
    for _ in range(3):
        crew.tick()
    crew.workers[1].do(lambda: session.update(name="anna"))
    crew.tick()
    crew.clock.advance(STEP)
    for node in crew.nodes.values():
        node.heal()
    for _ in range(30):
        crew.tick()

    kept = [point.kept for point in recent(one) if point is not None]

    assert (kept[0], max(kept), kept[-1]) == (0, 1, 0)
    assert max(outage.kept for outage in one.console.history("15m").outages) == 1


# -- what happened -------------------------------------------------------------------------------


def test_a_node_that_dies_and_returns_is_down_filling_and_up_and_one_outage(crew):
    one = crew.workers[0]
    for _ in range(4):
        crew.tick()
    crew.nodes["n2"].fail()
    for _ in range(4):
        crew.tick()
    assert spans(one, "n2") == ["up", "down"]
    crew.nodes["n2"].heal()
    for _ in range(40):
        crew.tick()

    assert spans(one, "n2") == ["up", "down", "filling", "up"]
    assert spans(one, "n1") == ["up"]
    (outage,) = one.console.history("24h").outages
    assert outage.nodes == ("n2",)
    assert outage.why == "connection refused"
    assert outage.begin < outage.end < crew.clock.time()


def test_each_outage_says_why_it_began_also_right_after_another_one(crew):
    one, node = crew.workers[0], crew.nodes["n2"]
    for _ in range(4):
        crew.tick()
    node.restart_empty()
    for _ in range(12):
        crew.tick()
    node.hang()
    for _ in range(8):
        crew.tick()
    node.restart_empty()
    for _ in range(12):
        crew.tick()

    outages = one.console.history("24h").outages

    assert [outage.why for outage in outages] == ["came back empty", "timed out"]
    assert outages[1].begin - outages[0].begin < BEFORE


def test_what_an_operator_changed_is_kept_with_reason_before_and_after(crew):
    one, other = crew.workers
    one.console.set_policy("local", **BY)

    (change,) = other.console.history("7d").changes

    assert (change.who, change.why, change.after) == ("anna", "a test", "local")
    assert change.before == "raise"


def test_a_warning_that_several_workers_saw_is_kept_once(crew):
    for worker in crew.workers:
        worker.state.parts.events.add("warning", "odd", "something is odd", node="n1")

    later(crew, 2 * DAY_STEP)

    kept = crew.workers[0].console.history("24h").incidents
    assert [one.text for one in kept if one.kind == "odd"] == ["something is odd"]


# -- what outlives what --------------------------------------------------------------------------


def flushed(crew):
    for node in crew.nodes.values():
        node.items.clear()


def test_history_outlives_all_workers(crew):
    count(crew.workers[0], 3)
    later(crew, 2 * DAY_STEP)
    for worker in crew.workers:
        worker.cluster.monitor.leave()

    late = crew.hire()
    crew.tick(late)

    assert [p.hits for p in points(late) if p.operations] == [3]


def test_history_comes_back_from_a_host_within_two_ticks_when_all_nodes_were_flushed(crew):
    one = crew.workers[0]
    count(one, 3)
    later(crew, 2 * DAY_STEP)
    before = points(one)
    records = one.cluster.history.records
    flushed(crew)

    crew.tick()
    crew.tick()

    for node_id in records.homes():
        assert records.key("day") in crew.nodes[node_id].items
    assert points(one) == before


def test_history_stays_on_the_nodes_when_hosts_are_new(crew):
    count(crew.workers[0], 3)
    later(crew, 2 * DAY_STEP)

    late = crew.hire()

    assert [p.hits for p in points(late) if p.operations] == [3]


def test_without_a_node_a_host_keeps_what_its_workers_count(crew):
    crew.outage()
    for _ in range(3):
        crew.tick()
    count(crew.workers[0], 3)
    later(crew, 2 * DAY_STEP)

    assert [p.hits for p in points(crew.workers[0]) if p.operations] == [3]


# -- bounds --------------------------------------------------------------------------------------


def test_entries_are_cut_by_the_age_in_their_name(crew):
    records = crew.workers[0].cluster.history.records
    now, book = crew.clock.time(), Book()
    for days in (-1, 0.5, 2):
        book.add_point("day", int(now - days * DAY), 1, {"hits": 1})
    book.add(now - 8 * DAY, "event", "old", {})
    book.add(now - 6 * DAY, "event", "young", {})
    book.noted = dict.fromkeys(LIVES, NOTHING)
    records.write(book, 1e12)

    assert list(book.points("day")) == [int(now - 0.5 * DAY)]
    assert len(book.log()) == 1


def test_records_are_cut_to_what_the_smallest_node_takes_and_the_newest_stay(crew):
    crew.nodes["n3"].item_size_max = 8192
    one = crew.workers[0]
    records, now = one.cluster.history.records, crew.clock.time()
    book = records.read(1e12)
    for number in range(1500):
        book.add(now - 2000 + number, "event", str(number), {"text": str(number * number) * 20})
    records.write(book, 1e12)

    kept = records.read(1e12).log()

    assert max(len(node.items[records.key("log")][0]) for node in crew.nodes.values()) < 8192
    assert 0 < len(kept) < 1500
    events = [entry for entry in kept if entry.kind == "event"]
    assert events[-1].facts["text"] == str(1499 * 1499) * 20


def test_what_is_no_record_of_ours_is_replaced(crew):
    one = crew.workers[0]
    later(crew)
    for kind in LIVES:
        crew.put(one.cluster.history.records.key(kind), b"rubbish")

    later(crew)

    assert points(one)


def test_a_look_at_the_history_changes_nothing(crew):
    def kept():
        items = [
            (node.id, key, value)
            for node in crew.nodes.values()
            for key, value in node.items.items()
        ]
        return [item for item in items if ":history:" in item[1]]

    later(crew)
    before = kept()

    crew.workers[0].console.history("7d")

    assert kept() == before
