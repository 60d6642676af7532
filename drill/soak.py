"""A soak: faults at random, one after the other, for as long as one likes.

Rounds of a few faults are played on one stage. After each, all is well and what was acknowledged is
there; then workers that nothing happened to are measured: memory, descriptors and threads of theirs
must be level.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness.proxy import Fault

from .acts import Act
from .play import Played, play, stage_of
from .scene import Scene
from .stage import EAST, WEST


#: Faults of one round.
_FAULTS = 4
#: How often a drained node is switched off, and comes back empty.
_SWITCHED_OFF = 0.75
#: Seconds until all is well after a fault, on a machine that does other work beside.
_PATIENCE = 600.0
#: Seconds between two clicks of a visitor: others use the machine as well.
PAUSE = (0.1, 0.4)
#: What late figures may be above early ones: part of them, and so many (kB, descriptors, threads).
_SLACK = {"memory": (0.1, 8_000), "descriptors": (0.0, 8), "threads": (0.0, 2)}
#: Rounds before the first figures count: what is opened or filled at first use is no growth.
_WARM_UP = 2
#: Sessions end while it lasts, and what is kept of records in memory is full soon.
_SETTINGS: dict[str, object] = {
    "PERMANENT_SESSION_LIFETIME": 600,
    "MSM_RECORD_CACHE_BYTES": 1_000_000,
}


class Figures(NamedTuple):
    """What the workers of a site take, the most of any of them.

    Attributes:
        memory: Resident, kB.
        descriptors: Open ones.
        threads: All of them.
    """

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pids: Iterable[int]) -> Figures:
        """Measure processes."""
        page = os.sysconf("SC_PAGE_SIZE")
        folders = [Path("/proc", str(pid)) for pid in pids]
        return cls(
            max(int((one / "statm").read_text().split()[1]) * page // 1000 for one in folders),
            max(len(os.listdir(one / "fd")) for one in folders),  # noqa: PTH208
            max(len(os.listdir(one / "task")) for one in folders),  # noqa: PTH208
        )


def soak(
    seconds: float, seed: int, *, fault: float, visitors: int, logs: Path | None = None
) -> int:
    """Play rounds for a time, print how it went, and return the exit status.

    Args:
        seconds: For how long rounds begin.
        seed: Of the choice of faults.
        fault: Time in seconds a fault lasts.
        visitors: Number of browsers that click.
        logs: Where to keep what sites logged if something went wrong.
    """
    chance, until = random.Random(seed), time.monotonic() + seconds
    print(f"soak of {seconds:.0f} s, seed {seed}", flush=True)
    played: list[Played] = []
    figures: list[Figures] = []
    faults: Counter[str] = Counter()
    act = Act(
        title="soak", play=partial(_round, chance, faults), small_disk=True, settings=_SETTINGS
    )
    with stage_of(act) as stage:
        steady, went_well = stage.sites[WEST].pids(), False
        try:
            while time.monotonic() < until:
                one = play(
                    "soak",
                    act,
                    stage,
                    seconds=fault,
                    visitors=visitors,
                    judge_times=False,
                    pause=PAUSE,
                )
                played.append(one)
                figures.append(Figures.of(steady))
                _print_round(len(played), one, figures[-1])
            went_well = all(one.is_well for one in played)
        finally:
            if logs and not went_well:
                stage.keep_logs(logs / "soak")
    return _conclude(played, figures, faults, seed)


def _round(chance: random.Random, faults: Counter[str], scene: Scene) -> None:
    for name in chance.choices(list(FAULTS), k=_FAULTS):
        faults[name] += 1
        FAULTS[name](chance, scene)


def _node(chance: random.Random, scene: Scene) -> str:
    return chance.choice(scene.nodes)


def _killed(chance: random.Random, scene: Scene) -> None:
    node = _node(chance, scene)
    scene.stage.cluster.kill([node])
    scene.lasts(f"{node} killed")
    scene.stage.cluster.restart([node])
    scene.recover(_PATIENCE)


def _restarted(chance: random.Random, scene: Scene) -> None:
    node = _node(chance, scene)
    scene.stage.cluster.nodes[node].restart()
    scene.lasts(f"{node} restarted, empty")
    scene.recover(_PATIENCE)


def _stopped(chance: random.Random, scene: Scene) -> None:
    node = _node(chance, scene)
    scene.stage.cluster.pause([node])
    scene.lasts(f"{node} stopped")
    scene.stage.cluster.resume([node])
    scene.recover(_PATIENCE)


def _drained(chance: random.Random, scene: Scene) -> None:
    """Take a node out of use; while it is, something else goes wrong."""
    node, stage = _node(chance, scene), scene.stage
    stage.drain(node, _PATIENCE)
    if chance.random() < _SWITCHED_OFF:
        stage.cluster.nodes[node].restart()
    scene.lasts(f"{node} drained")
    FAULTS[chance.choice([name for name in FAULTS if name != DRAINED])](chance, scene)
    stage.undrain(node)
    scene.recover(_PATIENCE)


def _misbehaves(
    fault: Fault, places: tuple[str | None, ...], chance: random.Random, scene: Scene
) -> None:
    node, place = _node(chance, scene), chance.choice(places)
    scene.stage.cluster.set_fault(fault, [node], place)
    scene.lasts(f"{node} {fault.value}" + (f", for {place}" if place else ""))
    scene.stage.cluster.set_fault(Fault.NONE, [node], place)
    scene.recover(_PATIENCE)


def _worker(chance: random.Random, scene: Scene) -> None:
    del chance
    scene.kill_worker()
    scene.lasts("a worker killed")
    scene.recover(_PATIENCE)


def _deploy(chance: random.Random, scene: Scene) -> None:
    del chance
    scene.deploy(EAST, {})
    scene.lasts("deployed")
    scene.recover(_PATIENCE)


def _disk(chance: random.Random, scene: Scene) -> None:
    del chance
    stage = scene.stage
    assert stage.disk is not None  # noqa: S101  (the act asks for one)
    with stage.disk.full(stage.sites[EAST].pids()):
        scene.lasts("disk full")
    scene.recover(_PATIENCE)


DRAINED = "a node drained"
#: By name. The second site is neither deployed nor has workers killed: they are measured.
FAULTS: dict[str, Callable[[random.Random, Scene], None]] = {
    "a node killed": _killed,
    "a node restarted": _restarted,
    "a node stopped": _stopped,
    DRAINED: _drained,
    "a link cut": partial(_misbehaves, Fault.SWALLOWS, (EAST, WEST)),
    "a slow node": partial(_misbehaves, Fault.DRIPS, (None, EAST, WEST)),
    "a worker killed": _worker,
    "a deploy": _deploy,
    "a full disk": _disk,
}


def _print_round(number: int, one: Played, figures: Figures) -> None:
    taken = f"{figures.memory} kB, {figures.descriptors} descriptors, {figures.threads} threads"
    print(
        f"{time.strftime('%H:%M:%S')} round {number}: {one.requests} requests,"
        f" {'well' if one.is_well else 'NOT WELL'}; {taken}",
        flush=True,
    )
    for line in one.complaints:
        print(f"  {line}", flush=True)


def _conclude(played: list[Played], figures: list[Figures], faults: Counter[str], seed: int) -> int:
    count = {
        what: sum(getattr(one, what) for one in played)
        for what in ("requests", "errors", "lost", "signed_out", "undone", "logouts")
    }
    print(f"\nseed {seed}, {len(played)} rounds: {dict(faults)}")
    print(
        f"{count['requests']} requests, {count['errors']} errors, {count['lost']} lost changes,"
        f" {count['signed_out']} signed out, {count['undone']} of {count['logouts']} logouts undone"
    )
    grown = growth(figures)
    for line in grown:
        print(line)
    is_level = not any(line.endswith("NOT LEVEL") for line in grown)
    return 0 if played and all(one.is_well for one in played) and is_level else 1


def growth(figures: list[Figures]) -> list[str]:
    """Return how early figures compare with late ones, in words."""
    counted = figures[_WARM_UP:]
    if len(counted) < 4:
        return ["too few rounds to tell whether memory, descriptors and threads are level"]
    quarter = max(1, len(counted) // 4)
    lines = []
    for at, name in enumerate(Figures._fields):
        early = median(one[at] for one in counted[:quarter])
        late = median(one[at] for one in counted[-quarter:])
        part, more = _SLACK[name]
        verdict = "level" if late <= early * (1 + part) + more else "NOT LEVEL"
        lines.append(f"{name}: early {early:.0f}, late {late:.0f}: {verdict}")
    return lines
