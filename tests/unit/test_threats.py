"""What an attacker with write access to memcached and no key can do; more: ``docs/security.md``.

What such a writer *can* do is shown as well: when one of these tests fails because it cannot any
more, the page has to name it.
"""

from __future__ import annotations

import os
import pickle

import pytest
from flask import session
from support.apps import make_app
from support.crew import Crew
from support.policies import SharedNodes
from support.sealing import SECRETS

from flask_msm import destroy


KEYS = [secret.hex() for secret in SECRETS]


@pytest.fixture
def shop():
    return make_app()


def sign_in(shop, **values):
    shop.ask(lambda: session.update(values or {"user": "anna"}))
    return shop.cookie()


def shown(shop, cookie):
    return shop.ask(lambda: dict(session), client=shop.browser(cookie))


def stolen(nodes):
    """Return what all nodes hold, as a copy of an attacker."""
    return {node_id: dict(node.items) for node_id, node in nodes.items()}


def put_back(nodes, copies):
    for node_id, items in copies.items():
        for key, (data, _) in items.items():
            nodes[node_id].put(key, data)


class Bomb:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_memcached_is_never_run(tmp_path):
    crew = Crew(1)
    worker = crew.workers[0]
    cookie = sign_in(worker)
    crew.tick()
    keys = {key for node in crew.nodes.values() for key in node.items}
    assert len(keys) > 3

    for key in keys:
        crew.put(key, pickle.dumps(Bomb(tmp_path / "run")))
    assert shown(worker, cookie) == {}
    crew.tick()

    assert worker.console.view() is not None
    assert not (tmp_path / "run").exists()


def test_records_of_two_sessions_cannot_be_exchanged(shop):
    anna = sign_in(shop, user="anna")
    shop.client = shop.app.test_client()
    eve = sign_in(shop, user="eve")

    for node in shop.nodes.values():
        if shop.key(eve) in node.items:
            data = node.items[shop.key(eve)][0]
            for other in shop.nodes.values():
                other.put(shop.key(anna), data)

    assert shown(shop, anna) == {}
    assert shown(shop, eve) == {"user": "eve"}


def test_a_record_without_a_key_of_the_application_starts_no_session(shop):
    stranger = make_app(SECRET_KEY="another")
    cookie = sign_in(stranger, user="admin")
    put_back(shop.nodes, stolen(stranger.nodes))

    assert shown(shop, cookie) == {}


def test_an_old_map_of_the_fleet_undoes_nothing():
    crew = Crew()
    crew.tick()
    before = stolen(crew.nodes)
    one, other = crew.workers
    one.console.set_policy("local", actor="anna", reason="x", based_on=None)
    crew.tick()

    put_back(crew.nodes, before)
    crew.tick()
    crew.tick()

    assert other.state.repository.serialization.policy.name == "local"
    put_back(crew.nodes, before)
    late = crew.hire()
    crew.tick(late, *crew.workers)
    crew.tick(late, *crew.workers)
    assert late.state.repository.serialization.policy.name == "local"


def test_who_reads_memcached_reads_sessions_that_are_not_encrypted(shop):
    sign_in(shop, address="12 Grimmauld Place")

    copies = stolen(shop.nodes).values()
    assert any(b"12 Grimmauld Place" in data for items in copies for data, _ in items.values())


@pytest.mark.parametrize("keys", [None, KEYS[0]], ids=["plain", "encrypted"])
def test_who_writes_memcached_can_bring_back_a_session_that_ended(keys):
    """Only for a browser that kept the cookie: no other one knows the id."""
    shop = make_app(MSM_ENCRYPTION_KEYS=keys)
    cookie = sign_in(shop)
    before = stolen(shop.nodes)
    shop.do(destroy, client=shop.browser(cookie))
    assert shown(shop, cookie) == {}

    put_back(shop.nodes, before)

    assert shown(shop, cookie) == {"user": "anna"}


def test_a_writer_of_memcached_can_end_all_sessions(shop):
    cookie = sign_in(shop)

    for node in shop.nodes.values():
        node.restart_empty()

    assert shown(shop, cookie) == {}


def test_who_has_the_secret_key_and_memcached_can_write_sessions_in_spite_of_encryption():
    """Records that are not encrypted are taken; otherwise encryption could not be switched on."""
    shop = make_app(MSM_ENCRYPTION_KEYS=KEYS[0])
    thief = make_app(manager=SharedNodes(shop.nodes, clock=shop.clock), clock=shop.clock)

    assert shown(shop, sign_in(thief, user="admin")) == {"user": "admin"}


def test_a_writer_of_memcached_can_raise_the_alarm_of_another_fleet_and_takes_no_trust():
    crew = Crew(2)
    crew.tick()
    worker = crew.workers[0]
    beats = worker.cluster.workers.beats
    crew.put(beats.call(worker.cluster.reports.common.envelope.sealer()), b"-")

    crew.tick()

    assert {one.kind for one in worker.cluster.conditions.lasting()} == {"foreign_fleet"}
    assert all(view.trusted for view in worker.cluster.state.view().values())
