"""What programs get: the state, the metrics, the health."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.dashboard import client_of
from support.fake_console import FakeConsole
from support.fleet_scenes import SCENES, all_down, all_well, large, node_down

from flask_msm.operations.state.formatting import iso


STATE = "/msm-admin/api/v1/state"


def state(snapshot=None, **options):
    client, _ = client_of(FakeConsole(snapshot or all_well()), **options)
    return client.get(STATE).json


def test_the_state_has_what_is_documented():
    found = state(node_down())

    assert found["schema"] == 1
    assert found["verdict"]["code"] == "nodes_down"
    assert found["verdict"]["level"] == "warn"
    assert found["modes"] == {"distributed": 7, "local": 1, "stopped": 0}
    assert [item["code"] for item in found["attention"]] == [
        "node_down",
        "evicting",
        "worker_local",
    ]
    assert found["attention"][0]["href"] == "/msm-admin/nodes/n3"
    n3 = found["nodes"][2]
    assert n3["circuit"]["state"] == "open"
    assert (n3["seen_up"], n3["seen_by"], n3["stale"]) == (0, 8, True)
    assert n3["last_error"]["type"] == "NodeUnreachableError"
    assert found["workers"][1]["self"] is True
    assert found["workers"][7]["nodes"] == {"n1": "down", "n2": "down", "n3": "down"}
    assert found["policy"]["version"] == "112", "stamps are too large for JavaScript"
    assert found["generated_at"] == "2026-11-20T20:54:24Z"


def test_an_unknown_number_is_null_and_never_0():
    found = state(SCENES["partial"]())

    never = found["nodes"][2]
    assert never["state"] is None
    assert never["items"] is never["latency_ms"]["p95"] is never["hit_ratio"] is None
    empty = state(SCENES["empty"]())
    assert {kpi["id"]: kpi["value"] for kpi in empty["kpis"]}["hit_ratio"] is None


def test_lists_are_capped_and_say_how_long_they_are():
    snapshot = large()
    found = state(replace(snapshot, workers=snapshot.workers * 2))

    assert len(found["workers"]) == 200
    assert found["workers_total"] == 400


def test_the_clock_alone_changes_nothing():
    client, console = client_of(FakeConsole(node_down()))
    first = client.get(STATE)
    node = console.snapshot.nodes[2]
    console.snapshot = replace(
        console.snapshot,
        at=console.snapshot.at + 5,
        nodes=(*console.snapshot.nodes[:2], replace(node, retry_at=node.retry_at + 5)),
    )

    second = client.get(STATE, headers={"If-None-Match": first.headers["ETag"]})
    console.snapshot = all_well()
    third = client.get(STATE, headers={"If-None-Match": first.headers["ETag"]})

    assert (second.status_code, second.data) == (304, b"")
    assert third.status_code == 200


def test_diagnostics_are_downloaded_with_a_note_of_who_did():
    client, console = client_of()

    response = client.get(STATE + "?download=1")

    assert "attachment" in response.headers["Content-Disposition"]
    assert console.notes == [("exported", "diagnostics were downloaded", "anna.k")]


def test_metrics_are_what_prometheus_reads():
    client, _ = client_of(FakeConsole(node_down()))

    response = client.get("/msm-admin/api/v1/metrics")

    assert response.content_type.startswith("text/plain; version=")
    lines = response.text.splitlines()
    assert 'flask_msm_node_state{node="n3",state="down"} 1.0' in lines
    assert 'flask_msm_workers{mode="local"} 1.0' in lines
    assert 'flask_msm_node_evictions_total{node="n2"} 4211.0' in lines
    assert 'flask_msm_policy_info{value="blacklist"} 1.0' in lines


def test_counts_of_a_worker_are_in_the_metrics_and_in_the_state():
    scene = all_well()
    first = replace(scene.workers[0], counts={"not_stored": 2})
    client, _ = client_of(FakeConsole(replace(scene, workers=(first, *scene.workers[1:]))))

    lines = client.get("/msm-admin/api/v1/metrics").text.splitlines()
    workers = client.get(STATE).json["workers"]

    name = f'flask_msm_worker_events_total{{event="not_stored",worker="{first.id}"}} 2.0'
    assert name in lines
    assert [worker["counts"] for worker in workers[:2]] == [{"not_stored": 2}, {}]


@pytest.mark.parametrize("scene", SCENES.values(), ids=lambda scene: scene.__name__)
def test_metrics_and_state_are_there_in_every_state(scene):
    client, _ = client_of(FakeConsole(scene()))

    assert client.get("/msm-admin/api/v1/metrics").status_code == 200
    assert client.get(STATE).status_code == 200
    assert client.get("/msm-admin/api/v1/").json["state"] == STATE


def health(snapshot):
    client, _ = client_of(FakeConsole(snapshot))
    return client.get("/msm-admin/api/v1/health")


def lone_worker(mode="local"):
    snapshot = all_well()
    workers = [
        replace(w, mode=mode) if w.id == snapshot.observer.worker else w for w in snapshot.workers
    ]
    return replace(snapshot, workers=tuple(workers))


def test_a_worker_that_alone_reaches_no_node_is_unwell():
    response = health(lone_worker())

    assert (response.status_code, response.text) == (503, "unwell\n")


@pytest.mark.parametrize(
    "snapshot", [all_well(), all_down(), lone_worker("stopped"), SCENES["empty"]()]
)
def test_a_load_balancer_does_not_turn_an_outage_of_memcached_into_one_of_the_site(snapshot):
    assert health(snapshot).status_code == 200


# -- history -------------------------------------------------------------------------------------

HISTORY = "/msm-admin/api/v1/history"


def test_the_history_of_a_range_has_points_outages_and_changes():
    console = FakeConsole(node_down())
    now = console.view().at
    counts = {"classes": [0, 3] + [0] * 12, "hits": 2, "misses": 1, "lost": 4, "kept": 5}
    slot = int(now // 300 - 2) * 300
    console.book.add_point("day", slot, 8, {**counts, "workers": 8, "of": 8})
    console.book.add(now - 7200, "state", "n3", {"node": "n3", "state": "up"})
    console.book.add(slot, "state", "n3", {"node": "n3", "state": "down"})
    console.book.add(now - 60, "change", "1", {"kind": "k", "text": "t", "who": "a", "after": "x"})
    client, _ = client_of(console)

    found = client.get(f"{HISTORY}?range=24h").json

    (point,) = [point for point in found["points"] if point]
    assert (point["operations"], point["lost"], point["hit_ratio"]) == (3, 4, 2 / 3)
    assert point["latency_ms"] == {"p50": 0.5, "p95": 0.5, "p99": 0.5}
    n3 = [span for span in found["spans"] if span["node"] == "n3"]
    assert [(span["state"], span["end"] is None) for span in n3] == [("up", False), ("down", True)]
    (outage,) = found["outages"]
    assert (outage["nodes"], outage["lost"], outage["kept"], outage["end"]) == (["n3"], 4, 5, None)
    assert [(change["who"], change["after"]) for change in found["changes"]] == [("a", "x")]


def test_sessions_lost_while_every_node_was_up_are_an_outage_without_nodes():
    console = FakeConsole(all_well())
    slot = int(console.view().at // 300 - 2) * 300
    console.book.add_point("day", slot, 8, {"classes": [], "lost": 4, "workers": 8, "of": 8})
    client, _ = client_of(console)

    (outage,) = client.get(HISTORY).json["outages"]

    assert (outage["nodes"], outage["lost"]) == ([], 4)


@pytest.mark.parametrize("name", ["6h", "24h", "7d"])
def test_an_outage_is_not_longer_for_the_step_in_which_sessions_were_lost(name):
    console = FakeConsole(all_well())
    slot = int(console.view().at // 3600 - 2) * 3600 + 1800
    console.book.add_point("day", slot, 8, {"classes": [], "lost": 4, "workers": 8, "of": 8})
    for at, state in ((slot - 9000, "up"), (slot + 60, "down"), (slot + 120, "up")):
        console.book.add(at, "state", "n1", {"node": "n1", "state": state})
    client, _ = client_of(console)

    (outage,) = client.get(f"{HISTORY}?range={name}").json["outages"]

    assert (outage["begin"], outage["end"]) == (iso(slot + 60), iso(slot + 120))
    assert (outage["nodes"], outage["lost"]) == (["n1"], 4)


@pytest.mark.parametrize("name", ["15m", "6h", "24h", "7d"])
def test_every_range_can_be_asked_for_where_nothing_is_known(name):
    client, _ = client_of(FakeConsole(all_well()))

    found = client.get(f"{HISTORY}?range={name}").json

    assert found["range"] == name
    assert not any(found["points"])


def test_a_range_that_is_not_known_is_refused_with_those_that_are():
    client, _ = client_of(FakeConsole(all_well()))

    response = client.get(f"{HISTORY}?range=1y")

    assert response.status_code == 400
    assert "15m, 6h, 24h and 7d" in response.json["error"]["text"]
