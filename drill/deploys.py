"""What acts deploy, one host after the other, while nodes fail and people click."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from harness.processes import ROOT

from .app import CODEC, READS_JSON, WRITES_JSON
from .stage import EAST, FRESH, OUTSIDE, WEST


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .crowd import Crowd
    from .scene import Scene

#: People who are idle while a fault lasts.
IDLE = 30
OLD_KEY, NEW_KEY = secrets.token_hex(32), secrets.token_hex(32)
#: Lists of nodes that follow the first one: what it is, the nodes.
_LISTS = (("n4 added", ("n1", "n2", "n3", "n4")), ("n1 removed", ("n2", "n3", "n4")))


def lists_changed(scene: Scene) -> None:
    """Give all hosts another list of nodes, one host after the other, again and again."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    for phase, used in _LISTS:
        leaving = set(cluster.used) - set(used)
        cluster.used = used
        for name in scene.stage.all_sites():
            scene.deploy(name, {"MSM_NODES": cluster.addresses(name)})
            scene.lasts(f"{phase}, at {name}")
        scene.recover()
        # From here on two copies are where the new list wants them.
        for node in leaving:
            scene.kill_before_fresh_eyes(crowd, node, f"{phase}, it is gone")
    scene.kill_before_fresh_eyes(crowd, "n4", "n4 killed as well")
    cluster.restart(["n4"])
    scene.recover()


def upgraded(scene: Scene) -> None:
    """Upgrade one host after the other, and kill nodes while two versions are at work."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    for site in scene.stage.all_sites().values():
        site.root = ROOT
    scene.deploy(EAST, {})
    scene.wait_all_known()
    # Later a node that was restarted is another one to the workers that have looked already.
    scene.never_reported("layouts_differ")
    for node in ("n1", "n2"):
        cluster.kill([node])
        scene.lasts(f"one host upgraded, {node} killed")
        cluster.restart([node])
        scene.recover()
    for name in (WEST, FRESH):
        scene.deploy(name, {})
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n3", "all upgraded, n3 killed")
    cluster.restart(["n3"])
    scene.recover()


def there_and_back(scene: Scene) -> None:
    """Upgrade all hosts, go back as the documentation has it, and forward again."""
    crowd, root = scene.crowd(IDLE), scene.stage.fresh.root
    _deploy_all(scene, ROOT, {})
    _kill_one(scene, crowd, "n1", "all upgraded, n1 killed")
    # From here on all is written as the version before reads it.
    _deploy_all(scene, ROOT, {"MSM_FAST_PATH": False})
    for node in scene.nodes:
        scene.stage.cluster.kill([node])
        scene.lasts(f"the step before going back, {node} killed")
        scene.stage.cluster.restart([node])
        scene.recover()
    _deploy_all(scene, root, {})
    _kill_one(scene, crowd, "n2", "all back, n2 killed")
    _deploy_all(scene, ROOT, {"MSM_FAST_PATH": True})
    _kill_one(scene, crowd, "n3", "forward again, n3 killed")


def _deploy_all(scene: Scene, root: Path, settings: Mapping[str, object]) -> None:
    for name, site in scene.stage.all_sites().items():
        site.root = root
        scene.deploy(name, settings)
        scene.lasts(f"deployed at {name}")
    scene.recover()


def _kill_one(scene: Scene, crowd: Crowd, node: str, phase: str) -> None:
    scene.kill_before_fresh_eyes(crowd, node, phase)
    scene.stage.cluster.restart([node])
    scene.recover()


def key_changed(scene: Scene) -> None:
    """Change the key that encrypts, one host after the other, and kill nodes in the middle.

    As the documentation has it, all hosts decrypt with both keys before the first one encrypts
    with the new one.
    """
    settings = {"MSM_ENCRYPTION_KEYS": [NEW_KEY, OLD_KEY]}
    scene.deploy(EAST, settings)
    for node in ("n1", "n2"):  # what the rebuild of the first leaves behind, the second shows
        scene.stage.cluster.kill([node])
        scene.lasts(f"one host has the new key, {node} killed")
        scene.stage.cluster.restart([node])
        scene.recover()
    scene.deploy(WEST, settings)
    scene.recover()


def codec_changed(scene: Scene) -> None:
    """Change the codec, one host after the other, and kill nodes in the middle.

    As the documentation has it, all hosts read both forms before the first one writes the new one.
    """
    for name in (EAST, WEST, FRESH):
        scene.deploy(name, {CODEC: READS_JSON})
    scene.recover()
    scene.deploy(EAST, {CODEC: WRITES_JSON})
    for node in ("n1", "n2"):
        scene.stage.cluster.kill([node])
        scene.lasts(f"one host has the new codec, {node} killed")
        scene.stage.cluster.restart([node])
        scene.recover()
    scene.deploy(WEST, {CODEC: WRITES_JSON})
    scene.recover()


def ids_shifted(scene: Scene) -> None:
    """Replace the first node and number the others anew, as a template does with its list."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    cluster.kill(["n1"])
    scene.lasts("n1 killed")
    cluster.rename(("n2", "n3", "n1"))
    cluster.nodes["n3"].start()
    for name in (*scene.stage.all_sites(), OUTSIDE):
        scene.deploy(name, {}, partial(cluster.lead, name))
    scene.lasts("ids shifted")
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n2", "ids shifted, n2 killed")
    scene.lasts("ids shifted, n2 killed")
    cluster.restart(["n2"])
    scene.recover()
