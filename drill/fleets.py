"""What happens to fleets of many workers, and to one worker among others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.proxy import Fault

from .deploys import IDLE
from .stage import WEST


if TYPE_CHECKING:
    from .scene import Scene


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
