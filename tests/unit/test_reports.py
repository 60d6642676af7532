"""Reports of workers: bounded when they are made, and untrusted input when they are read."""

from __future__ import annotations

import json

import pytest
from support.crew import ODD, Crew, report_of, sealed

from flask_msm.cluster.reports import COPIES, EXPECTED, LIFE, MAX_SIZE, note_name
from flask_msm.record.keys import keyring


UNTIL = 1e12
NAME = "host:1:abc"


@pytest.fixture
def crew():
    return Crew(1, nodes=3)


@pytest.fixture
def reports(crew):
    return crew.workers[0].cluster.reporter.reports


def publish(reports, facts, name=NAME):
    reports.publish(name, reports.seal(name, facts), UNTIL)


def test_a_report_is_kept_on_two_nodes_for_an_hour(crew, reports):
    publish(reports, {"mode": "local"})

    holders = [node for node in crew.nodes.values() if reports.key(NAME) in node.items]
    assert len(holders) == COPIES == 2
    assert {node.ttls[reports.key(NAME)] for node in holders} == {LIFE + 1}
    assert reports.collect([NAME], UNTIL)[NAME].facts == {"mode": "local"}


def test_a_report_goes_to_other_nodes_when_its_own_fail(crew, reports):
    publish(reports, {"n": 1})
    for node in crew.nodes.values():
        if reports.key(NAME) in node.items:
            node.fail()
            break

    publish(reports, {"n": 2})

    assert reports.collect([NAME], UNTIL)[NAME].facts == {"n": 2}
    assert sum(reports.key(NAME) in node.items for node in crew.nodes.values()) == 3


def test_of_two_reports_the_newer_one_counts(crew, reports):
    for node, stamp in zip(crew.nodes.values(), (5, 9, 7), strict=True):
        node.put(reports.key(NAME), report_of(reports, NAME, {"n": stamp}, stamp=stamp))

    assert reports.collect([NAME], UNTIL)[NAME].facts == {"n": 9}


def test_a_report_is_asked_for_where_it_belongs_and_elsewhere_only_if_that_is_none_of_late(
    crew, reports
):
    publish(reports, {"n": 1})
    (other,) = [node for node in crew.nodes.values() if reports.key(NAME) not in node.items]
    asked = []
    get_many = other.get_many
    other.get_many = lambda keys, deadline: asked.append(list(keys)) or get_many(keys, deadline)

    assert reports.collect([NAME], UNTIL)[NAME].facts == {"n": 1}
    assert asked == []

    crew.clock.advance(EXPECTED + 1)
    reports.collect([NAME], UNTIL)
    assert asked == [[reports.key(NAME)]]


def test_nodes_that_all_fail_have_no_reports_and_that_is_no_error(crew, reports):
    crew.outage()
    publish(reports, {})

    assert reports.collect([NAME], UNTIL) == {}


# -- what others wrote ---------------------------------------------------------------------------


def unbelievable(reports):
    key = reports.key(NAME)
    good = report_of(reports, NAME, {"mode": "stopped"})
    return {
        "empty": b"",
        "rubbish": b"rubbish",
        "cut": good[:-1],
        "flipped": good[:60] + bytes([good[60] ^ 1]) + good[61:],
        "signed with another secret": report_of(reports, NAME, {}, keys=keyring(("other",))),
        "of another worker": report_of(reports, "host:2:x", {"mode": "stopped"}),
        "of a newer format": good[:2] + bytes([good[2] + 1]) + good[3:],
        "huge": report_of(reports, NAME, {"x": [str(n * n) for n in range(40_000)]}),
        "nothing in it": sealed(key, {}),
        "removed": sealed(key, {"report": (1, None)}),
        "no json": report_of(reports, NAME, b"{"),
        "no text": report_of(reports, NAME, b"\xff\xfe"),
        "deep": report_of(reports, NAME, b"[" * 50_000),
        "a list": report_of(reports, NAME, b"[1]"),
        "null": report_of(reports, NAME, b"null"),
        "a number of many digits": report_of(reports, NAME, b"9" * 5000),
    }


KINDS = (
    "empty", "rubbish", "cut", "flipped", "signed with another secret", "of another worker",
    "of a newer format", "huge", "nothing in it", "removed", "no json", "no text", "deep",
    "a list", "null", "a number of many digits",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_is_no_report_of_the_worker_is_counted_and_not_believed(crew, reports, kind):
    data = unbelievable(reports)[kind]
    crew.put(reports.key(NAME), data)

    assert reports.collect([NAME], UNTIL) == {}
    assert reports.refused == 3
    assert reports.open(NAME, data) is None


def test_every_kind_of_what_is_no_report_was_tried(reports):
    assert set(unbelievable(reports)) == set(KINDS)


def test_a_forged_report_is_replaced_by_the_next_real_one(crew, reports):
    crew.put(reports.key(NAME), b"rubbish")

    publish(reports, {"mode": "local"})

    assert reports.collect([NAME], UNTIL)[NAME].facts == {"mode": "local"}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_facts_are_carried_and_left_to_the_reader(reports, odd):
    report = reports.open(NAME, report_of(reports, NAME, {"mode": odd}))

    assert report is not None
    assert set(report.facts) == {"mode"}


# -- own ones ------------------------------------------------------------------------------------


def reopened(reports, facts):
    data = reports.seal(NAME, facts)
    assert len(data) <= MAX_SIZE
    return reports.open(NAME, data).facts


def many(count, size=300):
    return [{"text": f"{number} " + "x" * size} for number in range(count)]


def test_a_report_that_fits_is_not_cut(reports):
    facts = {"mode": "local", "events": many(50)}

    assert reopened(reports, facts) == facts


def test_of_a_report_that_is_too_long_the_newest_of_each_list_stay(reports):
    facts = {"mode": "local", "nodes": {f"n{n}": many(1, 600) for n in range(50)}}

    found = reopened(reports, {**facts, "events": many(200)})

    assert found["nodes"] == facts["nodes"]
    assert found["events"] == many(200)[:10]
    assert found["cut"] is True


def test_a_blacklist_of_the_longest_names_leaves_a_report_that_others_can_read(crew):
    worker = crew.workers[0]
    blacklist = worker.state.repository.serialization.blacklist
    for number in range(200):
        blacklist.note(
            f"{number:03}" + "\U0001f600" * 200, "a.Type", path="\u00e9" * 500, error="E" * 500,
            reason="\u2028\u00df" * 500, endpoint="\u00fc" * 500, added_by="blacklist",
        )  # fmt: skip
    crew.tick()

    seen = worker.console.observer.refresh()

    assert seen.reports[worker.name].facts["mode"] == "distributed"
    assert worker.cluster.reporter.reports.refused == 0


@pytest.mark.parametrize("nodes", [100, 800])
def test_a_report_of_many_nodes_keeps_the_state_of_each_and_gives_up_histories_first(
    reports, nodes
):
    state = {"state": "up", "trusted": True, "since": 1.0, "error": None}
    numbers = {"curr_items": 10**9, "latency_p95": 0.000123}
    facts = {
        "mode": "distributed",
        "nodes": {
            f"n{n}": {**state, "numbers": numbers, "latencies": [0.000123] * 60}
            for n in range(nodes)
        },
        "events": many(50),
    }

    found = reopened(reports, facts)

    assert found["nodes"].keys() == facts["nodes"].keys()
    assert all(node.items() >= state.items() for node in found["nodes"].values())
    assert ("numbers" in found["nodes"]["n0"]) is (nodes == 100)
    assert ("events" in found) is (nodes == 100)


@pytest.mark.parametrize("kind", ["lists", "long texts", "maps", "all"])
def test_a_report_stays_readable_when_any_part_of_it_grows(reports, kind):
    big = {
        "lists": {"events": many(10, 20_000)},
        "long texts": {"blacklist": "".join(chr(200 + n % 9000) for n in range(30_000))},
        "maps": {"nodes": {str(n): str(n * n) for n in range(20_000)}},
    }
    facts = {name: fact for part in big.values() for name, fact in part.items()}
    found = reopened(reports, {"mode": "local", **(facts if kind == "all" else big[kind])})

    assert found["mode"] == "local"
    assert found["cut"] is True


def test_the_name_of_a_worker_is_not_part_of_a_key():
    name = note_name("\x1b\n /../" + "x" * 10_000)

    assert len(name) < 40
    assert json.dumps(name).strip('"') == name
    assert " " not in name
