"""From the snapshot to words: rules, order, numbers."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace

import pytest
from support.fleet_scenes import NOW, SCENES, all_down, all_well, draining, node_down, partial

from flask_msm.cluster.conditions import Condition
from flask_msm.cluster.event_kinds import CONDITIONS
from flask_msm.memcached import wire
from flask_msm.memcached.failures import classify
from flask_msm.operations.snapshot import LocalStorage, Snapshot
from flask_msm.operations.state import facts, formatting
from flask_msm.operations.state.attention import attention
from flask_msm.operations.state.numbers import numbers
from flask_msm.operations.state.readiness import waits_for
from flask_msm.operations.state.verdict import verdict
from flask_msm.operations.statistics import Histogram
from flask_msm_dashboard.presenters.nodes import node_row
from flask_msm_dashboard.presenters.overview import places, sure_of
from flask_msm_dashboard.sparkline import bar, sparkline


#: Kinds of conditions with which sessions get lost.
ERRORS = {"one_memory", "foreign_fleet"}


def with_nodes(snapshot: Snapshot, *nodes):
    return replace(snapshot, nodes=nodes)


def codes(snapshot):
    return [item.code for item in attention(snapshot)]


@pytest.mark.parametrize(
    ("scene", "code", "level"),
    [
        ("all_well", "fine", "ok"),
        ("node_down", "nodes_down", "warn"),
        ("all_down", "no_answer", "bad"),
        ("stopped", "stopped", "off"),
        ("empty", "new", "ok"),
        ("partial", "rebuilding", "warn"),
        ("draining", "drained", "off"),
    ],
)
def test_the_gravest_rule_that_holds_is_the_verdict(scene, code, level):
    found = verdict(SCENES[scene]())

    assert (found.code, found.level) == (code, level)


def test_sessions_are_safe_since_the_last_node_was_whole_again():
    snapshot = all_well()
    first, *others = snapshot.nodes
    again = replace(first, phase_since=snapshot.at - 40)

    assert verdict(snapshot).since == snapshot.since
    assert verdict(with_nodes(snapshot, again, *others)).since == snapshot.at - 40


def test_a_node_that_no_worker_is_at_yet_waits_to_be_filled():
    first, *others = all_well().nodes
    lacking = replace(first, trusted=False, phase="filling")

    (item,) = attention(with_nodes(all_well(), lacking, *others))

    assert (item.code, item.text) == ("rebuilding", "It waits to be filled from the other copies")


def test_what_was_counted_before_a_node_changed_is_nowhere_shown_as_of_now():
    snapshot = SCENES["node_down"]()
    before = replace(snapshot, copies=replace(snapshot.copies, at=snapshot.at - 3600))
    first, *others = snapshot.nodes
    whole_again = replace(first, phase_since=snapshot.copies.at + 1)

    assert number_of(snapshot, "one_copy").raw == 16_083
    assert number_of(before, "one_copy").raw is None
    assert number_of(with_nodes(snapshot, whole_again, *others), "one_copy").raw is None
    assert "16,083 sessions have only one copy" in attention(snapshot)[0].hurt
    assert "16,083" not in attention(before)[0].hurt
    assert "A node changed since then: they are soon counted again." in places(before).note
    assert "out of reach" in places(before).text


def test_a_count_says_that_nodes_go_on_throwing_copies_out():
    snapshot = all_well()
    first, *others = snapshot.nodes
    full = replace(first, stats=replace(first.stats, evictions_per_minute=3.0))

    assert "throwing" not in number_of(snapshot, "one_copy").note
    note = number_of(with_nodes(snapshot, full, *others), "one_copy").note
    assert note.endswith("; n1 goes on throwing copies out")


def test_an_eviction_and_slowness_are_verdicts_of_their_own():
    snapshot = all_well()
    n1, n2, n3 = snapshot.nodes
    evicting = replace(n2, stats=replace(n2.stats, evictions_per_minute=3.0))
    slow = replace(n2, stats=replace(n2.stats, latency_p95=0.2), slow=True)

    assert verdict(with_nodes(snapshot, n1, evicting, n3)).code == "evicting"
    assert verdict(with_nodes(snapshot, n1, slow, n3)).code == "slow"


def test_a_stop_by_a_policy_is_not_blamed_on_an_operator():
    snapshot = SCENES["stopped"]()
    by_policy = replace(snapshot, distribution=replace(snapshot.distribution, set_by=None))

    assert "an attribute could not be serialized" in verdict(by_policy).title


def test_the_worst_problem_comes_first():
    assert codes(node_down()) == ["node_down", "evicting", "worker_local"]
    assert codes(all_down()) == ["node_down", "local_changes", "partial"]
    assert codes(partial()) == ["rebuilding", "worker_stale", "not_applied", "partial"]
    assert codes(draining()) == ["drained"]
    assert codes(all_well()) == []


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        (socket.gaierror(), "MSM_NODES, or the name service"),
        (wire.ProtocolError(), "Another program answers on n3"),
        (ssl.SSLCertVerificationError(), "MSM_TLS_CONTEXT"),
        (ssl.SSLError(), "MSM_TLS_CONTEXT"),
        (wire.ServerError("CLIENT_ERROR", "unauthenticated"), "MSM_AUTH"),
        (wire.ServerError("CLIENT_ERROR", "authentication failure"), "MSM_AUTH"),
    ],
)
def test_a_node_that_no_start_would_help_is_not_asked_to_be_started(error, setting):
    snapshot = node_down()
    *others, gone = snapshot.nodes
    failed = classify("n3", error)
    gone = replace(gone, error=f"{type(failed).__name__}: {failed.reason}")

    step = attention(with_nodes(snapshot, *others, gone))[0].steps[0]

    assert setting in step
    assert "Start memcached" not in step
    assert "Start memcached" in attention(snapshot)[0].steps[0]


@pytest.mark.parametrize("kind", CONDITIONS)
def test_each_condition_is_worth_a_look_with_its_text_and_something_to_do(kind):
    found = Condition(kind, "n1", "what was seen", "n1", error=kind in ERRORS, since=NOW, by="")

    (item,) = attention(replace(all_well(), conditions=(found,)))

    assert (item.code, item.text, item.since) == (kind, "what was seen", NOW)
    assert item.hurt
    assert item.steps


def test_a_node_that_throws_sessions_out_now_is_one_item():
    snapshot = node_down()
    (full,) = [node.id for node in snapshot.nodes if facts.is_evicting(node)]
    found = Condition("node_evicts", full, "text", full, error=False, since=NOW, by="")

    assert codes(replace(snapshot, conditions=(found,))) == codes(snapshot)


def test_a_second_id_of_one_memcached_is_not_waited_for():
    snapshot = partial()
    filled = next(node for node in snapshot.nodes if facts.is_rebuilding(node))
    twin = Condition("one_memory", filled.id, "one", filled.id, error=True, since=NOW, by="")

    assert "rebuilding" in codes(snapshot)
    assert "rebuilding" not in codes(replace(snapshot, conditions=(twin,)))


def test_nodes_that_failed_alike_are_one_item():
    item = attention(all_down())[0]

    assert item.title == "n1, n2 and n3 are down"
    assert item.text == "Timed out after 250 ms, seen by all 4 workers"


def test_changes_on_a_host_are_counted_once_and_of_each_process_once():
    shared = all_down()
    assert attention(shared)[1].title.startswith("694 sessions wait on their hosts")
    own = replace(
        shared,
        workers=tuple(
            replace(w, local=LocalStorage(kind="simple"), dirty=5) for w in shared.workers
        ),
    )

    assert attention(own)[1].title.startswith("20 sessions wait on their hosts")


def test_different_versions_are_worth_a_look():
    snapshot = all_well()
    first, *rest = snapshot.workers
    mixed = replace(snapshot, workers=(replace(first, version="0.2.0"), *rest))

    assert codes(mixed) == ["versions"]


def number_of(snapshot, name):
    return next(number for number in numbers(snapshot) if number.id == name)


def hit_ratio(snapshot):
    return number_of(snapshot, "hit_ratio")


def test_sessions_with_one_copy_are_not_known_from_when_a_node_changed_until_they_are_counted():
    snapshot = all_well()
    before = number_of(snapshot, "one_copy")
    first, *rest = snapshot.nodes
    died = replace(first, state="down", since=snapshot.copies.at + 1)
    after = number_of(replace(snapshot, nodes=(died, *rest)), "one_copy")

    assert (before.value, before.note[:17]) == ("0", "Of 48,210, counte")
    assert (after.raw, after.value) == (None, formatting.UNKNOWN)
    assert after.note.startswith("Not counted since a node changed; before that at ")


def test_one_change_waits_on_its_host_and_several_changes_do():
    def unit(dirty):
        snapshot = all_well(hosts=1, each=1)
        return number_of(
            replace(snapshot, workers=(replace(snapshot.workers[0], dirty=dirty),)), "kept"
        ).unit

    assert [unit(0), unit(1), unit(2)] == ["changes", "change", "changes"]


def test_a_node_that_is_down_is_the_first_that_a_restart_waits_for_and_the_rest_is_counted():
    why = sure_of(node_down())[-1].why

    assert why == "Waits: n3: down, seen by all 8 workers; 3 more"


def test_while_no_node_answers_hosts_are_what_may_not_be_restarted():
    def last_step(snapshot):
        return next(item for item in attention(snapshot) if item.code == "node_down").steps[-1]

    assert last_step(node_down()) == "Until then restart no other node."
    assert last_step(all_down()).startswith("Until then restart no host")


def test_a_check_that_sees_all_known_workers_of_one_host_waits_for_those_it_cannot_see():
    snapshot = all_down()
    observer = replace(snapshot.observer, workers_known=len(facts.reporting(snapshot)))
    texts = [one.text for one in waits_for(replace(snapshot, observer=observer))]

    assert "only workers of this host can be seen" in texts
    assert not [text for text in texts if "4 of 4" in text]


def test_numbers_that_are_not_known_are_a_dash():
    values = {number.id: number.value for number in numbers(SCENES["empty"]())}

    assert values == {
        "sessions_lost": formatting.UNKNOWN,
        "one_copy": formatting.UNKNOWN,
        "kept": "0",
        "operations": "0",
        "hit_ratio": formatting.UNKNOWN,
        "latency": formatting.UNKNOWN,
        "failed": "0",
    }


def test_a_hit_ratio_is_steady_only_for_as_long_as_it_is_known():
    snapshot = all_well()
    young = replace(snapshot.traffic, hit_ratio_series=(*[None] * 26, 0.99, None, 0.99, 0.99))

    assert hit_ratio(snapshot).note == "Steady for 15 min"
    assert hit_ratio(replace(snapshot, traffic=young)).note == "Steady for 2 min"


def test_a_hit_ratio_that_fell_says_from_where():
    number = hit_ratio(node_down())

    assert number.level == "warn"
    assert "a quarter of an hour ago" in number.note


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((10, 0, 0), 0.001), ((0, 94, 6), 0.002), ((95, 5, 0), 0.001), ((0, 0, 0), None)],
)
def test_a_quantile_is_never_too_good(counts, expected):
    histogram = Histogram(bounds=(0.001, 0.002), counts=counts)

    assert facts.quantile([histogram, None], 0.95) == expected


def test_a_node_is_shown_with_a_word_for_its_state():
    snapshot = node_down()
    words = [node_row(node, snapshot).word for node in snapshot.nodes]
    others = [node_row(node, partial()).word for node in partial().nodes]

    assert words == ["Up", "Full", "Down"]
    assert others == ["Up", "Being filled", "Not seen yet"]
    assert node_row(draining().nodes[1], draining()).word == "Being drained"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (86400, "1 d"), (1e9, "11574 d")],
)
def test_a_length_of_time_has_one_unit(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (64 << 20, "64 MiB"), (2 << 30, "2 GiB"), (5 << 40, "5 TiB")],
)
def test_sizes_have_the_unit_that_fits(value, text):
    assert formatting.size(value) == text


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1e300, 1e300])
def test_a_time_no_calendar_has_breaks_no_page(at):
    assert formatting.iso(at) == ""
    assert formatting.clock(at, NOW) == formatting.UNKNOWN


def test_an_invisible_character_is_shown_as_an_escape():
    assert formatting.shown("a\u202eb\x00\n\ud800") == r"a\u202eb\x00\n\ud800"


def test_gaps_are_gaps_and_an_outage_is_marked():
    svg = sparkline([1.0, 2.0, None, 3.0, 4.0, None, None], dead=True)

    assert svg.count("M") == 5
    assert 'class="gone"' in svg
    assert sparkline([None, 1.0, 2.0, 1.0]) == "", "too few to be a course of anything"
    assert bar(None) == ""
    assert 'width="100"' in bar(7.0)


def test_lost_sessions_lead_and_say_who_is_hurt_and_what_to_do():
    snapshot = SCENES["lost"]()

    assert verdict(snapshot).code == "sessions_lost"
    assert numbers(snapshot)[0].value == "2,318"
    first, second = attention(snapshot)
    assert (first.code, second.code) == ("lost_key_unknown", "refused")
    assert "SECRET_KEY_FALLBACKS" in first.steps[0]
    assert "2,311 users" in first.hurt
