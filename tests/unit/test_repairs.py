"""Single writes that did not arrive: tried again, and given up in time."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from flask_msm.maintenance.repairs import LIMIT, RetryQueue


class Bench:
    """Repairs, what was rejoined, and what was given up; ``holders`` confirm their copies."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.holders = frozenset()
        self.rejoined = []
        self.given_up = []
        self.repairs = RetryQueue(
            rejoin=self.rejoin, give_up=self.give_up, clock=self.clock, patience=2.0
        )

    def rejoin(self, key):
        self.rejoined.append(key)
        return self.holders

    def give_up(self, node_id):
        assert not self.repairs._lock.locked()
        self.given_up.append(node_id)


@pytest.fixture
def bench():
    return Bench()


def test_a_write_that_arrives_at_the_next_try_is_forgotten(bench):
    bench.repairs.add("n1", "key")
    bench.holders = frozenset({"n1", "n2"})

    bench.repairs.run()
    bench.repairs.run()

    assert bench.rejoined == ["key"]
    assert bench.given_up == []
    assert len(bench.repairs) == 0


def test_a_write_that_does_not_arrive_is_tried_until_patience_ends(bench):
    bench.repairs.add("n1", "key")
    bench.holders = frozenset({"n2"})

    bench.repairs.run()
    bench.clock.advance(1.9)
    bench.repairs.run()
    assert (len(bench.repairs), bench.given_up) == (1, [])
    bench.clock.advance(0.1)
    bench.repairs.run()

    assert (len(bench.repairs), bench.given_up) == (0, ["n1"])


def test_patience_is_counted_from_the_first_time_a_key_was_missed(bench):
    bench.repairs.add("n1", "key")
    bench.clock.advance(1.5)
    bench.repairs.add("n1", "key")
    bench.clock.advance(0.5)

    bench.repairs.run()

    assert bench.given_up == ["n1"]


def test_a_key_that_waits_already_is_not_queued_twice(bench):
    bench.repairs.add("n1", "key")
    bench.repairs.add("n1", "key")

    assert len(bench.repairs) == 1


def test_a_node_is_given_up_once_and_what_waits_for_others_is_still_tried(bench):
    for number in range(5):
        bench.repairs.add("n1", f"lost {number}")
    bench.repairs.add("n2", "kept")
    bench.clock.advance(2.0)
    bench.holders = frozenset({"n2"})

    bench.repairs.run()

    assert bench.given_up == ["n1"]
    assert bench.rejoined == ["lost 0", "kept"]
    assert len(bench.repairs) == 0


def test_more_writes_than_the_limit_give_the_node_up_at_once(bench):
    for number in range(LIMIT):
        bench.repairs.add("n1", f"key {number}")
    assert bench.given_up == []

    bench.repairs.add("n1", "one too many")

    assert (len(bench.repairs), bench.given_up) == (0, ["n1"])


def test_the_queue_is_bounded_by_node_however_many_writes_are_missed(bench):
    for number in range(5 * LIMIT):
        bench.repairs.add("n1", f"key {number}")
        bench.repairs.add("n2", f"key {number}")
        assert len(bench.repairs) <= 2 * LIMIT


def test_a_node_that_will_be_rebuilt_is_forgotten(bench):
    bench.repairs.add("n1", "key")
    bench.repairs.add("n2", "key")

    bench.repairs.drop("n1")
    bench.repairs.drop("n3")

    assert len(bench.repairs) == 1


def test_a_node_that_is_dropped_in_the_middle_of_a_run_is_not_tried_any_more(bench):
    """The first try may take the node down; each of the others would wait for it."""
    for number in range(5):
        bench.repairs.add("n1", f"key {number}")

    def rejoin(key):
        bench.rejoined.append(key)
        bench.repairs.drop("n1")
        return frozenset()

    bench.repairs._rejoin = rejoin
    bench.clock.advance(2.0)
    bench.repairs.run()

    assert bench.rejoined == ["key 0"]


def test_a_write_that_is_missed_during_a_run_waits_for_the_next_one(bench):
    bench.repairs.add("n1", "first")

    def rejoin(key):
        bench.rejoined.append(key)
        bench.repairs.add("n1", "second")
        return frozenset({"n1"})

    bench.repairs._rejoin = rejoin
    bench.repairs.run()
    assert (bench.rejoined, len(bench.repairs)) == (["first"], 1)


def test_nothing_to_repair_is_nothing_to_do(bench):
    bench.repairs.run()

    assert (bench.rejoined, bench.given_up, len(bench.repairs)) == ([], [], 0)
