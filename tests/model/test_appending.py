"""Every order of steps of the write path that appends changes, within bounds; and every bug."""

from __future__ import annotations

import pytest

from tests.model.appending.scenarios import BUGS, CRASH, FAULTS, SCRIPTS, play, play_bug


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_acknowledged_is_lost_with_one_fault(script):
    found = play(script, FAULTS, limit=3_000)

    assert found.violated == "", found.way


@pytest.mark.parametrize("script", ["two attributes", "logout beside write"])
def test_without_a_fault_every_order_holds(script):
    found = play(script, ())

    assert (found.violated, found.complete) == ("", True), found.way


def test_three_copies_hold_what_is_acknowledged():
    found = play("same attribute", (*FAULTS, CRASH), homes=3, limit=3_000)

    assert found.violated == "", found.way


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_of_the_protocol_is_found(bug):
    assert play_bug(bug).violated != ""
