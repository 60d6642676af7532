"""The acts: what happens to the nodes and sites while people click."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stage import SITES, Balancer, Crowd, Stage
from support.door import Mode
from support.memcached import wait_until


NODES = ["n1", "n2", "n3"]


@dataclass(slots=True)
class Scene:
    """What an act can do.

    Attributes:
        stage: Nodes and sites.
        balancer: Sends visitors to sites.
        crowd: The visitors.
        seconds: How long a fault lasts.
    """

    stage: Stage
    balancer: Balancer
    crowd: Crowd
    seconds: float
    local_since: float | None = None
    recovery: float = 0.0

    def wait_local(self, since: float) -> None:
        """Wait until every worker of the sites in use keeps sessions on its host."""
        self.stage.wait_mode("local", since)
        self.local_since = since

    def wait(self) -> None:
        """Let people click for as long as a fault lasts."""
        until = time.monotonic() + self.seconds
        # A number of clicks as well: on a busy machine a second may be next to nothing.
        self.crowd.wait_clicks(30)
        wait_until(lambda: time.monotonic() >= until, "the fault is over", self.seconds + 5)

    def recover(self) -> None:
        """Wait until losing any node would lose nothing again; keep the seconds that took."""
        began = time.monotonic()
        if self.local_since is not None:
            # What sites kept goes back in the tick that follows; nodes are not trusted before.
            self.stage.wait_distributed()
            self.stage.wait_handed_over()
        self.stage.wait_all_up()
        self.recovery = max(self.recovery, time.monotonic() - began)


Act = Callable[[Scene], Iterator[str]]


def each_node_killed(scene: Scene) -> Iterator[str]:
    """Each node is killed and restarted empty, one after another."""
    for node_id in NODES:
        yield "killed"
        scene.stage.nodes[node_id].kill()
        scene.wait()
        scene.stage.nodes[node_id].start()
        yield "back"


def each_node_stopped(scene: Scene) -> Iterator[str]:
    """Each node is stopped (SIGSTOP) and goes on with old data."""
    for node_id in NODES:
        yield "stopped"
        scene.stage.nodes[node_id].pause()
        scene.wait()
        scene.stage.nodes[node_id].resume()
        yield "back"


def one_sided_cut(scene: Scene) -> Iterator[str]:
    """One site cannot reach one node, the other one can."""
    yield "cut"
    scene.stage.turn(Mode.BLACK_HOLE, ["n1"], SITES[0])
    scene.wait()
    scene.stage.turn(Mode.OPEN, ["n1"], SITES[0])
    yield "back"


def _misbehaves(mode: Mode) -> Act:
    def act(scene: Scene) -> Iterator[str]:
        yield mode.value
        scene.stage.turn(mode, ["n2"])
        scene.wait()
        scene.stage.turn(Mode.OPEN, ["n2"])
        yield "back"

    act.__doc__ = f"A node does this to everybody: {mode.value}."
    return act


@contextmanager
def _all_killed(scene: Scene) -> Iterator[None]:
    since = time.time()
    for node_id in NODES:
        scene.stage.nodes[node_id].kill()
    scene.wait_local(since)
    yield
    for node_id in NODES:
        scene.stage.nodes[node_id].start()


def all_gone_and_back_empty(scene: Scene) -> Iterator[str]:
    """All nodes are killed and come back empty; the balancer keeps browsers at their site."""
    yield "going"
    with _all_killed(scene):
        yield "local"
        scene.wait()
    yield "back"


def all_gone_one_site(scene: Scene) -> Iterator[str]:
    """All nodes are killed; requests take turns among the workers of one site."""
    scene.balancer.only = SITES[0]
    scene.balancer.affinity = False
    scene.crowd.wait_clicks(60)
    try:
        yield "going"
        with _all_killed(scene):
            yield "local"
            scene.wait()
        yield "back"
        scene.recover()
    finally:
        scene.balancer.only, scene.balancer.affinity = None, True


def all_gone_no_affinity(scene: Scene) -> Iterator[str]:
    """All nodes are killed; requests take turns among both sites, which cannot see each other."""
    scene.balancer.affinity = False
    scene.crowd.wait_clicks(60)
    try:
        scene.crowd.apart = True
        yield "going"
        with _all_killed(scene):
            yield "local"
            scene.wait()
        yield "back"
        scene.recover()
    finally:
        scene.crowd.apart = False
        scene.balancer.affinity = True


def all_gone_and_back_with_data(scene: Scene) -> Iterator[str]:
    """Nobody reaches any node for a while; they come back with the data of before."""
    yield "going"
    since = time.time()
    scene.stage.turn(Mode.CLOSES, NODES)
    scene.wait_local(since)
    yield "local"
    scene.wait()
    scene.stage.turn(Mode.OPEN, NODES)
    yield "back"


def all_hung(scene: Scene) -> Iterator[str]:
    """All nodes are stopped (SIGSTOP): they accept connections and never answer."""
    yield "hanging"
    since = time.time()
    for node_id in NODES:
        scene.stage.nodes[node_id].pause()
    scene.wait_local(since)
    yield "local"
    scene.wait()
    for node_id in NODES:
        scene.stage.nodes[node_id].resume()
    yield "back"


def worker_killed(scene: Scene) -> Iterator[str]:
    """A worker is killed (SIGKILL) in the middle of requests."""
    yield "killed"
    scene.stage.sites[SITES[0]].kill_worker()
    scene.wait()
    yield "back"


def site_killed(scene: Scene) -> Iterator[str]:
    """A whole site is killed and started again."""
    yield "killed"
    scene.balancer.down.add(SITES[1])
    site = scene.stage.sites[SITES[1]]
    site.kill()
    scene.wait()
    site.start()
    scene.balancer.down.discard(SITES[1])
    yield "back"


def local_disk_full(scene: Scene) -> Iterator[str]:
    """The disk of a site's local storage is full while a node dies."""
    folder = Path(str(scene.stage.sites[SITES[0]].config["MSM_LOCAL_DIR"]))
    with _full(folder):
        yield "full"
        scene.stage.nodes["n3"].kill()
        scene.wait()
        scene.stage.nodes["n3"].start()
    yield "back"


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Put a file system without room over *folder*; without the right to, leave it read-only."""
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=4k,mode=0700", "tmpfs", str(folder)]
    if (
        mount
        and subprocess.run([mount, *options], check=False, capture_output=True).returncode == 0
    ):
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    parts = [path for path in folder.rglob("*") if path.is_dir()]
    for path in parts:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in parts:
            path.chmod(0o700)


def records_corrupted(scene: Scene) -> Iterator[str]:
    """Every record in every node is overwritten with garbage."""
    yield "corrupt"
    for node in scene.stage.nodes.values():
        keys = [
            line.split()[0].partition("=")[2].replace("%3A", ":")
            for line in node.ask("lru_crawler metadump hash").splitlines()
            if line.startswith("key=")
        ]
        with node.connect() as connection, connection.makefile("rwb") as stream:
            for key in keys:
                if ":fleet:" not in key:
                    stream.write(f"set {key} 0 0 7\r\ngarbage\r\n".encode())
                    stream.flush()
                    stream.readline()
    scene.wait()
    yield "back"


ACTS: dict[str, tuple[str, Act]] = {
    "nodes-killed": ("each node killed, restarted empty", each_node_killed),
    "nodes-stopped": ("each node stopped, continued", each_node_stopped),
    "cut": ("one site cut off from one node", one_sided_cut),
    "closes": ("a node accepts and closes", _misbehaves(Mode.CLOSES)),
    "garbage": ("a node answers with garbage", _misbehaves(Mode.TOO_MANY)),
    "drips": ("a node drips", _misbehaves(Mode.DRIPS)),
    "all-empty": ("all nodes gone, back empty", all_gone_and_back_empty),
    "all-data": ("all nodes gone, back with data", all_gone_and_back_with_data),
    "all-hung": ("all nodes hung", all_hung),
    "all-one-site": ("all nodes gone, one site in turn", all_gone_one_site),
    "all-apart": ("all nodes gone, no affinity", all_gone_no_affinity),
    "worker": ("a worker killed", worker_killed),
    "site": ("a site killed", site_killed),
    "disk": ("local disk full, a node killed", local_disk_full),
    "corrupt": ("all records corrupted", records_corrupted),
}
#: What tells most in the shortest time.
SHORT = ("nodes-killed", "all-empty", "all-apart", "worker")
