"""What happens to fleets of many workers, and to one worker among others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.proxy import Fault

from .deploys import IDLE
from .stage import WEST


if TYPE_CHECKING:
    from .scene import Scene

#: Settings of a fleet of which all processes run on one machine, where one waits for another: times
#: in seconds. A node that answers late was not scheduled.
PATIENT: dict[str, object] = {
    "MSM_PROBE_INTERVAL": 2.0,
    "MSM_TIMEOUT": 8.0,
    "MSM_CONNECT_TIMEOUT": 8.0,
    "MSM_REQUEST_DEADLINE": 8.0,
}
#: Events of a worker that takes a node for worse than it is.
_WRONGED = ("mode_local", "node_down", "node_suspect", "node_lost_memory")


def fleet_started(scene: Scene) -> None:
    """Have many workers start at once on empty nodes: none may take a node for lost."""
    scene.lasts("all started at once")
    scene.never_reported(*_WRONGED)


def more_workers_than_connections(scene: Scene) -> None:
    """Have more workers than each node has connections: they take turns, and one says so."""
    scene.lasts("more workers than connections")
    scene.recover()
    scene.never_reported(*_WRONGED)
    scene.reported_once("node_connections")


def worker_cut_off(scene: Scene) -> None:
    """Cut one worker off from a node that comes back empty meanwhile."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    cluster.set_fault(Fault.SWALLOWS, ["n2"], WEST)
    scene.lasts("one worker cut off from n2")
    cluster.nodes["n2"].restart()
    scene.lasts("n2 back empty for the others")
    cluster.set_fault(Fault.NONE, ["n2"], WEST)
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n1", "all reach n2, n1 killed")
    scene.lasts("all reach n2, n1 killed")
    cluster.restart(["n1"])
    scene.recover()
