"""The acts: what happens to nodes and sites while people click."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from .app import CODEC, READS_JSON, WRITES_JSON
from .browser import Gate
from .cluster import OPTIONS
from .crowd import Crowd
from .door import Way
from .scene import Scene
from .stage import EAST, FRESH, OUTSIDE, WEST
from .waiting import DrillError


Play = Callable[[Scene], None]
Fault = Callable[[Scene], object]
#: People who sign in while a fault lasts.
_ARRIVALS = 4
#: People who are idle while a fault lasts.
_IDLE = 30
#: Two megabytes for each node, and sessions enough to have most of what is in use thrown out by
#: the last round if browsers that read did not keep both copies young.
_SMALL = ("-m", "2")
_OLD_KEY, _NEW_KEY = secrets.token_hex(32), secrets.token_hex(32)
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
        scene.stage.cluster.stop([node])
        scene.lasts(f"{node} stopped")
        scene.stage.cluster.go_on([node])
        scene.recover()


def misbehaves(way: Way, place: str | None, scene: Scene) -> None:
    """Have one node misbehave for all sites, or for one place."""
    scene.stage.cluster.turn(way, ["n2"], place)
    scene.lasts(f"n2 {way.value}")
    scene.stage.cluster.turn(Way.OPEN, ["n2"], place)
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
        raise DrillError(f"this act needs nodes that evict; they evicted {evicted}")
    _kill_before_fresh_eyes(scene, crowd, "n1", "evictions, n1 killed")
    crowd.read()
    scene.stage.cluster.restart(["n1"])
    scene.recover()


def _kill_before_fresh_eyes(scene: Scene, crowd: Crowd, node: str, phase: str) -> None:
    """Kill a node; a site with nothing in local storage must find all in those that are left."""
    with scene.clicks_paused():
        scene.stage.cluster.kill([node])
        scene.phase(phase)
        crowd.look_from(scene.stage.fresh.port, Gate())


def all_away(go: Fault, come_back: Fault, meanwhile: Fault | None, scene: Scene) -> None:
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
        raise DrillError(
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


def key_changed(scene: Scene) -> None:
    """Change the key that encrypts, one host after the other, and kill nodes in the middle.

    As the documentation has it, all hosts decrypt with both keys before the first one encrypts
    with the new one.
    """
    settings = {"MSM_ENCRYPTION_KEYS": [_NEW_KEY, _OLD_KEY]}
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


def addresses_exchanged(scene: Scene) -> None:
    """Have two nodes exchange their addresses, and kill another one afterwards."""
    crowd = scene.crowd(_IDLE)
    scene.stage.cluster.rename(("n2", "n1", "n3"))
    scene.stage.cluster.lead_all()
    scene.lasts("addresses exchanged")
    scene.recover()
    _kill_before_fresh_eyes(scene, crowd, "n3", "addresses exchanged, n3 killed")
    scene.lasts("addresses exchanged, n3 killed")
    scene.stage.cluster.restart(["n3"])
    scene.recover()


def ids_shifted(scene: Scene) -> None:
    """Replace the first node and number the others anew, as a template does with its list."""
    cluster, crowd = scene.stage.cluster, scene.crowd(_IDLE)
    cluster.kill(["n1"])
    scene.lasts("n1 killed")
    cluster.rename(("n2", "n3", "n1"))
    cluster.nodes["n3"].start()
    for name in (*scene.stage.sites, FRESH, OUTSIDE):
        scene.deploy(name, {}, partial(cluster.lead, name))
    scene.lasts("ids shifted")
    scene.recover()
    _kill_before_fresh_eyes(scene, crowd, "n2", "ids shifted, n2 killed")
    scene.lasts("ids shifted, n2 killed")
    cluster.restart(["n2"])
    scene.recover()


def ids_shifted_at_once(scene: Scene) -> None:
    """Replace the first node, and have all ids lead to other memories under running workers."""
    cluster, crowd = scene.stage.cluster, scene.crowd(_IDLE)
    cluster.kill(["n1"])
    cluster.rename(("n2", "n3", "n1"))
    cluster.nodes["n3"].start()
    cluster.lead_all()
    scene.lasts("ids shifted at once")
    scene.recover()
    _kill_before_fresh_eyes(scene, crowd, "n2", "ids shifted at once, n2 killed")
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
        raise DrillError("this act needs a disk that can be filled")
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
_AWAY: tuple[tuple[str, str, Fault, Fault], ...] = (
    (
        "empty",
        "gone, back empty",
        lambda s: s.stage.cluster.kill(),
        lambda s: s.stage.cluster.restart(),
    ),
    (
        "data",
        "gone, back with old data",
        lambda s: s.stage.cluster.turn(Way.REFUSES),
        lambda s: s.stage.cluster.turn(Way.OPEN),
    ),
    ("hung", "hung (SIGSTOP)", lambda s: s.stage.cluster.stop(), lambda s: s.stage.cluster.go_on()),
)


def _all_acts() -> Iterator[tuple[str, Act]]:
    yield "nodes-killed", Act(title="each node killed, back empty", play=each_node_killed)
    yield "nodes-stopped", Act(title="each node stopped (SIGSTOP)", play=each_node_stopped)
    for name, title, way, place in (
        ("cut", "one site cut off from a node", Way.SWALLOWS, WEST),
        ("closes", "a node accepts and closes", Way.CLOSES, None),
        ("garbage", "a node answers with garbage", Way.GARBAGE, None),
        ("drips", "a node drips", Way.DRIPS, None),
    ):
        yield name, Act(title=title, play=partial(misbehaves, way, place))
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
            settings={"MSM_ENCRYPTION_KEYS": [_OLD_KEY, _NEW_KEY]},
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
#: The acts with the most coverage in the shortest time.
SHORT = (
    "all-empty",
    "evictions",
    "stopped",
    "clock",
    "large-raise",
    "codec",
    "exchanged",
    "shifted",
    "worker",
)
