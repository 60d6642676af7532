"""Two real workers of different hosts that never tick: only commands tell them anything."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from support.dashboard import fields_in, post

from flask_msm import MemcachedSessionManager
from flask_msm_dashboard import Access
from harness.memcached import addresses


pytestmark = pytest.mark.memcached


class Worker:
    """An application of its own host, which has just begun."""

    def __init__(self, nodes, folder, **config):
        self.app = Flask("shop")
        self.app.config.update(
            SECRET_KEY="behind " * 5,
            MSM_NODES=addresses(nodes),
            MSM_PROBE_INTERVAL=600,
            MSM_LOCAL_DIR=str(folder),
            MSM_ADMIN_ACCESS=lambda request: Access("write", "anna"),
            **config,
        )
        self.manager = MemcachedSessionManager(self.app)
        self.client = self.app.test_client()
        self.state = self.manager.state(self.app)
        self.console = self.state.console
        self.state.parts.cluster.runtime.on_load()

    def review(self, path):
        page = self.client.get(f"/msm-admin/act/{path}").text
        word = re.search(r'for="word">\w+ <code>(\w+)</code>', page)
        return {**fields_in(page), "reason": "a test", "word": word[1] if word else ""}

    def confirm(self, path, fields):
        return post(self.client, f"/msm-admin/act/{path.partition('?')[0]}", fields)


@pytest.fixture
def nodes(memcached):
    return [memcached() for _ in range(2)]


@pytest.fixture
def hire(nodes, tmp_path):
    made = []

    def make(**config):
        made.append(Worker(nodes, tmp_path / f"host {len(made)}", **config))
        return made[-1]

    yield make
    for worker in made:
        worker.manager.close(worker.app)


@pytest.mark.parametrize("hanging", [0, 1])
def test_a_node_that_hangs_does_not_keep_a_look_from_what_the_other_one_knows(nodes, hire, hanging):
    # Who waited for the node would do so until the test is stopped.
    here, behind = hire(), hire(MSM_TIMEOUT=60, MSM_REQUEST_DEADLINE=60)
    nodes[hanging].pause()
    try:
        here.console.set_policy("local", actor="ben", reason="a test", based_on=None)
        assert (
            "Change from Local to Stop?"
            in behind.client.get("/msm-admin/act/policy?value=stop").text
        )
    finally:
        nodes[hanging].resume()
