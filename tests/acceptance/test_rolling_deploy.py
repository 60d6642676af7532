"""Workers get another list of nodes, one worker after another, while people click."""

from __future__ import annotations

import pytest
from support.fleet import say
from support.replay import Replay
from support.tab import Tab
from support.visitors import Load, Rotation, count_missed, sign_in


IDLE = 150
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
# Ticks of a worker after which it serves no session that was ended before: it learns that by two
# of them, and a request may have begun before that.
BOUND = 2 + round(REQUEST_DEADLINE / PROBE_INTERVAL)

pytestmark = pytest.mark.memcached


DEPLOYS = {
    "n4 is added": "n1 n2 n3 n4",
    "n1 is removed": "n2 n3 n4",
    "n2 is replaced by n5": "n3 n4 n5",
}


def test_rolling_deploys_of_other_lists_of_nodes(fleet):
    fleet.config["MSM_PROBE_INTERVAL"] = PROBE_INTERVAL
    fleet.add_nodes("n1", "n2", "n3", "n4", "n5")
    used = ["n1", "n2", "n3"]
    rotation = Rotation(fleet.start(*[fleet.config_for(used)] * 2))

    idle = sign_in(rotation, IDLE)
    missed = {}
    with Load(rotation) as load, Replay(rotation) as replay, Tab() as tab:
        for what, nodes in DEPLOYS.items():
            leaving = [visit.cookie for visit in sign_in(rotation, 8)]
            config = fleet.config_for(nodes.split())
            with load.trouble(what):
                for worker in rotation.workers():
                    (successor,) = fleet.start(config)
                    rotation.add(successor)
                    load.wait_clicks(30)
                    # By a worker with the old list and by one with the new list.
                    for where in (worker, successor) * 2:
                        cookie = leaving.pop()
                        assert tab.ask(where, "/logout", cookie, {}).cookie == ""
                        replay.add(cookie, None, what)
                    load.wait_clicks(30)
                    rotation.remove(worker)
                    worker.stop()
                fleet.wait_all_up(config)
                # From here on two copies are where the new list wants them.
                for node_id in set(used) - set(nodes.split()):
                    fleet.nodes[node_id].kill()
                used = nodes.split()
            missed[what] = count_missed(rotation, idle)
        with load.trouble("one more node is lost"):
            fleet.nodes["n5"].kill()
            missed["one more node is lost"] = count_missed(rotation, idle)

    say(f"{IDLE} idle sessions, missed after each step: {missed}")
    say(load.report())
    say(f"{replay.report()} (bound: {BOUND} ticks)")
    for line in load.complaints():
        say(line)
    assert not any(missed.values())
    assert load.complaints() == replay.failed == []
    assert [served for served in replay.served if served.ticks > BOUND] == []
