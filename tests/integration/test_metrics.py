"""Metrics of real workers: the same whichever of them is asked, and none of them goes back."""

from __future__ import annotations

import re

import pytest
from support.operator import ANNA
from support.sites import Sites

from flask_msm.testing.memcached import wait_until


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

    saves = sum(
        value for name, value in before.items() if "_seconds_count" in name and '"save"' in name
    )
    assert saves >= 20, "each store is counted by the worker that did it"


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
