"""A logout while a node is away is final, also when the node comes back."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

import pytest
from support.door import Door, Mode
from support.fleet import say
from support.replay import Replay
from support.tab import in_parallel
from support.visitors import Rotation


LOGOUTS = 12
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
# Ticks of a worker after which it serves no session that was ended before: it learns that by two
# of them, and a request may have begun before that.
BOUND = 2 + round(REQUEST_DEADLINE / PROBE_INTERVAL)
# Ticks in which old cookies are replayed after the last return; a minute: MSM_REPLAY_TICKS=240.
REPLAY = int(os.environ.get("MSM_REPLAY_TICKS", "24"))

pytestmark = pytest.mark.memcached


@contextmanager
def killed(node, door):
    node.kill()
    yield
    node.start()


@contextmanager
def hung(node, door):
    node.pause()
    yield
    node.resume()


@contextmanager
def out_of_reach_of_one_worker(node, door):
    door.turn(Mode.CLOSES)
    yield
    door.turn(Mode.OPEN)


@contextmanager
def hung_for_one_worker(node, door):
    door.turn(Mode.BLACK_HOLE)
    yield
    door.turn(Mode.OPEN)


FAULTS = [killed, hung, out_of_reach_of_one_worker, hung_for_one_worker]


@pytest.fixture
def door(fleet):
    """Stands between the first worker and n1."""
    fleet.config["MSM_PROBE_INTERVAL"] = PROBE_INTERVAL
    fleet.add_nodes("n1", "n2", "n3")
    with Door(fleet.nodes["n1"].port) as made:
        fleet.start(
            fleet.config_for(ports={"n1": made.port}), fleet.config_for(), fleet.config_for()
        )
        yield made
        fleet.stop()


def sign_in(fleet, count):
    """Return the cookies of so many visitors."""

    def visit(tab, number):
        answer = tab.ask(fleet.workers[number % 3], "/set", body={"name": f"visitor {number}"})
        assert answer.cookie
        return answer.cookie

    return in_parallel(visit, range(count))


def log_out(fleet, cookies):
    """Log all out, each by some worker; return each cookie with the time of its acknowledgement."""

    def leave(tab, visit):
        number, cookie = visit
        answer = tab.ask(fleet.workers[number % 3], "/logout", cookie, body={})
        assert (answer.status, answer.cookie) == (200, "")
        return cookie, time.monotonic()

    return in_parallel(leave, enumerate(cookies))


def verdict(replay):
    say(f"{replay.report()} (bound: {BOUND} ticks)")
    assert replay.failed == []
    assert [served for served in replay.served if served.ticks > BOUND] == []


def test_a_logout_while_a_node_is_away_is_final(fleet, door):
    node = fleet.nodes["n1"]
    with Replay(Rotation(fleet.workers)) as replay:
        for fault in FAULTS:
            cookies = sign_in(fleet, LOGOUTS)
            with fault(node, door):
                # Half of them at once, half of them when all workers have noticed.
                for part in cookies[::2], cookies[1::2]:
                    for cookie, at in log_out(fleet, part):
                        replay.add(cookie, at, fault.__name__.replace("_", " "))
                    time.sleep(2 * PROBE_INTERVAL)
            fleet.wait_all_up()
        replay.go_on(REPLAY)

    verdict(replay)


def test_a_logout_while_a_node_hangs_for_a_moment_is_final(fleet, door):
    """Too short for a worker to mark the node as down: what it missed is repaired."""
    with Replay(Rotation(fleet.workers)) as replay:
        for _ in range(4):
            cookies = sign_in(fleet, 4)
            # No other request may notice that the node hangs, replays neither.
            with replay.paused(), hung(fleet.nodes["n1"], door):
                gone = log_out(fleet, cookies)
            for cookie, at in gone:
                replay.add(cookie, at, "hung for a moment")
            replay.go_on(BOUND)
        fleet.wait_all_up()

    verdict(replay)
