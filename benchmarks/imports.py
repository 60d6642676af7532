"""``python -m benchmarks.imports``: what a worker costs when it is set up, and after a request."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from harness.memcached import addresses
from harness.processes import HOST

from .nodes import MemcachedError, running


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.memcached import Memcached


ROUNDS = 15

_FLASK = """
from flask import Flask, session
"""
_APPLICATION = """
app = Flask("imports")
app.secret_key = "only for measuring"
"""
_REQUEST = """
@app.get("/")
def visit():
    session["seen"] = 1
    return "ok"
app.test_client().get("/").close()
"""
_REPORT = """
import os, sys, time
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * os.sysconf("SC_PAGE_SIZE"), time.process_time(), len(sys.modules))
sys.stdout.flush()
os._exit(0)
"""

#: By label: what is imported, and how the application is set up.
CONTENDERS: Mapping[str, tuple[str, str]] = {
    "Flask": ("", ""),
    "Flask-Session": (
        """
from flask_session import Session
from pymemcache.client.base import Client
""",
        """
client = Client((HOST, PORTS[0]), no_delay=True)
app.config.update(SESSION_TYPE="memcached", SESSION_MEMCACHED=client)
Session(app)
""",
    ),
    "flask_msm": (
        """
from flask_msm import MemcachedSessionManager
""",
        """
app.config.update(MSM_NODES=NODES, MSM_LOCAL_DIR=FOLDER, MSM_ADMIN=False)
MemcachedSessionManager(app)
""",
    ),
    "flask_msm, dashboard": (
        """
from flask_msm import MemcachedSessionManager
""",
        """
app.config.update(MSM_NODES=NODES, MSM_LOCAL_DIR=FOLDER)
MemcachedSessionManager(app)
""",
    ),
    # What flask_msm imports, each by itself.
    "Flask, APScheduler": ("import apscheduler.schedulers.background", ""),
    "Flask, ormsgpack": ("import ormsgpack", ""),
    "Flask, pymemcache": ("import pymemcache.client.base", ""),
    "Flask, cachelib": ("import cachelib.file", ""),
}


class Cost(NamedTuple):
    """What one process took.

    Attributes:
        wall: Time in seconds from its start to its end.
        cpu: Time in seconds it had the processor.
        resident: Memory at its end, bytes.
        modules: How many modules it had imported.
    """

    wall: float
    cpu: float
    resident: int
    modules: int


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        with running(2) as nodes, tempfile.TemporaryDirectory() as folder:
            set_up = _measured(_set_up, nodes, folder, max(1, arguments.rounds))
            served = _measured(_serving, nodes, folder, max(1, arguments.rounds))
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"set_up": set_up, "served": served}, indent=1))
    else:
        print(_table(set_up, served))
    return 0


def _set_up(label: str) -> str:
    imports, set_up = CONTENDERS[label]
    return _FLASK + imports + _APPLICATION + set_up


def _serving(label: str) -> str:
    return _set_up(label) + _REQUEST


def _measured(
    program: Callable[[str], str], nodes: Sequence[Memcached], folder: str, rounds: int
) -> dict[str, Cost]:
    """Return the median of each contender; they take turns, each in a fresh process."""
    names = {
        "HOST": HOST,
        "PORTS": [node.port for node in nodes],
        "NODES": addresses(nodes).split(),
        "FOLDER": folder,
    }
    head = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    found: dict[str, list[Cost]] = {label: [] for label in CONTENDERS}
    # The first round reads files and writes byte code.
    for number in range(rounds + 1):
        for label, costs in found.items():
            cost = _run(head + program(label) + _REPORT)
            if number:
                costs.append(cost)
    return {
        label: Cost(
            median(cost.wall for cost in costs),
            median(cost.cpu for cost in costs),
            round(median(cost.resident for cost in costs)),
            round(median(cost.modules for cost in costs)),
        )
        for label, costs in found.items()
    }


def _run(program: str) -> Cost:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - began
    resident, cpu, modules = done.stdout.split()
    return Cost(wall, float(cpu), int(resident), int(modules))


def _table(set_up: Mapping[str, Cost], served: Mapping[str, Cost]) -> str:
    lines = [
        f"{'':22}{'set up':^34}{'after its first request':^34}",
        f"{'':22}" + f"{'wall ms':>8}{'cpu ms':>8}{'MB':>8}{'modules':>9} " * 2,
    ]
    for label in CONTENDERS:
        cells = [
            f"{cost.wall * 1e3:8.0f}{cost.cpu * 1e3:8.0f}{cost.resident / 1e6:8.1f}{cost.modules:9}"
            for cost in (set_up[label], served[label])
        ]
        lines.append(f"{label:22}" + " ".join(cells))
    lines.append(
        "Fresh processes that take turns, medians; the interpreter itself is part of every figure."
        " Compare cpu where the machine does other things as well."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
