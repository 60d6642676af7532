"""Metrics of real workers: the same whichever of them is asked, and none of them goes back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml
from support.operator import ANNA
from support.sites import Sites

from flask_msm.testing.memcached import wait_until
from harness.processes import ROOT


pytestmark = pytest.mark.memcached

WORKERS = 4
METRICS = "/msm-admin/api/v1/metrics"
SERIES = re.compile(r"^(flask_msm_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)
GROWING = re.compile(r"_(?:total|bucket|count|sum)\b")


def series(site, path=METRICS):
    """Return the value of each series that one of the workers answers."""
    answer = site.ask(path)
    assert answer.status == 200, answer.body
    return {name: float(value) for name, value in SERIES.findall(answer.body.decode())}


def counters(found):
    return {name: value for name, value in found.items() if GROWING.search(name.split("{")[0])}


def workers_in(found):
    return set(re.findall(r'worker="([^"]+)"', "\n".join(found)))


@pytest.fixture
def site(memcached, tmp_path):
    nodes = [memcached() for _ in range(3)]
    with Sites(nodes, tmp_path, MSM_ADMIN=True, MSM_ADMIN_ACCESS=ANNA) as fleet:
        (site,) = fleet.add("north", workers=WORKERS)
        site.nodes = nodes
        fleet.start()
        wait_until(lambda: len(workers_in(series(site))) == WORKERS, "all workers are counted")
        yield site


def saves_in(growing):
    return sum(
        value for name, value in growing.items() if "_seconds_count" in name and '"save"' in name
    )


def test_asked_twenty_times_of_four_workers_no_series_is_missing_and_no_counter_goes_back(site):
    before, names = {}, None
    for number in range(20):
        site.store({"number": number})
        found = series(site)
        growing = counters(found)
        assert names is None or set(growing) == names
        names = set(growing)
        fell = {
            name: (before[name], growing[name]) for name in before if growing[name] < before[name]
        }
        assert fell == {}
        before = growing

    # Workers tell their host with their next tick.
    wait_until(
        lambda: saves_in(counters(series(site))) >= 20,
        "each store is counted by the worker that did it",
    )


def test_all_workers_of_the_host_are_counted_while_no_node_answers(site):
    before = counters(series(site))
    for node in site.nodes:
        node.kill()
    site.ask("/set", {"kept": 1})

    after = counters(series(site))

    assert workers_in(after) == workers_in(before)
    assert all(after[name] >= value for name, value in before.items())


def test_one_worker_may_be_asked_for_itself_alone(site):
    assert len(workers_in(series(site, METRICS + "?workers=self"))) == 1
    assert len(workers_in(series(site, METRICS + "?workers=fleet"))) == WORKERS
    assert site.ask(METRICS + "?workers=all").status == 400


# -- the samples for Prometheus and Grafana ------------------------------------------------------

ALERTS = ROOT / "contrib" / "prometheus" / "alerts.yml"
BOARD = ROOT / "contrib" / "grafana" / "flask-msm.json"
NAME = re.compile(r"flask_msm_\w+")


def expressions():
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    panels = json.loads(BOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for rule in rules] + queries


def promtool(*arguments, cwd=None):
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: scripts/system-packages.sh prometheus")
    done = subprocess.run(
        [found, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_can_be_read_by_prometheus():
    promtool("check", "rules", ALERTS)


def test_every_metric_of_alerts_and_panels_is_in_what_a_fleet_answers(site):
    answered = {name.split("{")[0] for name in series(site)}

    wanted = {name for expression in expressions() for name in NAME.findall(expression)}

    assert wanted - answered == set()


def test_the_death_of_a_node_fires_its_alert_and_no_alert_was_there_before(site, tmp_path):
    def well():
        found = series(site)
        return all(found.get(f'flask_msm_node_trusted{{node="n{n}"}}') == 1 for n in (1, 2, 3))

    after = {}

    def is_down():
        after.update(series(site))
        return after['flask_msm_node_state{node="n1",state="down"}'] == 1

    wait_until(well, "all nodes are trusted")
    before = series(site)
    site.nodes[0].kill()
    wait_until(is_down, "n1 is down")

    rule = next(
        rule
        for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
        if rule["alert"] == "NodeDown"
    )
    texts = {
        name: text.replace("{{ $labels.node }}", "n1") for name, text in rule["annotations"].items()
    }
    fired = {"exp_labels": {"node": "n1", **rule["labels"]}, "exp_annotations": texts}
    # Three minutes as it was, then as it is.
    values = {
        name: f"{before[name]}+0x3 {after[name]}+0x6" for name in before.keys() & after.keys()
    }
    test = {
        "rule_files": [str(ALERTS)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": n, "values": v} for n, v in values.items()],
                "alert_rule_test": [
                    {"eval_time": "3m", "alertname": "NodeDown", "exp_alerts": []},
                    {"eval_time": "6m", "alertname": "NodeDown", "exp_alerts": [fired]},
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    promtool("test", "rules", tmp_path / "test.yml")
