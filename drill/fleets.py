"""What happens to fleets of many workers, and to one worker among others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.testing.memcached import wait_until
from harness.proxy import Fault

from .deploys import IDLE
from .stage import WEST


if TYPE_CHECKING:
    from harness.memcached import Memcached

    from .scene import Scene

#: Settings of a fleet of which all processes run on one machine, where one waits for another: times
#: in seconds. A node that answers late was not scheduled.
PATIENT: dict[str, object] = {
    "MSM_PROBE_INTERVAL": 2.0,
    "MSM_TIMEOUT": 8.0,
    "MSM_CONNECT_TIMEOUT": 8.0,
    "MSM_REQUEST_DEADLINE": 8.0,
}
#: Sessions of a node that is rebuilt, and time in seconds that may take.
_MANY, _LONG = 100_000, 900.0
#: Time in seconds in which a node is filled that one worker does not reach.
FILLED = 90.0
#: Of so many records one at most may be stored twice: where the killed one was, and what is changed
#: meanwhile.
_TWICE = 10
#: Events of a worker that takes a node for worse than it is.
_WRONGED = ("mode_local", "node_down", "node_suspect", "node_lost_memory")


def fleet_started(scene: Scene) -> None:
    """Have many workers start at once on empty nodes: none may take a node for lost."""
    scene.lasts("all started at once")
    scene.never_reported(*_WRONGED)


def worker_cut_off(scene: Scene) -> None:
    """Cut one worker off from a node that comes back empty meanwhile, until others filled it."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    cluster.set_fault(Fault.SWALLOWS, ["n2"], WEST)
    scene.lasts("one worker cut off from n2")
    filled = scene.filled("n2")
    cluster.nodes["n2"].restart()
    scene.lasts("n2 back empty for the others")
    # A bad link of one worker keeps no node from being filled.
    wait_until(lambda: scene.filled("n2") > filled, "n2 to be filled while the cut lasts", FILLED)
    scene.lasts("n2 filled, the worker still cut off")
    cluster.set_fault(Fault.NONE, ["n2"], WEST)
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n1", "all reach n2, n1 killed")
    scene.lasts("all reach n2, n1 killed")
    cluster.restart(["n1"])
    scene.recover()


def rebuilder_killed(scene: Scene) -> None:
    """Kill the worker that rebuilds a node of many sessions in the middle; another one goes on."""
    stage = scene.stage
    node = stage.cluster.nodes["n2"]
    stage.fill(_MANY)
    held = _count(node, "curr_items")
    with scene.clicks_paused():
        node.restart()
        scene.phase("n2 rebuilt")
        wait_until(lambda: _count(node, "curr_items") > held // 2, "half of n2 to be back", _LONG)
        scene.kill_rebuilder()
        stage.wait_all_up(_LONG)
    stored, is_there = (_count(node, name) for name in ("total_items", "curr_items"))
    if is_there < held or stored - is_there > held // _TWICE:
        scene.call_wrong(f"n2 had {held} items; it was given {stored}, and has {is_there}")
    scene.recover()


def _count(node: Memcached, name: str) -> int:
    return int(node.stats()[name])
