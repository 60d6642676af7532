"""Whoever logs out while a node is away is logged out, also when the node comes back."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

import pytest
from support.door import Door, Mode
from support.replay import Replay
from support.tab import Tab
from support.visitors import Rotation


# Seconds old cookies are replayed after the return of the node; MSM_REPLAY_SECONDS=60 for a minute.
REPLAY = float(os.environ.get("MSM_REPLAY_SECONDS", "6"))
VISITORS = 18
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
BOUND = 2 * PROBE_INTERVAL + REQUEST_DEADLINE

pytestmark = pytest.mark.memcached


@contextmanager
def killed(node, door):
    node.kill()
    yield 1.0
    node.start()


@contextmanager
def hung(node, door):
    node.pause()
    yield 1.0
    node.resume()


@contextmanager
def hung_for_a_moment(node, door):
    """Too short for anybody to take the node down."""
    node.pause()
    yield 0.0
    node.resume()


@contextmanager
def out_of_reach_of_one_worker(node, door):
    door.turn(Mode.CLOSES)
    yield 1.0
    door.turn(Mode.OPEN)


@contextmanager
def hung_for_one_worker(node, door):
    door.turn(Mode.BLACK_HOLE)
    yield 1.0
    door.turn(Mode.OPEN)


FAULTS = [killed, hung, hung_for_a_moment, out_of_reach_of_one_worker, hung_for_one_worker]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
def test_a_logout_while_a_node_is_away_is_final(fleet, fault):
    fleet.add_nodes("n1", "n2", "n3")
    with Door(fleet.nodes["n1"].port) as door, Tab() as tab:
        fleet.config["MSM_PROBE_INTERVAL"] = PROBE_INTERVAL
        workers = fleet.start(
            fleet.config_for(ports={"n1": door.port}), fleet.config_for(), fleet.config_for()
        )
        cookies = []
        for number in range(VISITORS):
            answer = tab.ask(workers[0], "/set", body={"name": f"visitor {number}"})
            cookies.append(answer.cookie)
        fleet.wait_all_up()

        with Replay(Rotation(workers)) as replay:
            with fault(fleet.nodes["n1"], door) as seconds:
                for number, cookie in enumerate(cookies):
                    # The last ones when everybody has noticed that the node is away.
                    if number == VISITORS // 2:
                        time.sleep(seconds)
                    answer = tab.ask(workers[number % 3], "/logout", cookie, body={})
                    assert answer.status == 200
                    assert answer.cookie == ""
                    replay.add(cookie)
            time.sleep(REPLAY)
            fleet.wait_all_up()

        print(f"\n{fault.__name__}: {replay.report()} (bound: {BOUND} s)")
        assert replay.failed == []
        assert [served for served in replay.served if served.late > BOUND] == []
        fleet.stop()
