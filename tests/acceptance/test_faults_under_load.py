"""Nodes fail while people click: no change is lost, no request fails, none hangs."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

import pytest
from support.door import Door, Mode
from support.fleet import say
from support.visitors import Load, Rotation


# Seconds each fault lasts; the longer, the more of it the visitors get to see.
FAULT = float(os.environ.get("MSM_FAULT_SECONDS", "1"))
# Seconds after which a request hangs: a node that fails costs it its deadline at most, one second.
HANGS = 30.0

pytestmark = pytest.mark.memcached


@contextmanager
def killed(node):
    node.kill()
    yield
    node.start()


@contextmanager
def restarted_empty_at_once(node):
    node.restart()
    yield


@contextmanager
def stopped_and_continued(node):
    node.pause()
    yield
    node.resume()


@contextmanager
def flushed(node):
    node.flush()
    yield


FAULTS = [killed, restarted_empty_at_once, stopped_and_continued, flushed]


def verdict(load):
    say(load.report())
    for line in load.complaints():
        say(line)
    assert load.complaints() == []
    assert load.slowest().spent < HANGS


def test_each_node_in_turn_fails_under_load(fleet):
    fleet.add_nodes("n1", "n2", "n3")
    workers = fleet.start(fleet.config_for(), fleet.config_for())

    with Load(Rotation(workers)) as load:
        for fault in FAULTS:
            for node_id, node in fleet.nodes.items():
                with load.trouble(f"{node_id} {fault.__name__.replace('_', ' ')}"), fault(node):
                    time.sleep(FAULT)
                fleet.wait_all_up()

    verdict(load)


def test_nodes_in_turn_are_out_of_reach_of_one_worker_under_load(fleet):
    fleet.add_nodes("n1", "n2", "n3")
    doors = {node_id: Door(node.port) for node_id, node in fleet.nodes.items()}
    with doors["n1"], doors["n2"], doors["n3"]:
        ports = {node_id: door.port for node_id, door in doors.items()}
        workers = fleet.start(fleet.config_for(ports=ports), fleet.config_for())

        with Load(Rotation(workers)) as load:
            for number, mode in enumerate(Mode.faults()):
                node_id = f"n{number % 3 + 1}"
                with load.trouble(f"{node_id} for one worker: {mode.value}"):
                    doors[node_id].turn(mode)
                    time.sleep(FAULT)
                    doors[node_id].turn(Mode.OPEN)
                fleet.wait_all_up()

        verdict(load)
        fleet.stop()
