"""Slow is a node that most workers find slow, or a worker that finds every node slow."""

from __future__ import annotations

import pytest

from flask_msm.operations.slowness import SLOW, Slowness, slowness


FAST, LATE = SLOW / 10, SLOW * 5


def seen(**workers):
    """Return what workers see of the nodes n1, n2 and so on."""
    return {
        name: {f"n{number}": took for number, took in enumerate(all_, 1)}
        for name, all_ in workers.items()
    }


@pytest.mark.parametrize(
    ("workers", "nodes", "slow"),
    [
        pytest.param({"a": (FAST, FAST), "b": (FAST, FAST)}, [], [], id="nothing is slow"),
        pytest.param({"a": (LATE, FAST), "b": (LATE, FAST)}, ["n1"], [], id="one node, for all"),
        pytest.param({"a": (LATE, FAST)}, ["n1"], [], id="one node, for the only worker"),
        pytest.param({"a": (LATE, LATE), "b": (FAST, FAST)}, [], ["a"], id="one worker"),
        pytest.param({"a": (LATE, LATE), "b": (LATE, LATE)}, [], ["a", "b"], id="the machine"),
        pytest.param({"a": (LATE, FAST), "b": (FAST, FAST)}, [], [], id="one that stood still"),
        pytest.param(
            {"a": (LATE, LATE), "b": (LATE, FAST), "c": (LATE, FAST)}, ["n1"], ["a"], id="both"
        ),
        pytest.param({"a": (LATE,)}, ["n1"], [], id="the only node"),
        pytest.param({}, [], [], id="nothing is known"),
    ],
)
def test_a_slow_worker_accuses_no_node_and_a_node_is_slow_for_most(workers, nodes, slow):
    assert slowness(seen(**workers)) == Slowness(frozenset(nodes), frozenset(slow))
