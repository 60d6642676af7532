"""Stamps: later is greater, for one worker and for the fleet."""

from __future__ import annotations

from support.clock import FakeClock

from flask_msm.record.stamp import MAX_AHEAD_MS, WEAK_OFFSET, StampClock, milliseconds, weak


def test_stamps_rise_even_when_the_clock_does_not():
    stamps = StampClock(FakeClock(), worker=1)
    issued = [stamps.next() for _ in range(100)]

    assert issued == sorted(set(issued))


def test_stamps_rise_when_the_clock_goes_back():
    clock = FakeClock()
    stamps = StampClock(clock, worker=1)
    before = stamps.next()
    clock.advance(-3600)

    assert stamps.next() > before


def test_a_stamp_is_above_what_was_seen():
    clock = FakeClock()
    ahead = StampClock(clock, worker=60000).next() + (5_000 << 16)

    assert StampClock(clock, worker=1).next(ahead) > ahead


def test_two_workers_never_issue_the_same_stamp():
    clock = FakeClock()

    assert StampClock(clock, worker=1).next() != StampClock(clock, worker=2).next()


def test_a_clock_far_ahead_is_obeyed_but_not_adopted():
    clock = FakeClock()
    stamps = StampClock(clock, worker=1)
    far = int(clock.time() * 1000) + MAX_AHEAD_MS + 5_000 << 16

    assert stamps.next(far) > far
    assert stamps.clock_ahead == 1
    assert milliseconds(stamps.next()) < milliseconds(far)


def test_at_the_end_of_all_stamps_a_stamp_still_fits():
    stamps = StampClock(FakeClock(), worker=1)

    assert stamps.next(WEAK_OFFSET - 1) < WEAK_OFFSET
    assert stamps.next(2**63 - 1) < WEAK_OFFSET


def test_a_weak_stamp_loses_against_every_ordinary_one_and_keeps_its_order():
    stamps = StampClock(FakeClock(), worker=1)
    one, two = stamps.next(), stamps.next()

    assert weak(one) < weak(two) < 1 < one
