"""``python -m benchmarks.throughput``: requests per second under gunicorn, asked by wrk.

Each contender is served by two workers of four threads and asked over sixteen connections, with
a different session in each request. Runs take turns, the median counts. Then one node is stopped
(SIGSTOP): the one that Flask-Session uses, and one of our three.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.gunicorn import Gunicorn
from harness.memcached import addresses
from harness.processes import HOST

from .nodes import MemcachedError, running


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.memcached import Memcached


WORKERS, THREADS, CONNECTIONS, SESSIONS = 2, 4, 16, 400
PATHS = ("/read", "/write")
CONTENDERS = {
    "flask": "Flask, cookie",
    "flask-session": "Flask-Session",
    "ours": "flask_msm, two copies",
    "ours-sticky": "flask_msm, sticky",
}
#: Time in seconds until a server has to answer, or to end.
PATIENCE = 20.0

_SCRIPT = """
local cookies, number = {}, 0
for line in io.lines(os.getenv("COOKIES")) do cookies[#cookies + 1] = line end
request = function()
  number = number + 1
  wrk.headers["Cookie"] = cookies[number % #cookies + 1]
  return wrk.format()
end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
"""


class Run(NamedTuple):
    """What wrk saw.

    Attributes:
        rate: Good answers per second.
        median: Latency, milliseconds.
        p99: The same, which one in a hundred exceeds.
        failed: Answers other than 200, and requests without one.
    """

    rate: float
    median: float
    p99: float
    failed: float


class Server:
    """One contender behind a port.

    Args:
        name: Which one.
        port: Where it is served.
        folder: For cookies and what wrk needs.
    """

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self._port = port
        self._cookies = folder / f"{name}.cookies"
        self._script = folder / "visit.lua"
        self._script.write_text(_SCRIPT, encoding="ascii")

    def open_sessions(self) -> None:
        """Get all sessions that will be used, each by a first request."""
        cookies = []
        for _ in range(SESSIONS):
            connection = HTTPConnection(HOST, self._port, timeout=PATIENCE)
            connection.request("GET", "/first")
            cookies.append((connection.getresponse().getheader("Set-Cookie") or "").split(";")[0])
            connection.close()
        self._cookies.write_text("\n".join(cookies) + "\n", encoding="ascii")

    def ask(self, path: str, seconds: int) -> Run:
        """Send requests for some seconds."""
        url = f"http://{HOST}:{self._port}{path}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s"]
        done = subprocess.run(
            [*command, "-s", str(self._script), url],
            env={**os.environ, "COOKIES": str(self._cookies)},
            capture_output=True,
            text=True,
            check=True,
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
        requests, duration, median, p99, bad, lost = map(int, line.split()[1:])
        return Run((requests - bad) / (duration / 1e6), median / 1e3, p99 / 1e3, bad + lost)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, metavar="S", help="of each run")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each kind")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed. On Debian and Ubuntu: apt-get install wrk", file=sys.stderr)
        return 1
    try:
        with running(3) as nodes, ExitStack() as started:
            folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            servers = [started.enter_context(_serving(name, nodes, folder)) for name in CONTENDERS]
            _print("all nodes up", _rounds(servers, arguments.rounds, arguments.seconds))
            _print_connections(nodes)
            nodes[0].pause()
            try:
                _print("one node hangs", _rounds(servers, arguments.rounds, arguments.seconds))
            finally:
                nodes[0].resume()
    except MemcachedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _rounds(servers: Sequence[Server], rounds: int, seconds: int) -> dict[tuple[str, str], Run]:
    runs = defaultdict(list)
    for number in range(rounds):
        for server in servers if number % 2 else reversed(servers):
            for path in PATHS:
                runs[server.name, path].append(server.ask(path, seconds))
    return {
        key: Run(*(statistics.median(part) for part in zip(*found, strict=True)))
        for key, found in runs.items()
    }


@contextmanager
def _serving(name: str, nodes: Sequence[Memcached], folder: Path) -> Iterator[Server]:
    config: dict[str, Any] = {}
    if name.startswith("ours"):
        config = {
            "MSM_NODES": addresses(nodes),
            "MSM_KEY_PREFIX": f"{name}:",
            "MSM_LOCAL_DIR": str(folder / name),
            "MSM_STICKY": name.endswith("sticky"),
            "MSM_ADMIN": False,
        }
        (folder / name).mkdir(mode=0o700)
    settings = {"config": config, "node": [HOST, nodes[0].port]}
    gunicorn = Gunicorn(
        "benchmarks.served:make_app()",
        # Nowhere: it writes a trace for each answer that fails, with a node that hangs.
        Path(os.devnull),
        *("--threads", str(THREADS), "--worker-class", "gthread"),
        *("--keep-alive", "30", "--log-level", "error"),
        workers=WORKERS,
        environ={"SESSIONS": name, "SETTINGS": json.dumps(settings)},
    )
    with closing(gunicorn):
        gunicorn.start()
        gunicorn.wait_ready("/first")
        server = Server(name, gunicorn.port, folder)
        server.open_sessions()
        yield server


def _print(title: str, runs: dict[tuple[str, str], Run]) -> None:
    print(f"\n{title}: good answers per second (ratio to Flask-Session), latency in ms, failed")
    for path in PATHS:
        theirs = runs["flask-session", path].rate
        for name, label in CONTENDERS.items():
            run = runs[name, path]
            ratio = f"{run.rate / theirs:.2f}" if theirs else "-"
            print(
                f"  {path:7} {label:22} {run.rate:7.0f} ({ratio:>5})   median {run.median:7.1f}"
                f"   p99 {run.p99:7.1f}   failed {run.failed:.0f}"
            )


def _print_connections(nodes: Sequence[Memcached]) -> None:
    counts = ", ".join(node.stats()["curr_connections"] for node in nodes)
    print(
        f"\nconnections of each node, of all contenders together: {counts}"
        f" ({WORKERS} workers of {THREADS} threads each)"
    )


if __name__ == "__main__":
    sys.exit(main())
