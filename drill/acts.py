"""The acts: what happens to nodes and sites while people click."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from harness.proxy import Fault

from .browser import Gate
from .cluster import OPTIONS
from .deploys import (
    IDLE,
    NEW_KEY,
    OLD_KEY,
    codec_changed,
    ids_shifted,
    key_changed,
    lists_changed,
    there_and_back,
    upgraded,
)
from .earlier import FORMAT_1, LONG_AGO
from .fleets import (
    PATIENT,
    fleet_started,
    rebuilder_killed,
    worker_cut_off,
)
from .scene import Scene
from .stage import EAST, WEST


Play = Callable[[Scene], None]
Step = Callable[[Scene], object]
#: People who sign in while a fault lasts.
_ARRIVALS = 4
#: Two megabytes for each node, and sessions enough to have most of what is in use thrown out by
#: the last round if browsers that read did not keep both copies young.
_SMALL = ("-m", "2")
_SMALL_ITEMS = ("-m", "64", "-I", "512k")
_READERS, _ROUNDS, _PASSERS_BY = 18, 4, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act.

    Attributes:
        title: What happens, for the table.
        play: Plays it.
        settings: More settings of every worker.
        one_site: Only one site is used.
        affinity: The balancer sends browsers back to their site.
        small_disk: It needs a disk that can be filled.
        workers: Number of worker processes of each site.
        memcached: Options of each memcached.
        wrong_clock: The clock of the second site is an hour ahead.
        nodes: More nodes, which are not used at first.
        earlier: The commit of the project that the sites run at first, if not this one.
    """

    title: str
    play: Play
    settings: dict[str, object] = field(default_factory=dict)
    one_site: bool = False
    affinity: bool = True
    small_disk: bool = False
    workers: int = 2
    memcached: tuple[str, ...] = OPTIONS
    wrong_clock: bool = False
    nodes: tuple[str, ...] = ()
    earlier: str = ""

    def stage(self) -> Act:
        """Return what it needs, the same for all acts that can be played on one stage."""
        return replace(self, title="", play=worker_killed)


def each_node_killed(scene: Scene) -> None:
    """Kill each node in turn, and start it again, empty."""
    for node in scene.nodes:
        scene.stage.cluster.kill([node])
        scene.lasts(f"{node} killed")
        scene.stage.cluster.restart([node])
        scene.recover()


def each_node_stopped(scene: Scene) -> None:
    """Stop each node in turn (SIGSTOP), and let it go on (SIGCONT)."""
    for node in scene.nodes:
        scene.stage.cluster.pause([node])
        scene.lasts(f"{node} stopped")
        scene.stage.cluster.resume([node])
        scene.recover()


def misbehaves(fault: Fault, place: str | None, scene: Scene) -> None:
    """Have one node misbehave for all sites, or for one place."""
    scene.stage.cluster.set_fault(fault, ["n2"], place)
    scene.lasts(f"n2 {fault.value}")
    scene.stage.cluster.set_fault(Fault.NONE, ["n2"], place)
    scene.recover()


def evictions(scene: Scene) -> None:
    """Fill nodes that have little memory, and kill one of them.

    Browsers that go on reading must survive it: the copies that are left are those in use.
    """
    crowd = scene.crowd(_READERS)
    for _ in range(_ROUNDS):
        scene.phase("evictions")
        crowd.come_once(_PASSERS_BY)
        crowd.read()
    crowd.come_once(_PASSERS_BY)
    evicted = scene.stage.cluster.evictions()
    if not all(evicted.values()):
        raise AssertionError(f"this act needs nodes that evict; they evicted {evicted}")
    scene.kill_before_fresh_eyes(crowd, "n1", "evictions, n1 killed")
    crowd.read()
    scene.stage.cluster.restart(["n1"])
    scene.recover()


@contextmanager
def _hung(scene: Scene, node: str) -> Iterator[None]:
    scene.stage.cluster.pause([node])
    try:
        yield
    finally:
        scene.stage.cluster.resume([node])


def faults_in_turn(scene: Scene) -> None:
    """Have nodes fail in every way, one after the other, for all sites or for one of them."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    for node in scene.nodes:
        cluster.kill([node])
        if node == "n1":
            scene.lasts(f"{node} killed")
        cluster.restart([node])
        scene.phase(f"{node} back empty")
        scene.recover()
    crowd.look_from(scene.stage.fresh.port, Gate())
    with _hung(scene, "n2"):
        scene.lasts("n2 stopped")
    scene.recover()
    cluster.nodes["n3"].flush()
    scene.lasts("n3 flushed")
    scene.recover()
    for node, fault in zip(
        ("n1", "n2", "n3", "n1"),
        (Fault.SWALLOWS, Fault.CLOSES, Fault.DRIPS, Fault.TOO_MANY),
        strict=True,
    ):
        cluster.set_fault(fault, [node], WEST)
        scene.lasts(f"{node} {fault.value}, for one site")
        cluster.set_fault(Fault.NONE, [node], WEST)
        scene.recover()
    # Too short for a worker to mark the node as down: what it missed is repaired.
    scene.phase("n1 hung for a moment")
    scene.leave_during(_hung(scene, "n1"))
    scene.lasts("after n1 hung for a moment")
    scene.recover()


def all_away(go: Step, come_back: Step, meanwhile: Step | None, scene: Scene) -> None:
    """Have no node be reached for a while, and all at once."""
    scene.begin_outage()
    go(scene)
    scene.outage()
    if meanwhile:
        meanwhile(scene)
        scene.lasts("local, a worker killed")
    come_back(scene)
    scene.recover()


def distribution_stopped(scene: Scene) -> None:
    """Have an operator stop distribution, and let it go on, while browsers change hosts."""
    scene.begin_outage("stopping")
    scene.stage.stop_distribution()
    scene.lasts("stopped")
    # Sessions that began on one host are new to the nodes and to the other host.
    scene.arrive(_ARRIVALS)
    scene.lasts("stopped, more people")
    scene.stage.resume_distribution()
    scene.recover()


def worker_killed(scene: Scene) -> None:
    """Kill a worker (SIGKILL) in the middle of requests."""
    scene.kill_worker()
    scene.lasts("a worker killed")
    scene.recover()


def clock_wrong(scene: Scene) -> None:
    """Have browsers go to and fro between hosts whose clocks differ, while a node dies."""
    if "the clock of host" not in scene.stage.sites[WEST].log.read_text():
        raise AssertionError(
            f"this act needs a wrong clock; the workers of {WEST} have not noticed one"
        )
    scene.lasts("a clock an hour ahead")
    scene.stage.cluster.kill(["n2"])
    scene.lasts("a clock an hour ahead, n2 killed")
    scene.stage.cluster.restart(["n2"])
    scene.recover()


def large_sessions(scene: Scene) -> None:
    """Have sessions that are too large for the nodes, while all nodes go and come back empty."""
    scene.heavy(raises=False)
    scene.lasts("large sessions")
    all_away(lambda s: s.stage.cluster.kill(), lambda s: s.stage.cluster.restart(), None, scene)


def large_sessions_refused(scene: Scene) -> None:
    """Have requests that make a session too large fail, while a node dies."""
    scene.heavy(raises=True)
    scene.lasts("large sessions")
    scene.stage.cluster.kill(["n2"])
    scene.lasts("large sessions, n2 killed")
    scene.stage.cluster.restart(["n2"])
    scene.recover()


def addresses_exchanged(scene: Scene) -> None:
    """Have two nodes exchange their addresses, and kill another one afterwards."""
    crowd = scene.crowd(IDLE)
    scene.stage.cluster.rename(("n2", "n1", "n3"))
    scene.stage.cluster.lead_all()
    scene.lasts("addresses exchanged")
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n3", "addresses exchanged, n3 killed")
    scene.lasts("addresses exchanged, n3 killed")
    scene.stage.cluster.restart(["n3"])
    scene.recover()


def ids_shifted_at_once(scene: Scene) -> None:
    """Replace the first node, and have all ids lead to other memories under running workers."""
    cluster, crowd = scene.stage.cluster, scene.crowd(IDLE)
    cluster.kill(["n1"])
    cluster.rename(("n2", "n3", "n1"))
    cluster.nodes["n3"].start()
    cluster.lead_all()
    scene.lasts("ids shifted at once")
    scene.recover()
    scene.kill_before_fresh_eyes(crowd, "n2", "ids shifted at once, n2 killed")
    scene.lasts("ids shifted at once, n2 killed")
    cluster.restart(["n2"])
    scene.recover()


def site_killed(scene: Scene) -> None:
    """Kill a site, and start it again."""
    scene.kill_site(WEST)
    scene.lasts("a site killed")
    scene.stage.sites[WEST].start()
    scene.recover()


def disk_full(scene: Scene) -> None:
    """Fill the disk of one site while a node dies."""
    disk = scene.stage.disk
    if disk is None:
        raise AssertionError("this act needs a disk that can be filled")
    scene.remark = f"full disk: {disk.how}"
    with disk.full(scene.stage.sites[EAST].pids()):
        scene.lasts("disk full")
        scene.stage.cluster.kill(["n3"])
        scene.lasts("disk full, n3 killed")
    scene.stage.cluster.restart(["n3"])
    scene.recover()


def records_corrupted(scene: Scene) -> None:
    """Put garbage in the place of every record in every node."""
    scene.spoil()
    scene.lasts("corrupted")
    scene.recover()


_STICKY: dict[str, object] = {"MSM_STICKY": True}
#: How all nodes go and come back: name, title, both.
_AWAY: tuple[tuple[str, str, Step, Step], ...] = (
    (
        "empty",
        "gone, back empty",
        lambda s: s.stage.cluster.kill(),
        lambda s: s.stage.cluster.restart(),
    ),
    (
        "data",
        "gone, back with old data",
        lambda s: s.stage.cluster.set_fault(Fault.REFUSES),
        lambda s: s.stage.cluster.set_fault(Fault.NONE),
    ),
    (
        "hung",
        "hung (SIGSTOP)",
        lambda s: s.stage.cluster.pause(),
        lambda s: s.stage.cluster.resume(),
    ),
)


def _all_acts() -> Iterator[tuple[str, Act]]:
    yield "nodes-killed", Act(title="each node killed, back empty", play=each_node_killed)
    yield "nodes-stopped", Act(title="each node stopped (SIGSTOP)", play=each_node_stopped)
    for name, title, fault, place in (
        ("cut", "one site cut off from a node", Fault.SWALLOWS, WEST),
        ("closes", "a node accepts and closes", Fault.CLOSES, None),
        ("garbage", "a node answers with garbage", Fault.GARBAGE, None),
        ("drips", "a node drips", Fault.DRIPS, None),
    ):
        yield name, Act(title=title, play=partial(misbehaves, fault, place))
    yield (
        "evictions",
        Act(title="evictions, then a node killed", play=evictions, memcached=_SMALL, workers=1),
    )
    for name, how, go, back in _AWAY:
        play = partial(all_away, go, back, None)
        title = f"all nodes {how}"
        yield f"all-{name}", Act(title=f"{title}: sticky", play=play, settings=_STICKY)
        yield f"all-{name}-site", Act(title=f"{title}: one site", play=play, one_site=True)
        yield f"all-{name}-apart", Act(title=f"{title}: any site", play=play, affinity=False)
    _, _, go, back = _AWAY[0]
    yield (
        "all-worker",
        Act(
            title="all nodes gone, a worker killed: sticky",
            play=partial(all_away, go, back, Scene.kill_worker),
            settings=_STICKY,
        ),
    )
    yield (
        "stopped",
        Act(
            title="distribution stopped, then resumed: any site",
            play=distribution_stopped,
            affinity=False,
        ),
    )
    yield (
        "clock",
        Act(
            title="a host's clock an hour ahead, a node killed: any site",
            play=clock_wrong,
            # Shorter than the clock is off.
            settings={"PERMANENT_SESSION_LIFETIME": 1800},
            affinity=False,
            wrong_clock=True,
        ),
    )
    yield (
        "large",
        Act(
            title="large sessions, nodes of -I 512k gone, back empty: local",
            play=large_sessions,
            settings={"MSM_SERIALIZATION_POLICY": "local"},
            workers=1,
            memcached=_SMALL_ITEMS,
        ),
    )
    yield (
        "large-raise",
        Act(
            title="large sessions, a node of -I 512k killed: raise",
            play=large_sessions_refused,
            settings={"MSM_SERIALIZATION_POLICY": "raise"},
            memcached=_SMALL_ITEMS,
        ),
    )
    yield (
        "key",
        Act(
            title="another key to encrypt, host by host, nodes killed",
            play=key_changed,
            settings={"MSM_ENCRYPTION_KEYS": [OLD_KEY, NEW_KEY]},
        ),
    )
    yield (
        "codec",
        Act(
            title="another codec, host by host, nodes killed: any site",
            play=codec_changed,
            affinity=False,
        ),
    )
    yield "faults", Act(title="nodes fail in every way, for all sites or one", play=faults_in_turn)
    yield (
        "lists",
        Act(
            title="another list of nodes, host by host, a node killed",
            play=lists_changed,
            nodes=("n4",),
        ),
    )
    yield (
        "upgrade",
        Act(
            title="an upgrade, host by host, nodes killed: any site",
            play=upgraded,
            affinity=False,
            earlier=LONG_AGO,
        ),
    )
    yield (
        "back",
        Act(
            title="an upgrade, back, and forward again, nodes killed: any site",
            play=there_and_back,
            affinity=False,
            earlier=FORMAT_1,
        ),
    )
    yield (
        "exchanged",
        Act(title="two nodes exchange addresses, another killed", play=addresses_exchanged),
    )
    yield (
        "shifted",
        Act(title="ids shifted by a deploy, a node killed", play=ids_shifted),
    )
    yield (
        "shifted-at-once",
        Act(title="ids shifted under running workers, a node killed", play=ids_shifted_at_once),
    )
    yield (
        "cut-off",
        Act(
            title="one worker cut off from a node that comes back empty",
            play=worker_cut_off,
            workers=1,
        ),
    )
    yield (
        "rebuilder",
        Act(
            title="100,000 sessions rebuilt, the worker that does it killed",
            play=rebuilder_killed,
            memcached=("-m", "512"),
        ),
    )
    yield (
        "at-once",
        Act(
            title="100 workers start at once on empty nodes",
            play=fleet_started,
            settings=PATIENT,
            workers=50,
        ),
    )
    yield "worker", Act(title="a worker killed", play=worker_killed)
    yield "site", Act(title="a site killed", play=site_killed)
    yield "disk", Act(title="local disk full, a node killed", play=disk_full, small_disk=True)
    yield (
        "disk-sticky",
        Act(
            title="the same: sticky",
            play=disk_full,
            small_disk=True,
            settings=_STICKY,
        ),
    )
    yield "corrupt", Act(title="every record corrupted", play=records_corrupted)


ACTS: dict[str, Act] = dict(_all_acts())
#: Stands between acts that are played on one stage.
TOGETHER = "+"
#: The acts with the most coverage in the shortest time. One that changes what runs is the last on
#: its stage. What nodes that are full, or take no large items, do to sessions is shown without
#: people by ``tests/integration/test_full_nodes.py``.
SHORT = ("all-empty", "stopped+codec", "clock", "faults+worker+exchanged", "upgrade")
