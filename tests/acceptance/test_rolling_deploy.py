"""Workers get another list of nodes, one worker after another, while people click."""

from __future__ import annotations

import pytest
from support.replay import Replay
from support.tab import Tab, in_parallel
from support.visitors import Load, Rotation


IDLE = 200
LOGOUTS = 12
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
BOUND = 2 * PROBE_INTERVAL + REQUEST_DEADLINE

pytestmark = pytest.mark.memcached


DEPLOYS = {
    "a node is added": ("n1 n2 n3", "n1 n2 n3 n4"),
    "a node is removed": ("n1 n2 n3 n4", "n1 n2 n3"),
    "a node is replaced": ("n1 n2 n3", "n1 n2 n4"),
}


@pytest.mark.parametrize(("before", "after"), DEPLOYS.values(), ids=DEPLOYS)
def test_a_rolling_deploy_of_another_list_of_nodes(fleet, before, after):
    before, after = before.split(), after.split()
    fleet.config["MSM_PROBE_INTERVAL"] = PROBE_INTERVAL
    fleet.add_nodes(*sorted({*before, *after}))
    old = fleet.start(*[fleet.config_for(before)] * 2)
    new_config = fleet.config_for(after)

    def sign_in(tab, number):
        answer = tab.ask(old[number % 2], "/set", body={"name": f"visitor {number}"})
        return {"name": f"visitor {number}"}, answer.cookie

    idle = in_parallel(sign_in, range(IDLE))
    leaving = [cookie for _, cookie in in_parallel(sign_in, range(LOGOUTS))]
    rotation = Rotation(old)

    with Load(rotation) as load, Replay(rotation) as replay, Tab() as tab:
        for number, worker in enumerate(old):
            with load.trouble(f"worker {number} is replaced"):
                (successor,) = fleet.start(new_config)
                rotation.add(successor)
                load.wait_clicks(50)
                # By a worker with the old list and by one with the new list.
                for where in (worker, successor) * (LOGOUTS // 4):
                    cookie = leaving.pop()
                    assert tab.ask(where, "/logout", cookie, {}).cookie == ""
                    replay.add(cookie)
                load.wait_clicks(50)
                rotation.remove(worker)
                worker.stop()
        with load.trouble("all workers are replaced"):
            fleet.wait_all_up(new_config)
            for node_id in set(before) - set(after):
                fleet.nodes[node_id].kill()
        # The node is lost that holds what was just moved, if any does.
        with load.trouble("one more node is lost"):
            fleet.nodes[after[-1]].kill()
            missed = sum(in_parallel(lambda tab, visit: is_missed(tab, rotation, *visit), idle))

    print(f"\n{' '.join(before)} -> {' '.join(after)}: {missed} idle sessions missed")
    print(load.report())
    print(f"{replay.report()} (bound: {BOUND} s)")
    for line in load.complaints():
        print(line)
    assert missed == 0
    assert load.complaints() == replay.failed == []
    assert [served for served in replay.served if served.late > BOUND] == []


def is_missed(tab, rotation, expected, cookie):
    with rotation.worker() as worker:
        answer = tab.ask(worker, "/get", cookie)
    return answer.status != 200 or answer.body != expected
