"""Stamps: later is greater, for one worker and for the fleet."""

from __future__ import annotations

from support.clock import FakeClock

from flask_msm.record.hybrid_clock import (
    MAX_AHEAD_MS,
    WEAK_OFFSET,
    HybridLogicalClock,
    milliseconds,
    weak,
)


def test_stamps_rise_even_when_the_clock_does_not():
    stamps = HybridLogicalClock(FakeClock(), worker=1)
    issued = [stamps.next() for _ in range(100)]

    assert issued == sorted(set(issued))


def test_stamps_rise_when_the_clock_goes_back():
    clock = FakeClock()
    stamps = HybridLogicalClock(clock, worker=1)
    before = stamps.next()
    clock.advance(-3600)

    assert stamps.next() > before


def test_a_stamp_is_above_what_was_seen():
    clock = FakeClock()
    ahead = HybridLogicalClock(clock, worker=60000).next() + (5_000 << 16)

    assert HybridLogicalClock(clock, worker=1).next(ahead) > ahead


def test_two_workers_never_issue_the_same_stamp():
    clock = FakeClock()

    assert HybridLogicalClock(clock, worker=1).next() != HybridLogicalClock(clock, worker=2).next()


def test_a_clock_far_ahead_is_obeyed_but_not_adopted():
    clock = FakeClock()
    stamps = HybridLogicalClock(clock, worker=1)
    far = int(clock.time() * 1000) + MAX_AHEAD_MS + 5_000 << 16

    assert stamps.next(far) > far
    assert stamps.clock_ahead == 1
    assert milliseconds(stamps.next()) < milliseconds(far)


def test_no_stamp_is_issued_twice_above_a_clock_far_ahead():
    clock = FakeClock()
    stamps = HybridLogicalClock(clock, worker=1)
    far = [int(clock.time() * 1000) + MAX_AHEAD_MS + ahead << 16 for ahead in (5_000, 5_003, 5_001)]

    issued = [(stamps.next(after), after) for _ in range(200) for after in far]

    assert len({stamp for stamp, _ in issued}) == len(issued)
    assert all(stamp > after for stamp, after in issued)
    # They stay near to what was seen: one machine far ahead moves no stamp further ahead.
    assert max(issued)[0] < max(far) + (700 << 16)


def test_a_stamp_that_was_lifted_is_not_issued_again_when_the_clock_gets_there():
    clock = FakeClock()
    stamps = HybridLogicalClock(clock, worker=1)
    far = int(clock.time() * 1000) + MAX_AHEAD_MS + 1000 << 16
    lifted = {stamps.next(far) for _ in range(10)}

    clock.advance(MAX_AHEAD_MS / 1000 + 1)

    assert not lifted & {stamps.next() for _ in range(20)}


def test_the_memory_of_stamps_far_ahead_is_bounded_and_no_stamp_comes_twice():
    clock = FakeClock()
    stamps = HybridLogicalClock(clock, worker=1)
    far = int(clock.time() * 1000) + MAX_AHEAD_MS + 5_000 << 16

    issued = [stamps.next(far + (number << 32)) for number in range(15_000)]
    issued += [stamps.next(far) for _ in range(15_000)]

    assert len(set(issued)) == len(issued)
    assert len(stamps._lifted) <= 10_000


def test_at_the_end_of_all_stamps_a_stamp_still_fits():
    stamps = HybridLogicalClock(FakeClock(), worker=1)

    assert stamps.next(WEAK_OFFSET - 1) < WEAK_OFFSET
    assert stamps.next(2**63 - 1) < WEAK_OFFSET


def test_a_weak_stamp_loses_against_every_ordinary_one_and_keeps_its_order():
    stamps = HybridLogicalClock(FakeClock(), worker=1)
    one, two = stamps.next(), stamps.next()

    assert weak(one) < weak(two) < 1 < one


def test_a_forked_child_issues_stamps_of_another_worker(monkeypatch):
    numbers = iter([7, 8])
    monkeypatch.setattr("secrets.randbits", lambda bits: next(numbers))
    stamps = HybridLogicalClock(FakeClock())
    before = stamps.next()

    stamps.forked()

    assert stamps.next() & 0xFFFF == 8 != before & 0xFFFF
    assert stamps.next() > before
