"""Fifteen minutes of a node's statistics, also with odd numbers and clocks."""

from __future__ import annotations

import pytest

from flask_msm.maintenance.node_statistics import numbers_from
from flask_msm.maintenance.recent_statistics import POINTS, SAMPLES, STEP, RecentStatistics


def numbers(at, latency=0.001, **found):
    return numbers_from({name: str(n) for name, n in found.items()}, at=at, latency=latency)


def history(*rows, step=STEP):
    made = RecentStatistics()
    for index, found in enumerate(rows):
        made.add(numbers(index * step, **found))
    return made


def test_nothing_is_known_at_the_start():
    made = RecentStatistics()

    assert made.latencies() == []
    assert made.hit_ratio() is None
    assert made.evictions_per_minute() is None


def test_a_point_is_kept_every_thirty_seconds_with_the_worst_latency_between():
    made = RecentStatistics()
    for second in range(0, 90, 2):
        made.add(numbers(second, latency=second / 1000))

    assert made.latencies() == [0.028, 0.058, 0.088]


def test_one_slow_answer_of_many_is_not_what_95_of_100_were():
    made = RecentStatistics()
    assert made.quantiles(95) == [None]
    for second in range(0, 200, 2):
        made.add(numbers(second, latency=1.0 if second in (20, 80) else 0.001))

    assert made.quantiles(50, 95, 99) == [0.001, 0.001, 1.0]


def test_answers_of_a_quarter_of_an_hour_ago_are_forgotten_and_the_same_one_counts_once():
    made = RecentStatistics()
    made.add(numbers(0, latency=1.0))
    for _ in range(10):
        made.add(numbers(0, latency=1.0))
    made.add(numbers(500, latency=0.001))
    assert made.quantiles(50) == [0.001]
    assert made.quantiles(100) == [1.0]

    made.add(numbers(900, latency=0.002))
    assert made.quantiles(100) == [0.002]
    for second in range(2 * SAMPLES):
        made.add(numbers(1000 + second / 1000))
    assert len(made._answers) == SAMPLES


def test_a_history_is_bounded():
    made = history(*[{"get_hits": n} for n in range(1000)])

    assert len(made.latencies()) == POINTS


def test_shares_are_those_of_the_window():
    made = history(
        {"get_hits": 1000, "get_misses": 1000, "evictions": 5},
        {"get_hits": 1030, "get_misses": 1010, "evictions": 7},
        {"get_hits": 1060, "get_misses": 1020, "evictions": 9},
    )

    assert made.hit_ratio() == 0.75
    assert made.evictions_per_minute() == 4.0


def test_a_node_that_was_restarted_begins_at_zero_again():
    made = history(
        {"get_hits": 1000, "get_misses": 0, "evictions": 50},
        {"get_hits": 3, "get_misses": 1, "evictions": 0},
        {"get_hits": 6, "get_misses": 2, "evictions": 1},
    )

    assert made.hit_ratio() == 0.75
    assert made.evictions_per_minute() == 1.0


def test_a_node_without_reads_has_no_hit_ratio():
    assert (
        history({"get_hits": 5, "get_misses": 5}, {"get_hits": 5, "get_misses": 5}).hit_ratio()
        is None
    )


@pytest.mark.parametrize("word", ["", "x", "-1", "9" * 30])
def test_a_node_that_does_not_tell_leaves_it_unknown(word):
    made = history({"get_hits": 1, "get_misses": 1}, {"get_hits": word, "get_misses": 2})

    assert made.hit_ratio() is None
    assert made.evictions_per_minute() is None


def test_a_clock_that_goes_back_makes_no_negative_rate():
    made = RecentStatistics()
    for at, evictions in ((1000, 1), (0, 5), (30, 9)):
        made.add(numbers(at, evictions=evictions))

    assert made.evictions_per_minute() == 0.0
