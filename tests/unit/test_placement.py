"""Which nodes are home to a session: even, steady, the same for all workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import flask_msm
from flask_msm.cluster.placement import Placement


ROOT = Path(flask_msm.__file__).parent.parent
IDS = ("n1", "n2", "n3", "n4", "n5")
KEYS = [f"msm:shop:{number:040x}" for number in range(10_000)]


def test_every_node_is_home_to_its_share_of_the_sessions():
    placement = Placement(IDS, replicas=2)
    primaries = Counter(placement.rank(key)[0] for key in KEYS)
    homes = Counter(home for key in KEYS for home in placement.homes(key))

    # The standard deviation of a share of one fifth of 10,000 is 40.
    assert all(abs(primaries[node_id] - 2000) < 200 for node_id in IDS)
    assert all(abs(homes[node_id] - 4000) < 250 for node_id in IDS)


def test_the_sessions_of_a_node_that_fails_are_spread_over_all_others():
    placement = Placement(IDS, replicas=1)
    heirs = Counter(ranked[1] for key in KEYS if (ranked := placement.rank(key))[0] == IDS[0])

    assert set(heirs) == set(IDS[1:])
    assert all(abs(count - 500) < 125 for count in heirs.values())


def test_every_node_stands_in_every_ranking_once():
    placement = Placement(IDS, replicas=2)

    assert all(sorted(placement.rank(key)) == sorted(IDS) for key in KEYS[:200])


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_homes_are_the_front_of_the_ranking(replicas):
    placement = Placement(IDS, replicas=replicas)

    for key in KEYS[:200]:
        assert placement.homes(key) == placement.rank(key)[:replicas]


def test_a_node_that_is_added_takes_only_what_it_wins():
    before, after = Placement(IDS[:4], replicas=2), Placement(IDS, replicas=2)
    moved = 0
    for key in KEYS:
        assert [node_id for node_id in after.rank(key) if node_id != "n5"] == list(before.rank(key))
        moved += after.rank(key)[0] != before.rank(key)[0]

    assert abs(moved - 2000) < 200


def test_a_node_that_is_removed_moves_only_what_it_held():
    before, after = Placement(IDS, replicas=2), Placement(IDS[1:], replicas=2)
    for key in KEYS:
        if IDS[0] not in before.homes(key):
            assert after.homes(key) == before.homes(key)


def test_the_order_of_the_configuration_does_not_matter():
    one, other = Placement(IDS, replicas=2), Placement(reversed([*IDS, "n1"]), replicas=2)

    assert all(one.rank(key) == other.rank(key) for key in KEYS[:500])


@pytest.mark.parametrize("last", [(), ("n1",), ("n2", "n4"), IDS])
@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize("away", [(), ("n1", "n3")])
def test_whether_a_node_is_to_hold_a_key_is_what_the_ranking_says(replicas, last, away):
    placement = Placement(IDS, replicas=replicas, last=last)
    among = [node_id for node_id in IDS if node_id not in away]
    for node_id in among:
        is_home = placement.home_test(node_id, among)
        for key in KEYS[:300]:
            assert is_home(key.encode()) == (
                node_id in placement.first(replicas, key, among.__contains__)
            )


def test_failover_nodes_come_behind_all_others_in_every_ranking():
    placement = Placement(IDS, replicas=2, last=("n1", "n4"))
    plain = Placement(IDS, replicas=2)

    for key in KEYS[:1000]:
        ranked = placement.rank(key)
        assert set(ranked[3:]) == {"n1", "n4"}
        assert not {"n1", "n4"} & set(placement.homes(key))
        assert list(ranked[:3]) == [id_ for id_ in plain.rank(key) if id_ not in ("n1", "n4")]


def test_failover_nodes_are_home_to_what_the_others_are_too_few_for():
    placement = Placement(("n1", "n2"), replicas=2, last=("n2",))

    assert all(placement.homes(key) == ("n1", "n2") for key in KEYS[:100])


def test_the_number_of_replicas_is_at_most_the_number_of_nodes():
    placement = Placement(("n1", "n2"), replicas=5)

    assert placement.replicas == 2
    assert sorted(placement.homes(KEYS[0])) == ["n1", "n2"]


def test_a_session_has_no_homes_without_nodes():
    placement = Placement((), replicas=2)

    assert placement.replicas == 0
    assert placement.homes(KEYS[0]) == ()


def test_all_processes_rank_alike_with_different_hash_seeds():
    script = (
        "import sys; from flask_msm.cluster.placement import Placement;"
        "placement = Placement(set(sys.argv[1:]), replicas=2, last={'n2'});"
        "print([placement.rank(f'key{number}') for number in range(500)])"
    )

    def ranked_by(seed):
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *IDS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    assert ranked_by("1") == ranked_by("2")


def test_rankings_stay_what_they_are_from_one_version_to_the_next():
    """Another ranking would move every session at the next deploy."""
    placement = Placement(IDS, replicas=2)

    assert placement.rank("msm:shop:" + "0" * 40) == ("n4", "n2", "n1", "n3", "n5")
