"""Whether the next node may be restarted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fleet_scenes import all_well

from flask_msm.operations.state.readiness import waits_for


@pytest.mark.parametrize(("rate", "nodes"), [(0.0, []), (14.0, ["n2"])])
def test_no_node_may_be_restarted_while_one_throws_live_sessions_out(rate, nodes):
    scene = all_well()
    full = [
        replace(node, stats=replace(node.stats, evictions_per_minute=rate))
        if node.id == "n2"
        else node
        for node in scene.nodes
    ]

    waits = waits_for(replace(scene, nodes=tuple(full)))

    assert [wait.node for wait in waits] == nodes
