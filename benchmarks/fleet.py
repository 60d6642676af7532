"""``python -m benchmarks.fleet``: what a tick of one worker costs as the fleet grows.

Many real applications in one process stand for the workers of a fleet; each does its ticks one
after another. Commands, bytes and conflicts are what memcached counted, processor time is that of
the thread that ticks: none of it depends on how busy the machine is otherwise, but for noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from .contenders import keep_by_ours
from .nodes import MemcachedError, running
from .shapes import application


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flask_msm.application import Cluster
    from harness.memcached import Memcached

#: Workers, and nodes.
FLEETS = (
    *((10, 3), (100, 3), (300, 3), (1000, 3), (5000, 3)),
    *((10, 10), (100, 10), (1000, 10), (5000, 10), (10, 30), (1000, 30), (5000, 30)),
)
#: In a fleet of more ways from workers to nodes only so many workers are real; the others stand in
#: the list of workers, as living ones do.
MOST_WAYS, REAL = 1000, 3
#: Ticks of each worker that are measured; workers announce themselves in some of them.
ROUNDS = 6
OPTIONS = ("-m", "64", "-t", "1", "-c", "20000")
COUNTED = ("cmd_get", "cmd_set", "bytes_read", "bytes_written", "cas_badval", "cas_hits")
#: A fleet in one process takes turns, so no worker is late.
PATIENCE = 30.0


class Row(NamedTuple):
    """What one tick of one worker costs.

    Attributes:
        quiet: Processor time of a tick in which it does not announce itself, milliseconds.
        announcing: The same of one in which it does, milliseconds.
        commands: Keys that were read and values that were written.
        received: From all nodes, kB.
        sent: To all nodes, kB.
        lost: Share of the writes that lost against another worker, while all started.
        connections: To each node.
    """

    quiet: float
    announcing: float
    commands: float
    received: float
    sent: float
    lost: float
    connections: float


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--fleets", default="", metavar="N:M,...", help="workers and nodes")
    arguments = parser.parse_args()
    chosen = [tuple(map(int, pair.split(":"))) for pair in arguments.fleets.split(",") if pair]
    print("a tick of one worker       cpu ms: quiet, announcing   commands   kB in  kB out", end="")
    print("   writes lost at the start   connections of a node and worker\n")
    try:
        for workers, nodes in chosen or FLEETS:
            row = _measured(workers, nodes)
            print(
                f"{workers:5} workers, {nodes:2} nodes {row.quiet:16.1f} {row.announcing:11.1f}"
                f" {row.commands:10.1f} {row.received:7.1f} {row.sent:7.1f} {row.lost:26.1%}"
                f" {row.connections:10.2f}",
                flush=True,
            )
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(workers: int, count: int) -> Row:
    with ExitStack() as closing:
        nodes = closing.enter_context(running(count, options=OPTIONS))
        real = workers if workers * count <= MOST_WAYS else REAL
        clusters = list(_workers(real, [node.port for node in nodes], closing))
        before = _counted(nodes)
        for _ in range(2):
            for cluster in clusters:
                cluster.monitor.tick()
        started = _since(before, nodes)
        if workers > real:
            pretend(workers - real, clusters)
        before = _counted(nodes)
        times = [_tick(cluster) for _ in range(ROUNDS) for cluster in clusters]
        counts = {name: value / len(times) for name, value in _since(before, nodes).items()}
        connections = sum(int(node.stats()["curr_connections"]) - 1 for node in nodes)
        quiet = [spent for spent, announced in times if not announced]
        announcing = [spent for spent, announced in times if announced]
        writes = started["cas_badval"] + started["cas_hits"]
        return Row(
            quiet=median(quiet or [0.0]) * 1e3,
            announcing=median(announcing or [0.0]) * 1e3,
            commands=counts["cmd_get"] + counts["cmd_set"],
            received=counts["bytes_written"] / 1e3,
            sent=counts["bytes_read"] / 1e3,
            lost=started["cas_badval"] / max(writes, 1),
            connections=connections / real / count,
        )


def _workers(count: int, ports: Sequence[int], closing: ExitStack) -> Iterator[Cluster]:
    for number in range(count):
        # No request comes, so no scheduler begins: ticks are done here.
        app = application(f"worker-{number}")
        manager = keep_by_ours(
            app,
            ports,
            closing,
            MSM_PROBE_INTERVAL=2.0,
            MSM_KEY_PREFIX="fleet:",
            MSM_MIRROR=False,
            MSM_ADMIN=False,
            MSM_TIMEOUT=PATIENCE,
            MSM_CONNECT_TIMEOUT=PATIENCE,
            MSM_REQUEST_DEADLINE=PATIENCE,
        )
        cluster = manager.state(app).parts.cluster
        assert cluster is not None  # noqa: S101  (there are nodes)
        yield cluster


def pretend(count: int, clusters: Sequence[Cluster]) -> list[str]:
    """Let *count* more workers stand in the list, each with what a real one announces.

    Returns:
        Their names.
    """
    workers = clusters[0].workers
    _, announced = workers.shared.entry(workers.worker)
    names = [f"web-{n // 8:03}.eu-west.example.net:{4000 + n}:{n:08x}" for n in range(count)]
    workers.shared.put_newest([(name, announced or b"") for name in names])
    if workers.beats is not None:
        beats = dict.fromkeys(map(workers.beats.key, names), 3600)
        for node in clusters[0].nodes.values():
            node.look([], [], time.monotonic() + PATIENCE, beats=beats)
    for _ in range(3):
        for cluster in clusters:
            cluster.monitor.tick()
    return names


def _tick(cluster: Cluster) -> tuple[float, bool]:
    """Do a tick; return its processor time in seconds, and whether the worker announced itself."""
    stamp = _announced(cluster)
    began = time.thread_time()
    cluster.monitor.tick()
    spent = time.thread_time() - began
    return spent, _announced(cluster) != stamp


def _announced(cluster: Cluster) -> int:
    """Return the stamp of what the worker announced last."""
    workers = cluster.workers
    return workers.shared.attributes.entries.get(workers.worker, (0, None))[0]


def _counted(nodes: Sequence[Memcached]) -> dict[str, int]:
    seen = [node.stats() for node in nodes]
    return {name: sum(int(stats[name]) for stats in seen) for name in COUNTED}


def _since(before: dict[str, int], nodes: Sequence[Memcached]) -> dict[str, int]:
    return {name: value - before[name] for name, value in _counted(nodes).items()}


if __name__ == "__main__":
    sys.exit(main())
