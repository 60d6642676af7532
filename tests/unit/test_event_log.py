"""Lines of the log: each down has its back at WARNING; flapping is counted."""

from __future__ import annotations

import logging

import pytest
from support.clock import FakeClock

from flask_msm.cluster.event_log import QUIET
from flask_msm.cluster.events import Events


class Log:
    """One worker's events of node n1 and what its log has at WARNING and above."""

    def __init__(self, caplog):
        self.clock, self._caplog = FakeClock(), caplog
        self.events = Events(self.clock)
        caplog.set_level(logging.WARNING, "flask_msm.events")

    def down(self):
        self.events.add("warning", "node_down", "n1 is down", node="n1", begins="down")

    def up(self):
        self.events.add("info", "node_up", "n1 is up", node="n1", ends="down")

    def lines(self):
        lines = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return lines


@pytest.fixture
def log(caplog):
    return Log(caplog)


def test_the_end_of_a_trouble_is_a_warning_too_and_tells_how_long_it_lasted(log):
    log.down()
    log.clock.advance(14)
    log.up()

    assert log.lines() == ["node_down: n1 is down", "node_up: n1 is up (it lasted 14 s)"]


def test_each_line_names_host_and_process_of_its_worker(log):
    log.events = Events(log.clock, worker=lambda: "web-1:2210:0a1b2c3d")
    for _ in range(2):
        log.down()
        log.up()
    log.clock.advance(QUIET)
    log.events.log.settle()

    lines = log.lines()

    assert len(lines) == 3
    assert {line.rpartition(" ")[2] for line in lines} == {"[web-1:2210]"}


def test_what_ends_nothing_that_was_logged_is_no_warning(log):
    log.up()

    assert log.lines() == []


def test_flapping_is_the_first_pair_and_then_one_line_a_minute_with_a_count(log):
    for _ in range(5):
        log.down()
        log.up()
    assert len(log.lines()) == 2

    log.clock.advance(QUIET)
    log.events.log.settle()

    (line,) = log.lines()
    assert line.startswith("node_up: n1 is up (4 times more")


def test_a_node_that_still_flaps_after_a_minute_is_counted_on(log):
    for _ in range(2):
        log.down()
        log.up()
    log.clock.advance(QUIET)
    log.events.log.settle()
    log.lines()

    log.down()
    log.clock.advance(QUIET)
    log.events.log.settle()

    (line,) = log.lines()
    assert line.startswith("node_down: n1 is down (1 time more")


def test_after_a_minute_of_rest_a_trouble_is_logged_as_it_happens_again(log):
    log.down()
    log.up()
    log.clock.advance(2 * QUIET)
    log.lines()

    log.down()

    assert log.lines() == ["node_down: n1 is down"]


def test_a_node_that_fails_its_second_probe_is_still_the_one_that_is_down(log):
    log.down()
    log.down()

    assert log.lines() == ["node_down: n1 is down"]


def test_a_node_in_doubt_that_goes_down_is_logged_again(log):
    log.events.add("warning", "node_suspect", "n1 is suspect", node="n1", begins="down")
    log.down()

    assert log.lines() == ["node_suspect: n1 is suspect", "node_down: n1 is down"]


def test_a_node_that_was_in_doubt_a_moment_ago_and_goes_down_is_logged_at_once(log):
    def doubt():
        log.events.add("warning", "node_suspect", "n1 is suspect", node="n1", begins="down")

    doubt()
    log.up()
    log.lines()

    doubt()
    log.down()
    log.up()

    assert log.lines() == ["node_down: n1 is down", "node_up: n1 is up (it lasted 0 s)"]
    for _ in range(3):
        doubt()
        log.down()
        log.up()
    assert log.lines() == []
    log.clock.advance(QUIET)
    log.events.log.settle()
    assert log.lines() == ["node_up: n1 is up (3 times more since the last line)"]


def test_the_trouble_of_one_node_says_nothing_of_another(log):
    log.down()
    log.events.add("info", "node_up", "n2 is up", node="n2", ends="down")

    assert log.lines() == ["node_down: n1 is down"]


def test_what_an_outage_left_is_a_warning_when_it_is_handed_over(log):
    log.events.add("info", "handed_over", "3 of 3 sessions were handed over", loud=True)

    assert log.lines() == ["handed_over: 3 of 3 sessions were handed over"]


def test_what_is_handed_over_again_and_again_is_a_line_a_minute_with_a_count(log):
    """A node that answers too late for some changes leaves them to each tick."""
    for number in range(5):
        log.events.add("info", "handed_over", f"{number} sessions were handed over", loud=True)
    assert log.lines() == ["handed_over: 0 sessions were handed over"]

    log.clock.advance(QUIET)
    log.events.log.settle()
    assert log.lines() == [
        "handed_over: 4 sessions were handed over (4 times more since the last line)"
    ]

    log.clock.advance(QUIET)
    log.events.add("info", "handed_over", "9 sessions were handed over", loud=True)
    assert log.lines() == ["handed_over: 9 sessions were handed over"]
