"""The upkeep in real worker processes of every kind: each its own, and gone when they go."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import pytest
from support.patience import PATIENT
from support.sites import APP, Browser, Site, environment, flask

from flask_msm.cluster.shared_map import MAX_SIZE
from flask_msm.cluster.workers import KEY_SUFFIX
from flask_msm.memcached.client import MemcachedNode
from flask_msm.record.envelope import Envelope
from flask_msm.record.keys import keyring
from flask_msm.testing.memcached import free_port, wait_until
from harness.memcached import addresses


pytestmark = pytest.mark.memcached

SECRET = "worker classes"
PREFIX = "msm:classes:"
INTERVAL = 0.1
#: Settings of gunicorn by kind of worker. An application that is loaded before the fork is loaded
#: before gunicorn patches anything for gevent, so then the settings have to do it.
CLASSES = {
    "sync": "worker_class = 'sync'\n",
    "gthread": "worker_class = 'gthread'\nthreads = 4\n",
    "gevent": "worker_class = 'gevent'\n",
}
PRELOAD = "preload_app = True\n"
PATCH = "from gevent import monkey\nmonkey.patch_all()\n"
PRELOADED = {
    name: (PATCH if name == "gevent" else "") + settings + PRELOAD
    for name, settings in CLASSES.items()
}

#: Every warning is an error, but for sockets and files that gunicorn itself leaves open; of the
#: sockets to the nodes none may be left. What a worker's end costs is written to a file: from the
#: moment gunicorn lets go of it to the last thing Python does.
SETTINGS = """
import atexit, warnings
from pathlib import Path

warnings.filterwarnings("default", {sockets!r}, ResourceWarning)

def post_worker_init(worker):
    atexit.register(ended, worker)

def worker_exit(server, worker):
    worker.let_go = True

def ended(worker):
    if hasattr(worker, "let_go"):
        Path({folder!r}, f"ended-{{worker.pid}}").touch()
"""
WARNINGS = "error,ignore::ResourceWarning"


class Cluster:
    """Three nodes, and what the workers wrote on them about themselves."""

    def __init__(self, nodes) -> None:
        self.nodes = nodes
        self.config = {
            "SECRET_KEY": SECRET,
            "MSM_NODES": addresses(nodes),
            "MSM_KEY_PREFIX": PREFIX,
            "MSM_PROBE_INTERVAL": INTERVAL,
            **PATIENT,
        }

    @property
    def ports(self):
        return {node.port for node in self.nodes}

    def workers(self, node=0):
        """Return the names of the workers by process id, as one node knows them."""
        item = self._read(node, PREFIX + KEY_SUFFIX)
        if item is None:
            return {}
        envelope = Envelope(
            lambda: keyring((SECRET,)), codec_id=0, compress_above=None, max_size=MAX_SIZE
        )
        record = envelope.open(item.value, PREFIX + KEY_SUFFIX)
        return {
            int(name.split(":")[1]): name
            for name, (_, value) in record.attributes.entries.items()
            if value is not None
        }

    def beats(self):
        """Return by process id a number that grows whenever that worker beats."""
        found = {}
        for pid, name in self.workers().items():
            digest = blake2b(name.encode(), digest_size=8).hexdigest()
            items = [self._read(node, f"{PREFIX}fleet:beat:{digest}") for node in range(3)]
            found[pid] = sum(int(item.token.unique) for item in items if item is not None)
        return found

    def _read(self, node, key):
        client = MemcachedNode(
            "n1",
            host="127.0.0.1",
            port=self.nodes[node].port,
            connect_timeout=60,
            timeout=60,
            pool_size=1,
        )
        try:
            return client.start_gets(key, time.monotonic() + 60).result()
        finally:
            client.close()


@pytest.fixture
def cluster(memcached):
    return Cluster([memcached() for _ in range(3)])


@pytest.fixture
def start(cluster, tmp_path):
    started = []

    def run(settings, *arguments, workers=1, **config):
        ports = "|".join(map(str, cluster.ports))
        sockets = rf"unclosed <socket.*raddr=\('127.0.0.1', ({ports})\)"
        common = SETTINGS.format(sockets=sockets, folder=str(tmp_path))
        path = tmp_path / "gunicorn_settings.py"
        path.write_text(settings + common)
        options = ("--log-level", "info", "--config", str(path), *arguments)
        site = Site(
            tmp_path / "site",
            {**cluster.config, **config},
            *options,
            workers=workers,
            PYTHONWARNINGS=WARNINGS,
        )
        started.append(site)
        site.open()
        return site

    yield run
    for site in started:
        site.close()
        sys.stdout.write(site.printed())  # seen when a test fails


def visit_until(site, condition, what):
    """Write sessions, slowly, so that another worker takes the next request."""
    with ThreadPoolExecutor(8) as pool:

        def reached():
            for answer in pool.map(
                lambda _: site.ask("/set?slow=0.02", {"name": "anna"}), range(8)
            ):
                assert answer.status == 200
            return condition()

        wait_until(reached, what)


def sockets(pid, ports):
    """Return the inodes of the sockets a process has open to one of *ports*."""
    remote = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            remote[fields[9]] = int(fields[2].rpartition(":")[2], 16)
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        match = re.fullmatch(r"socket:\[(\d+)\]", target)
        if match and remote.get(match[1]) in ports:
            found.add(match[1])
    return found


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def end(gunicorn, folder, workers=2):
    """End gunicorn; its workers end by themselves, before it loses its patience and kills them."""
    gunicorn.stop()
    assert len(list(folder.glob("ended-*"))) == workers


def troubles(log):
    """Return the lines of a log of gunicorn that are not about its start and its end."""
    # The time-outs of these tests are longer than the interval, and that is warned of.
    expected = "] [INFO] ", "MSM_TIMEOUT (8 seconds) is longer than"
    return [line for line in log.splitlines() if not any(text in line for text in expected)]


# -- gunicorn ------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", CLASSES.values(), ids=CLASSES)
def test_every_worker_looks_after_the_nodes_by_itself_and_goes_cleanly(
    cluster, start, settings, tmp_path
):
    gunicorn = start(settings, workers=2)
    visit_until(gunicorn, lambda: len(cluster.workers()) == 2, "both workers are announced")
    before = cluster.beats()
    pids = set(before)
    assert gunicorn.process.pid not in pids

    # Without any request both report again: they tick by themselves.
    def heard_again():
        now = cluster.beats()
        return set(now) == pids and all(now[pid] > before[pid] for pid in pids)

    wait_until(heard_again, "both workers are announced again")
    one, other = (sockets(pid, cluster.ports) for pid in pids)
    assert one
    assert other
    assert not one & other
    assert not sockets(gunicorn.process.pid, cluster.ports)

    end(gunicorn, tmp_path)
    assert gunicorn.process.returncode == 0
    assert troubles(gunicorn.printed()) == []
    assert [cluster.workers(node) for node in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize("settings", PRELOADED.values(), ids=PRELOADED)
def test_an_application_that_was_used_before_the_fork_is_used_after_it(
    cluster, start, settings, tmp_path
):
    """What the parent opened and started is of no use to its children."""
    use = (
        "def when_ready(server):\n"
        "    client = server.app.wsgi().test_client()\n"
        "    assert client.post('/set', json={'name': 'anna'}).status_code == 200\n"
    )
    gunicorn = start(settings + use, workers=2)
    arbiter = gunicorn.process.pid

    visit_until(
        gunicorn, lambda: len(set(cluster.workers()) - {arbiter}) == 2, "both are announced"
    )
    pids = set(cluster.workers()) - {arbiter}
    before = cluster.beats()
    wait_until(
        lambda: all(cluster.beats().get(pid, 0) > before[pid] for pid in pids),
        "both workers are announced again",
    )
    open_sockets = [sockets(pid, cluster.ports) for pid in (*pids, arbiter)]
    assert all(open_sockets)
    assert len(set.union(*open_sockets)) == sum(map(len, open_sockets))

    end(gunicorn, tmp_path)
    assert gunicorn.process.returncode == 0
    assert troubles(gunicorn.printed()) == []
    assert [cluster.workers(node) for node in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize("settings", CLASSES.values(), ids=CLASSES)
def test_workers_end_in_time_while_every_node_hangs(cluster, start, settings, tmp_path):
    limits = {"MSM_TIMEOUT": 0.25, "MSM_CONNECT_TIMEOUT": 0.25, "MSM_REQUEST_DEADLINE": 1}
    gunicorn = start(settings, workers=2, **limits)
    visit_until(gunicorn, lambda: len(cluster.workers()) == 2, "both workers are announced")
    for node in cluster.nodes:
        node.pause()
    try:
        end(gunicorn, tmp_path)
    finally:
        for node in cluster.nodes:
            node.resume()

    assert gunicorn.process.returncode == 0
    assert "Traceback" not in gunicorn.printed()


def test_a_worker_that_is_replaced_leaves_no_trace(cluster, start):
    gunicorn = start(CLASSES["gthread"])
    visit_until(gunicorn, lambda: len(cluster.workers()) == 1, "the worker is announced")
    (first,) = cluster.workers()

    gunicorn.process.send_signal(signal.SIGHUP)

    visit_until(
        gunicorn,
        lambda: (workers := cluster.workers()) and first not in workers,
        "the new worker is announced, the old one is gone",
    )
    assert len(cluster.workers()) == 1


# -- without probes ------------------------------------------------------------------------------


def test_without_probes_a_worker_has_no_thread_and_nodes_come_back_by_requests(cluster, start):
    gunicorn = start(
        CLASSES["sync"],
        MSM_PROBE_INTERVAL=0,
        MSM_MIRROR=False,
        MSM_RECOVERY_THRESHOLD=1,
        MSM_PROBE_MAX_BACKOFF=0.2,
    )
    browser = Browser()
    browser.ask(gunicorn, "/set", {"name": "anna"})
    pid = int(browser.ask(gunicorn, "/pid").text)
    assert threads(pid) == 1
    home = browser.ask(gunicorn, "/where").json()["homes"][0]
    node = cluster.nodes[int(home[1:]) - 1]

    node.restart()
    browser.ask(gunicorn, "/set", {"name": "berta"})

    def is_back():
        browser.ask(gunicorn, "/set", {"at": time.time()})
        return home in browser.ask(gunicorn, "/where").json()["holders"]

    wait_until(is_back, "the node is written again")
    assert browser.read(gunicorn)["name"] == "berta"


# -- flask run, flask shell ----------------------------------------------------------------------


class Server(NamedTuple):
    """A server that is no gunicorn."""

    port: int


def pid_of(server):
    try:
        return int(Browser().ask(server, "/pid").text)
    except ConnectionError:
        return 0


def test_under_the_reloader_only_the_process_that_serves_ticks(cluster):
    server = Server(free_port())
    command = [sys.executable, "-m", "flask", "--app", APP, "run", "--debug"]
    parent = subprocess.Popen(
        [*command, "--port", str(server.port)],
        env={**os.environ, **environment(cluster.config), "PYTHONWARNINGS": WARNINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: pid_of(server) != 0, "the server answers")
        child = pid_of(server)
        assert child != parent.pid
        assert cluster.workers() == {}
        Browser().ask(server, "/set", {"name": "anna"})
        wait_until(lambda: set(cluster.workers()) == {child}, "the child is announced")
        before = cluster.beats()[child]
        wait_until(lambda: cluster.beats()[child] > before, "the child is announced again")

        assert set(cluster.workers()) == {child}
        assert sockets(child, cluster.ports)
        assert not sockets(parent.pid, cluster.ports)
        assert threads(parent.pid) == 1
    finally:
        os.killpg(parent.pid, signal.SIGINT)
        output, _ = parent.communicate(timeout=120)
    assert "Traceback" not in output
    wait_until(lambda: cluster.workers() == {}, "the child has said good-bye")


def flask_without_nodes(cluster, *arguments, **options):
    """Return what ``flask ...`` prints, which asks no node."""
    before = [int(node.stats()["total_connections"]) for node in cluster.nodes]
    done = flask(cluster.config, *arguments, PYTHONWARNINGS=WARNINGS, **options)

    assert done.returncode == 0
    after = [int(node.stats()["total_connections"]) for node in cluster.nodes]
    # Asking for the statistics takes one.
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
    return done.stdout + done.stderr


def test_a_shell_starts_no_thread_and_asks_no_node(cluster):
    output = flask_without_nodes(
        cluster,
        "shell",
        typed="import threading, time; from flask import current_app\n"
        f"time.sleep({3 * INTERVAL})\n"
        "print('threads', threading.active_count(), 'mode', current_app.extensions['msm'].mode)\n",
    )

    assert "threads 1 mode distributed" in output
    assert "Traceback" not in output
    assert cluster.workers() == {}


def test_a_command_of_the_application_asks_no_node(cluster):
    assert "/untouched" in flask_without_nodes(cluster, "routes")
