"""Nodes fail while people click, and nobody notices: no change lost, no error, no long wait."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

import pytest
from support.door import Door, Mode
from support.visitors import Load, Rotation


# Seconds each fault lasts; the longer, the more of it the visitors get to see.
FAULT = float(os.environ.get("MSM_FAULT_SECONDS", "1"))
REQUEST_DEADLINE = 1.0
SLACK = 0.2

pytestmark = pytest.mark.memcached


def flush(node):
    with node.connect() as connection:
        connection.sendall(b"flush_all\r\n")
        assert connection.recv(100) == b"OK\r\n"


@contextmanager
def killed(node):
    node.kill()
    try:
        yield
    finally:
        node.start()


@contextmanager
def killed_and_restarted_at_once(node):
    node.restart()
    yield


@contextmanager
def stopped(node):
    node.pause()
    try:
        yield
    finally:
        node.resume()


@contextmanager
def flushed(node):
    flush(node)
    yield


FAULTS = {
    "killed": killed,
    "killed and restarted at once": killed_and_restarted_at_once,
    "stopped and continued": stopped,
    "flushed": flushed,
}


def verdict(load, title):
    print(f"\n{title}: {load.report()}")
    for line in load.complaints():
        print(line)
    assert load.lost == []
    assert load.signed_out == []
    assert load.failed == []
    assert load.slowest().spent <= REQUEST_DEADLINE + SLACK


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_node_in_turn_fails_under_load(fleet, fault):
    fleet.add_nodes("n1", "n2", "n3")
    workers = fleet.start(*[fleet.config_for()] * 2)

    with Load(Rotation(workers)) as load:
        for node_id, node in fleet.nodes.items():
            with load.trouble(f"{node_id} {fault.__name__}"), fault(node):
                time.sleep(FAULT)
            fleet.wait_all_up()

    verdict(load, fault.__name__)


MODES = [Mode.CLOSES, Mode.TOO_MANY, Mode.BLACK_HOLE, Mode.DRIPS]


@pytest.mark.parametrize("mode", MODES, ids=[mode.value for mode in MODES])
def test_each_node_in_turn_is_out_of_reach_of_one_worker_under_load(fleet, mode):
    fleet.add_nodes("n1", "n2", "n3")
    doors = {node_id: Door(node.port) for node_id, node in fleet.nodes.items()}
    with doors["n1"], doors["n2"], doors["n3"]:
        ports = {node_id: door.port for node_id, door in doors.items()}
        workers = fleet.start(fleet.config_for(ports=ports), fleet.config_for())

        with Load(Rotation(workers)) as load:
            for node_id, door in doors.items():
                with load.trouble(f"{node_id} {mode.value} for one worker"):
                    door.turn(mode)
                    time.sleep(FAULT)
                    door.turn(Mode.OPEN)
                fleet.wait_all_up()

        verdict(load, f"one-sided, {mode.value}")
        fleet.stop()
