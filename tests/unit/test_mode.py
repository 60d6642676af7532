"""How a worker keeps sessions: the table of modes."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from flask_msm.cluster.mode import (
    MODE_TRANSITIONS,
    Mode,
    ModeSignal,
    ModeState,
    advance_mode,
)


DISTRIBUTED, LOCAL, STOPPED = Mode.DISTRIBUTED, Mode.LOCAL, Mode.STOPPED
GONE, BACK, STOP, RESUME = (
    ModeSignal.CLUSTER_DOWN,
    ModeSignal.CLUSTER_UP,
    ModeSignal.STOP,
    ModeSignal.RESUME,
)


def test_the_table_is_total():
    assert set(MODE_TRANSITIONS) == set(Mode)
    for row in MODE_TRANSITIONS.values():
        assert set(row) == set(ModeSignal)
        assert set(row.values()) <= set(Mode)


@pytest.mark.parametrize(
    ("mode", "signal", "expected"),
    [
        (DISTRIBUTED, GONE, LOCAL),
        (DISTRIBUTED, BACK, DISTRIBUTED),
        (DISTRIBUTED, STOP, STOPPED),
        (DISTRIBUTED, RESUME, DISTRIBUTED),
        (LOCAL, GONE, LOCAL),
        (LOCAL, BACK, DISTRIBUTED),
        (LOCAL, STOP, STOPPED),
        (LOCAL, RESUME, LOCAL),
        (STOPPED, GONE, STOPPED),
        (STOPPED, BACK, STOPPED),
        (STOPPED, STOP, STOPPED),
        (STOPPED, RESUME, LOCAL),
    ],
)
def test_every_signal_leads_where_the_table_says(mode, signal, expected):
    assert advance_mode(mode, signal) is expected


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("signal", ModeSignal)
def test_a_signal_that_comes_twice_changes_nothing_more(mode, signal):
    once = advance_mode(mode, signal)

    assert advance_mode(once, signal) is once


def test_only_an_operator_ends_a_stop():
    for signal in (GONE, BACK, STOP):
        assert advance_mode(STOPPED, signal) is STOPPED

    assert advance_mode(advance_mode(STOPPED, RESUME), BACK) is DISTRIBUTED


def test_a_return_is_remembered_and_a_beginning_is_none():
    keeper = ModeState(clock := FakeClock())
    assert keeper.back_at == 0

    keeper.signal(ModeSignal.CLUSTER_DOWN)
    clock.advance(5)
    keeper.signal(ModeSignal.CLUSTER_UP)

    assert keeper.back_at == clock.time()
