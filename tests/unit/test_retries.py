"""Single writes that did not arrive: tried again, and given up in time."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from flask_msm.maintenance.retries import LIMIT, RetryQueue


class Bench:
    """Repairs, what was rejoined, and what was given up; ``holders`` confirm their copies."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.holders = frozenset()
        self.rejoined = []
        self.given_up = []
        self.queue = RetryQueue(clock=self.clock, patience=2.0)

    def add(self, node_id, key):
        if not self.queue.add(node_id, key):
            self.given_up.append(node_id)

    def run(self, meanwhile=lambda: None, until=None):
        def rejoin(key):
            self.rejoined.append(key)
            meanwhile()
            return self.holders

        self.given_up += self.queue.run(rejoin, until)


@pytest.fixture
def bench():
    return Bench()


def test_a_write_that_arrives_at_the_next_try_is_forgotten(bench):
    bench.add("n1", "key")
    bench.holders = frozenset({"n1", "n2"})

    bench.run()
    bench.run()

    assert bench.rejoined == ["key"]
    assert bench.given_up == []
    assert len(bench.queue) == 0


def test_a_write_that_does_not_arrive_is_tried_until_patience_ends(bench):
    bench.add("n1", "key")
    bench.holders = frozenset({"n2"})

    bench.run()
    bench.clock.advance(1.9)
    bench.run()
    assert (len(bench.queue), bench.given_up) == (1, [])
    bench.clock.advance(0.1)
    bench.run()

    assert (len(bench.queue), bench.given_up) == (0, ["n1"])


def test_patience_is_counted_from_the_first_time_a_key_was_missed(bench):
    bench.add("n1", "key")
    bench.clock.advance(1.5)
    bench.add("n1", "key")
    bench.clock.advance(0.5)

    bench.run()

    assert bench.given_up == ["n1"]


def test_a_slow_node_holds_a_run_up_for_no_longer_than_its_patience_and_is_given_up(bench):
    for number in range(LIMIT):
        bench.add("n1", f"key {number}")
    bench.holders = frozenset({"n1"})

    bench.run(lambda: bench.clock.advance(0.5))

    assert (len(bench.rejoined), bench.given_up) == (4, ["n1"])


def test_a_run_of_a_request_is_over_when_that_has_no_more_time_and_gives_nothing_up(bench):
    for number in range(LIMIT):
        bench.add("n1", f"key {number}")
    bench.holders = frozenset({"n1"})
    bench.clock.advance(10.0)

    bench.run(lambda: bench.clock.advance(0.5), until=bench.clock.monotonic() + 1.0)

    assert (len(bench.rejoined), len(bench.queue), bench.given_up) == (2, LIMIT - 2, [])


def test_a_key_that_waits_already_is_not_queued_twice(bench):
    bench.add("n1", "key")
    bench.add("n1", "key")

    assert len(bench.queue) == 1


def test_a_node_is_given_up_once_and_what_waits_for_others_is_still_tried(bench):
    for number in range(5):
        bench.add("n1", f"lost {number}")
    bench.add("n2", "kept")
    bench.clock.advance(2.0)
    bench.holders = frozenset({"n2"})

    bench.run()

    assert bench.given_up == ["n1"]
    assert bench.rejoined == ["lost 0", "kept"]
    assert len(bench.queue) == 0


def test_more_writes_than_the_limit_give_the_node_up_at_once(bench):
    for number in range(LIMIT):
        bench.add("n1", f"key {number}")
    assert bench.given_up == []

    bench.add("n1", "one too many")

    assert (len(bench.queue), bench.given_up) == (0, ["n1"])


def test_the_queue_is_bounded_by_node_however_many_writes_are_missed(bench):
    for number in range(5 * LIMIT):
        bench.add("n1", f"key {number}")
        bench.add("n2", f"key {number}")
        assert len(bench.queue) <= 2 * LIMIT


def test_a_node_that_will_be_rebuilt_is_forgotten(bench):
    bench.add("n1", "key")
    bench.add("n2", "key")

    bench.queue.drop("n1")
    bench.queue.drop("n3")

    assert len(bench.queue) == 1


def test_a_node_that_is_dropped_in_the_middle_of_a_run_is_not_tried_any_more(bench):
    """The first try may take the node down; each of the others would wait for it."""
    for number in range(5):
        bench.add("n1", f"key {number}")

    bench.clock.advance(2.0)
    bench.run(lambda: bench.queue.drop("n1"))

    assert bench.rejoined == ["key 0"]


def test_a_write_that_is_missed_during_a_run_waits_for_the_next_one(bench):
    bench.add("n1", "first")
    bench.holders = frozenset({"n1"})

    bench.run(lambda: bench.add("n1", "second"))

    assert (bench.rejoined, len(bench.queue)) == (["first"], 1)


def test_nothing_to_repair_is_nothing_to_do(bench):
    bench.run()

    assert (bench.rejoined, bench.given_up, len(bench.queue)) == ([], [], 0)
