"""Workers of an earlier commit are replaced by those of today, one after another, under load."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.fleet import SETTINGS, say
from support.replay import Replay
from support.tab import Tab
from support.visitors import Load, Rotation, count_missed, sign_in
from support.workers import Browser, Worker


ROOT = Path(__file__).parents[2]
#: The last commit before identities of nodes and the clock of the fleet.
EARLIER = "8776086"
IDLE = 100
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
# Ticks of a worker after which it serves no session that was ended before: it learns that by two
# of them, and a request may have begun before that.
BOUND = 2 + round(REQUEST_DEADLINE / PROBE_INTERVAL)

pytestmark = pytest.mark.memcached


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Return the folder of the earlier version."""
    folder = tmp_path_factory.mktemp("earlier")
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", EARLIER], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"this copy of the project has no history that goes back to {EARLIER}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def start_earlier(fleet, folder, config):
    """Start a worker of the earlier version."""
    paths = os.pathsep.join(str(folder / part) for part in (".", "dashboard", "tests"))
    log = folder / f"worker-{len(fleet.workers)}.log"
    worker = Worker(config, "--chdir", str(folder), *SETTINGS, PYTHONPATH=paths, EVENT_LOG=str(log))
    fleet.workers.append(worker)
    worker.wait_ready()
    Browser().ask(worker, "/set", {"first": "visit"})
    return worker


def test_an_upgrade_under_load_loses_nothing_also_if_a_node_dies_in_the_middle(
    fleet, earlier, monkeypatch, tmp_path
):
    # Else the version of the working directory comes first.
    monkeypatch.chdir(tmp_path)
    fleet.config["MSM_PROBE_INTERVAL"] = PROBE_INTERVAL
    fleet.add_nodes("n1", "n2", "n3")
    config = fleet.config_for()
    rotation = Rotation([start_earlier(fleet, earlier, config) for _ in range(2)])

    idle = sign_in(rotation, IDLE)
    missed = {}
    with Load(rotation) as load, Replay(rotation) as replay, Tab() as tab:
        leaving = [visit.cookie for visit in sign_in(rotation, 4)]
        with load.trouble("upgrade"):
            for node_id, worker in zip(("n1", "n2"), rotation.workers(), strict=True):
                (successor,) = fleet.start(config)
                rotation.add(successor)
                load.wait_clicks(30)
                for where in (worker, successor):
                    cookie = leaving.pop()
                    assert tab.ask(where, "/logout", cookie, {}).cookie == ""
                    replay.add(cookie, None, "upgrade")
                # Both versions are at work: a node is lost and comes back empty.
                fleet.nodes[node_id].kill()
                load.wait_clicks(30)
                fleet.nodes[node_id].restart()
                rotation.remove(worker)
                worker.stop()
                fleet.wait_all_up(config)
            missed["upgrade"] = count_missed(rotation, idle)
        with load.trouble("a node is lost"):
            fleet.nodes["n3"].kill()
            missed["a node is lost"] = count_missed(rotation, idle)

    say(f"{IDLE} idle sessions, missed after each step: {missed}")
    say(load.report())
    say(f"{replay.report()} (bound: {BOUND} ticks)")
    for line in load.complaints():
        say(line)
    assert not any(missed.values())
    assert load.complaints() == replay.failed == []
    assert [served for served in replay.served if served.ticks > BOUND] == []
