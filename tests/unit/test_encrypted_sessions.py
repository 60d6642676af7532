"""Sessions of applications that encrypt, that do not yet, and that lack the key."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import LIFE, make_app
from support.clock import FakeClock
from support.crew import Crew
from support.policies import SharedNodes
from support.sealing import SECRETS

from flask_msm.record.envelope import HEADER


ONE, TWO = (secret.hex() for secret in SECRETS)
NAME, VALUE = "customer_address", "12 Grimmauld Place"


def fleet(*keys, **config):
    """Return applications over the same nodes, each with its keys."""
    clock, nodes = FakeClock(), {}
    apps = []
    for words in keys:
        if not nodes:
            app = make_app(clock=clock, MSM_ENCRYPTION_KEYS=words, **config)
            nodes = app.nodes
        else:
            manager = SharedNodes(nodes, clock=clock)
            app = make_app(clock=clock, manager=manager, MSM_ENCRYPTION_KEYS=words, **config)
        apps.append(app)
    return apps


def put(app, **values):
    app.ask(lambda: session.update(values))
    return app.cookie()


def shown(app, cookie):
    return app.ask(lambda: dict(session), client=app.browser(cookie))


def dump(nodes):
    return b"".join(
        key.encode() + value for node in nodes.values() for key, (value, _) in node.items.items()
    )


def is_encrypted(app, cookie):
    key = app.key(cookie)
    held = [node.items[key][0] for node in app.nodes.values() if key in node.items]
    return {bool(HEADER.unpack_from(data)[3] & 2) for data in held}


def test_a_dump_of_the_nodes_holds_no_name_and_no_value_of_an_attribute():
    (app,) = fleet(ONE)

    cookie = put(app, **{NAME: VALUE})

    assert shown(app, cookie) == {NAME: VALUE}
    assert app.nodes
    assert NAME.encode() not in dump(app.nodes)
    assert VALUE.encode() not in dump(app.nodes)


def test_records_shared_between_workers_are_encrypted():
    crew = Crew(MSM_ENCRYPTION_KEYS=ONE)
    crew.workers[0].console.set_policy("local", actor="anna.karenina", reason="x", based_on=None)
    crew.tick()
    crew.tick()

    fleet_keys = {key for node in crew.nodes.values() for key in node.items if ":fleet:" in key}
    assert len(fleet_keys) >= 3
    assert crew.workers[1].state.repository.serialization.policy.name == "local"
    assert b"anna.karenina" not in dump(crew.nodes)
    assert b"anna.karenina" in _plain_dump()


def _plain_dump():
    """The same without keys, to show that the test above would notice."""
    crew = Crew()
    crew.workers[0].console.set_policy("local", actor="anna.karenina", reason="x", based_on=None)
    crew.tick()
    crew.tick()
    return dump(crew.nodes)


def test_sessions_from_before_keys_were_set_are_read_and_written_encrypted():
    plain, encrypting = fleet(None, ONE)
    cookie = put(plain, a=1)
    assert is_encrypted(plain, cookie) == {False}

    browser = encrypting.browser(cookie)
    encrypting.ask(lambda: session.update(b=2), client=browser)

    assert is_encrypted(encrypting, cookie) == {True}
    assert shown(encrypting, encrypting.cookie(browser)) == {"a": 1, "b": 2}


def test_a_session_that_is_only_read_is_encrypted_by_its_next_refresh():
    plain, encrypting = fleet(None, ONE)
    cookie = put(plain, a=1)

    plain.clock.advance(LIFE / 5)
    browser = encrypting.browser(cookie)
    assert encrypting.ask(lambda: dict(session), client=browser) == {"a": 1}

    assert is_encrypted(encrypting, cookie) == {True}


def test_every_worker_reads_all_sessions_while_keys_are_switched_on():
    """First announced everywhere (plain), then used."""
    announced, encrypting = fleet(f"plain {ONE}", ONE)

    cookie = put(announced, a=1)
    assert is_encrypted(announced, cookie) == {False}
    assert shown(encrypting, cookie) == {"a": 1}

    cookie = put(encrypting, b=2)
    assert is_encrypted(announced, cookie) == {True}
    assert shown(announced, cookie) == {"b": 2}


def test_every_worker_reads_all_sessions_while_keys_are_rotated():
    before, during, after = fleet(ONE, f"{ONE} {TWO}", f"{TWO} {ONE}")

    cookie = put(before, a=1)
    assert shown(during, cookie) == shown(after, cookie) == {"a": 1}
    cookie = put(after, b=2)
    assert shown(during, cookie) == {"b": 2}


@pytest.mark.parametrize(
    ("before", "during", "after"),
    [(ONE, f"{TWO} {ONE}", TWO), (ONE, f"plain {ONE}", None)],
    ids=["rotated", "switched off"],
)
def test_an_override_of_an_operator_outlasts_a_key(before, during, after):
    """It may be written once in a year, and the key be taken away the day after the next."""
    crew = Crew(0)
    first = crew.hire(MSM_ENCRYPTION_KEYS=before)
    first.console.set_policy("local", actor="anna", reason="x", based_on=None)
    crew.tick(first)
    crew.tick(crew.hire(MSM_ENCRYPTION_KEYS=during))

    last = crew.hire(MSM_ENCRYPTION_KEYS=after)
    crew.tick(last)

    assert last.state.repository.serialization.policy.name == "local"


@pytest.mark.parametrize("keys", [None, TWO], ids=["no key", "another key"])
def test_a_worker_without_the_key_neither_reads_nor_overwrites(keys):
    encrypting, other = fleet(ONE, keys)
    cookie = put(encrypting, a=1)
    key = encrypting.key(cookie)
    held = {i: node.items[key] for i, node in encrypting.nodes.items() if key in node.items}
    browser = other.browser(cookie)

    assert other.ask(lambda: dict(session), client=browser) == {}
    other.ask(lambda: session.update(mine=1), client=browser)

    assert len(held) == 2
    assert {node_id: encrypting.nodes[node_id].items[key] for node_id in held} == held
    assert shown(encrypting, cookie)["a"] == 1


def test_the_log_of_a_worker_without_the_key_tells_neither_key_nor_value(caplog):
    encrypting, plain = fleet(ONE, None)
    cookie = put(encrypting, **{NAME: VALUE})

    shown(plain, cookie)

    assert "left alone" in caplog.text
    for secret in (ONE, NAME, VALUE, cookie):
        assert secret not in caplog.text
