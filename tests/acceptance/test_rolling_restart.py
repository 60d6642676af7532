"""Every memcached is restarted empty, one after another, and no idle session is missed."""

from __future__ import annotations

import os
import re
import time

import pytest
from support.fleet import say
from support.tab import in_parallel


# As many as a machine has in a night: MSM_SESSIONS=10000.
SESSIONS = int(os.environ.get("MSM_SESSIONS", "1000"))

pytestmark = pytest.mark.memcached


def test_a_rolling_restart_of_all_nodes_loses_no_idle_session(fleet):
    fleet.add_nodes("n1", "n2", "n3")
    workers = fleet.start(fleet.config_for(), fleet.config_for())

    def sign_in(tab, number):
        worker = workers[number % 2]
        answer = tab.ask(worker, "/set", body={"name": f"visitor {number}"})
        assert answer.status == 200
        return number, answer.cookie

    cookies = in_parallel(sign_in, range(SESSIONS))

    began = time.time()
    for node in fleet.nodes.values():
        node.restart()
        fleet.command("check", "--all-up", "--timeout", "60")
    took = time.time() - began

    def is_missed(tab, visit):
        number, cookie = visit
        answer = tab.ask(workers[(number + 1) % 2], "/get", cookie)
        return answer.status != 200 or answer.body != {"name": f"visitor {number}"}

    missed = sum(in_parallel(is_missed, cookies))
    say(f"{SESSIONS} idle sessions, 3 nodes restarted in {took:.1f} s, {missed} missed")
    for line in rebuilds(fleet.entries(), since=began):
        say(line)
    assert missed == 0


def rebuilds(entries, since):
    """Return a line for each rebuild that was finished: how many records, how fast."""
    started = {}
    lines = []
    for entry in entries:
        if entry.at < since:
            continue
        if found := re.search(r"rebuild_began: rebuild of (\S+)", entry.text):
            started[found[1]] = entry.at
        pattern = r"rebuild_finished: rebuild of (\S+) finished: (\d+) records copied, (\d+)"
        if found := re.search(pattern, entry.text):
            seconds = max(entry.at - started[found[1]], 1e-3)
            copied, compared = int(found[2]), int(found[3])
            lines.append(
                f"  {found[1]}: {copied} sessions rebuilt in {seconds:.2f} s,"
                f" {copied / seconds:.0f} per second ({compared} records compared)"
            )
    return lines
