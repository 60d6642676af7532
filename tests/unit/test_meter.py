"""Counting what sessions cost: in windows, bounded, and never too good."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from flask_msm.storage.metrics import BOUNDS, STEP, STEPS, LatencyMetrics, quantile, summed


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def meter(clock):
    return LatencyMetrics(clock)


def loads(meter, *latencies, found=True):
    for latency in latencies:
        meter.loaded(meter._clock.monotonic() - latency, found)


def last(meter):
    return meter.windows()[-1]


def test_a_worker_that_has_done_nothing_knows_nothing(meter):
    assert meter.windows() == [None] * STEPS


def test_reads_are_counted_by_how_they_went(meter):
    loads(meter, 0.001)
    loads(meter, 0.001, 0.001, found=False)
    loads(meter, 0.001, found=None)

    assert (last(meter).hits, last(meter).misses, last(meter).failed) == (1, 2, 1)
    assert sum(last(meter).loads) == 4


def test_a_write_that_no_node_took_has_failed(meter, clock):
    meter.saved(clock.monotonic(), stored=True)
    meter.saved(clock.monotonic(), stored=False)

    assert (sum(last(meter).saves), last(meter).failed) == (2, 1)


@pytest.mark.parametrize(
    ("latency", "row"),
    [(0.0, 0), (-1.0, 0), (0.0002, 0), (0.0003, 1), (0.9, 12), (1.1, 13), (1e9, 13)],
)
def test_a_latency_is_in_the_class_below_its_bound(meter, latency, row):
    loads(meter, latency)

    assert [index for index, count in enumerate(last(meter).loads) if count] == [row]


def test_fifteen_minutes_are_kept_and_gaps_are_unknown(meter, clock):
    for _ in range(3):
        loads(meter, 0.001)
        clock.advance(2 * STEP)

    known = [window is not None for window in meter.windows()]
    assert len(known) == STEPS
    assert known[-7:] == [True, False, True, False, True, False, False]
    clock.advance(STEP * STEPS)
    assert meter.windows() == [None] * STEPS


def test_memory_is_bounded(meter, clock):
    for _ in range(10 * STEPS):
        loads(meter, 0.001)
        clock.advance(STEP)

    assert len(meter._windows) == STEPS


def test_a_quantile_is_the_bound_above_never_below():
    counts = [0] * (len(BOUNDS) + 1)
    counts[2], counts[5] = 95, 5

    assert quantile(counts, 0.5) == quantile(counts, 0.95) == BOUNDS[2]
    assert quantile(counts, 0.96) == quantile(counts, 1.0) == BOUNDS[5]
    assert quantile([0] * len(counts), 0.5) is None
    assert quantile([*counts[:-1], 10_000], 0.95) == BOUNDS[-1]


def test_classes_are_added_up():
    row = list(range(len(BOUNDS) + 1))

    assert summed([row, row]) == [2 * count for count in row]
    assert summed([]) == [0] * len(row)
