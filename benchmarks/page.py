"""``python -m benchmarks.page``: what a page of the dashboard costs as the fleet grows.

One real application shows a fleet in which all other workers are reports, each as large as that of
the real one. Processor time of the thread that answers, the same with all that the process does
meanwhile (it ticks, and it is the worker that gathers the reports), and bytes of the page.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from flask_msm_dashboard import loopback_only

from .contenders import keep_by_ours
from .fleet import OPTIONS, PATIENCE, pretend
from .nodes import MemcachedError, running
from .shapes import add_views, application


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask.testing import FlaskClient

    from flask_msm.application import Cluster

#: Workers, and nodes.
FLEETS = ((4, 3), (100, 10), (1000, 10), (1000, 30))
PAGES = {"overview": "", "nodes": "nodes/", "workers": "workers/", "state": "api/v1/state"}
#: Requests for each page, each after the fleet was gathered anew.
ROUNDS = 5
#: A digest is read anew after so many seconds.
REFRESH = 1.1


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--fleets", default="", metavar="N:M,...", help="workers and nodes")
    arguments = parser.parse_args()
    chosen = [tuple(map(int, pair.split(":"))) for pair in arguments.fleets.split(",") if pair]
    print(
        "a page that shows new numbers: cpu ms of the request + of gathering, kB as sent (gzip)\n"
    )
    try:
        for workers, nodes in chosen or FLEETS:
            row = "  ".join(
                f"{name} {own * 1e3:4.0f} + {behind * 1e3:3.0f} ms, {size / 1e3:3.1f} kB"
                for name, (own, behind, size) in _measured(workers, nodes).items()
            )
            print(f"{workers:5} workers, {nodes:2} nodes   {row}", flush=True)
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measured(workers: int, count: int) -> dict[str, tuple[float, float, int]]:
    with ExitStack() as closing:
        nodes = closing.enter_context(running(count, options=OPTIONS))
        app = application("page")
        manager = keep_by_ours(
            app,
            [node.port for node in nodes],
            closing,
            MSM_KEY_PREFIX="page:",
            MSM_MIRROR=False,
            MSM_ADMIN_ACCESS=loopback_only,
            MSM_TIMEOUT=PATIENCE,
            MSM_CONNECT_TIMEOUT=PATIENCE,
            MSM_REQUEST_DEADLINE=PATIENCE,
        )
        add_views(app, {f"name{number:03}": "x" for number in range(10)})
        cluster = manager.state(app).parts.cluster
        assert cluster is not None  # noqa: S101  (there are nodes)
        client = app.test_client()
        for path in ("/first", "/read", "/write") * 20:
            client.get(path).close()
        cluster.monitor.tick()
        names = pretend(workers - 1, [cluster])
        _report(cluster, names)
        cluster.monitor.tick()
        return {name: _page(client, path, workers) for name, path in PAGES.items()}


def _report(cluster: Cluster, names: Sequence[str]) -> None:
    """Have each worker of *names* report what the real one does."""
    facts = cluster.reporter.facts(cluster.monitor.prober.numbers)
    for name in names:
        host, pid, _ = name.split(":")
        sealed = cluster.reporter.reports.seal(name, facts | {"host": host, "pid": int(pid)})
        cluster.reporter.reports.publish(name, sealed, time.monotonic() + PATIENCE)


def _page(client: FlaskClient, path: str, workers: int) -> tuple[float, float, int]:
    times, behind, size = [], [], 0
    for _ in range(ROUNDS):
        began = time.process_time()
        time.sleep(REFRESH)
        own = time.thread_time()
        answer = client.get(f"/msm-admin/{path}")
        times.append(time.thread_time() - own)
        behind.append(time.process_time() - began - times[-1])
        size = len(gzip.compress(answer.data))
        seen = (answer.json or {}).get("workers_total", workers)
        if answer.status_code != 200 or seen != workers:
            message = f"/msm-admin/{path} answered {answer.status}, with {seen} workers"
            raise MemcachedError(message)
    return median(times), median(behind), size


if __name__ == "__main__":
    sys.exit(main())
