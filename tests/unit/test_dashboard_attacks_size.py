"""Attacks on the dashboard: much of everything."""

from __future__ import annotations

from dataclasses import replace

from support.dashboard import client_of
from support.fake_console import FakeConsole
from support.fleet_scenes import all_well

from flask_msm.operations.snapshot import Opinion
from flask_msm_dashboard.state import document


def crowd(nodes, workers):
    """Return a fleet of so many nodes and workers, in which each worker reports each node."""
    scene = all_well()
    opinion = scene.nodes[0].opinions[0]
    opinions = tuple(replace(opinion, worker=f"w{n}") for n in range(workers))
    return replace(
        scene,
        workers=tuple(replace(scene.workers[0], id=f"w{n}") for n in range(workers)),
        nodes=tuple(replace(scene.nodes[0], id=f"n{n}", opinions=opinions) for n in range(nodes)),
    )


def test_the_state_of_a_large_fleet_looks_at_each_opinion_once():
    looked_at = 0

    class Counted(Opinion):
        @property
        def worker(self):
            nonlocal looked_at
            looked_at += 1
            return "w1"

        @worker.setter
        def worker(self, _):
            pass

    scene = crowd(10, 40)
    opinion = object.__new__(Counted)
    for name in set(Opinion.__slots__) - {"worker"}:
        object.__setattr__(opinion, name, getattr(scene.nodes[0].opinions[0], name))
    nodes = tuple(replace(node, opinions=(opinion,) * 40) for node in scene.nodes)

    state = document(replace(scene, nodes=nodes), poll_after=3.0)

    assert state["workers"][1]["nodes"]["n9"] == "up"
    assert looked_at == 10 * 40


def test_no_page_grows_without_end_with_forged_workers():
    client, _ = client_of(FakeConsole(crowd(3, 2000)))

    for path in ("", "nodes/", "nodes/n1", "workers/", "api/v1/state"):
        assert len(client.get("/msm-admin/" + path).data) < 500_000, path
    assert "and 1,800 more" in client.get("/msm-admin/workers/").text.replace("1800", "1,800")
